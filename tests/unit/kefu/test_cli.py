"""The command line: quick, and errors that are sentences with a status."""

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from common.errors import Conflict, Unavailable
from common.settings import load_settings
from kefu.cli.failures import CommandFailed, explain
from kefu.cli.options import urls_of
from kefu.replay.http import GaveUp, RefusedByApi
from kefu.replay.script import ScriptError
from kefu.services import require_service
from kefu.tokens import Issuer


def test_errors_that_a_person_can_act_on_have_a_sentence_and_a_status() -> None:
    assert explain(CommandFailed("no", 3)) == ("no", 3)
    assert explain(ScriptError("line 2: no")) == ("line 2: no", 2)
    assert explain(Unavailable("down")) is not None
    conflict = explain(Conflict("twice"))
    assert conflict is not None
    assert conflict[0].startswith("twice ")
    away = explain(GaveUp("127.0.0.1:9"))
    assert away is not None
    assert away[1] == 3
    assert explain(RefusedByApi(403, "forbidden", "")) == ("refused: 403 forbidden", 2)
    assert explain(ConnectionRefusedError("no")) == ("cannot connect: no", 3)


def test_a_bug_is_not_explained_away() -> None:
    assert explain(KeyError("x")) is None
    assert explain(ExceptionGroup("two", [ScriptError("a"), KeyError("b")])) is None
    assert explain(ExceptionGroup("one", [ScriptError("a")])) == ("a", 2)


def test_a_wrong_setting_is_named_by_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEFU_PORT", "eighty")
    with pytest.raises(ValidationError) as wrong:
        load_settings()
    explained = explain(wrong.value)
    assert explained is not None
    assert explained[0].startswith("settings: KEFU_PORT: ")
    assert explained[1] == 2


def test_services_are_found_under_either_spelling_and_others_are_refused() -> None:
    assert require_service("order-ops") == "order_ops"
    with pytest.raises(CommandFailed, match="there are chat_router"):
        require_service("billing")


@pytest.mark.parametrize("wrong", ["chat_router", "billing=http://a", "feedback=ftp://a"])
def test_a_wrong_address_option_is_refused(wrong: str) -> None:
    with pytest.raises(CommandFailed):
        urls_of(load_settings(), None, [wrong])


def test_tokens_need_a_key_that_is_there_unless_one_may_be_made(tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path)
    with pytest.raises(CommandFailed, match="no signing key"):
        Issuer(settings, "demo")
    assert Issuer(settings, "demo", create=True).token("li", "buyer").count(".") == 2
    with pytest.raises(CommandFailed, match="there are buyer"):
        Issuer(settings, "demo").token("li", "king")


def test_the_command_line_starts_without_loading_the_services() -> None:
    code = (
        "import sys, kefu.cli;"
        "heavy = {'fastapi', 'sqlalchemy', 'pydantic', 'httpx', 'uvicorn', 'alembic', 'scipy'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["serve", "billing"], "no service 'billing'"),
        (["dead-letters", "list"], "no database of chat_router"),
        (["replay", "missing.jsonl"], "missing.jsonl: No such file"),
        (["demo", "--base-url", "http://127.0.0.1:9"], "no signing key"),
    ],
)
def test_wrong_use_ends_with_status_2_and_one_sentence(
    arguments: list[str], sentence: str, tmp_path: Path
) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "kefu", *arguments],
        env={"PATH": "", "KEFU_HOME": str(tmp_path), "PYTHONPATH": ":".join(sys.path)},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ended.returncode == 2, ended.stderr
    assert sentence in ended.stderr
    assert "Traceback" not in ended.stderr
