"""Settings: from the environment, checked at the start, shown without secrets."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from common.settings import Settings, describe, load_settings, unknown_variables


def test_the_environment_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEFU_PORT", "9000")
    monkeypatch.setenv("KEFU_CORS_ORIGINS", "https://a.example, https://b.example:8443")
    monkeypatch.setenv("KEFU_LOG_LEVEL", "debug")
    monkeypatch.setenv("KEFU_JWKS_URL", "")
    settings = load_settings()
    assert settings.port == 9000
    assert settings.cors_origins == ("https://a.example", "https://b.example:8443")
    assert settings.log_level == "DEBUG"
    assert settings.jwks_url is None, "an empty variable is none"


def test_a_secret_may_come_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "kefu_kafka_password").write_text("s3cr3t\n")
    monkeypatch.setenv("KEFU_SECRETS_DIR", str(tmp_path))
    password = load_settings().kafka_password
    assert password is not None
    assert password.get_secret_value() == "s3cr3t"


@pytest.mark.parametrize(
    "name, value",
    [
        ("port", "70000"),
        ("port", "x"),
        ("bus", "rabbit://a"),
        ("bus", "kafka://"),
        ("bus", "kafka://host"),
        ("cors_origins", "*"),
        ("cors_origins", "https://a.example/path"),
        ("cors_origins", "a.example"),
        ("trace_sample_ratio", "2"),
        ("rate_limit_token_rps", "0"),
        ("log_level", "LOUD"),
        ("env", "staging"),
    ],
)
def test_a_wrong_value_stops_the_start_and_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"KEFU_{name.upper()}", value)
    with pytest.raises(ValidationError, match=name):
        load_settings()


def test_production_fetches_keys_over_https_only() -> None:
    with pytest.raises(ValidationError, match="https"):
        Settings(env="prod", jwks_url="http://login.example/keys")
    with pytest.raises(ValidationError, match="https"):
        Settings(env="prod", oidc_issuer="http://login.example")
    assert Settings(env="prod", jwks_url="https://login.example/keys").remote_keys
    assert Settings(env="prod", jwks_url="http://127.0.0.1:8080/keys").remote_keys


def test_brokers_are_read_from_the_bus() -> None:
    assert Settings().kafka_servers == ()
    assert Settings(bus="kafka://a:9092,b:9093").kafka_servers == ("a:9092", "b:9093")


def test_no_secret_is_ever_shown() -> None:
    settings = Settings.model_validate(
        {"database_url": "postgresql://kefu:s3cr3t@db/kefu", "kafka_password": "hunter2"}
    )
    shown = describe(settings)
    assert ("KEFU_DATABASE_URL", "***") in [(name, value) for name, value, _ in shown]
    for text in (str(shown), repr(settings), str(settings), settings.model_dump_json()):
        assert "s3cr3t" not in text
        assert "hunter2" not in text


def test_every_setting_says_what_it_does() -> None:
    shown = describe(Settings())
    assert len(shown) == len(Settings.model_fields)
    assert all(description.endswith(".") for _, _, description in shown)


def test_a_slip_of_the_pen_is_noticed() -> None:
    environ = {"KEFU_DATBASE_URL": "x", "KEFU_PORT": "1", "KEFU_TEST_KILLS": "3", "HOME": "/"}
    assert unknown_variables(environ) == ["KEFU_DATBASE_URL"]


def test_nothing_changes_while_a_process_runs() -> None:
    with pytest.raises(ValidationError):
        Settings().port = 1  # type: ignore[misc]
