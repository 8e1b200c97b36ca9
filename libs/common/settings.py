"""Every setting, by environment: `KEFU_<NAME>`, or a file of that name in KEFU_SECRETS_DIR.

The description of each field is its documentation; `kefu config` prints it beside the value.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

ENV_PREFIX = "KEFU_"
SECRETS_DIR = "KEFU_SECRETS_DIR"

Level = Literal["DEBUG", "INFO", "WARNING", "ERROR"]


def _split(value: object) -> object:
    if not isinstance(value, str):
        return value
    return tuple(part.strip() for part in value.split(",") if part.strip())


CommaList = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
"""A tuple that the environment writes as `a,b,c`."""


class Settings(BaseSettings):
    """What a process is told from outside. Frozen: nothing changes while it runs."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, env_ignore_empty=True, frozen=True, extra="ignore"
    )

    # ---- the process
    env: Literal["dev", "prod"] = Field(
        "dev", description="`prod` refuses locally signed tokens and plain-text key addresses."
    )
    home: Path = Field(
        Path(".kefu"), description="Folder of local files: SQLite databases, signing key."
    )
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8080, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    forwarded_allow_ips: str = Field(
        "127.0.0.1",
        description="Proxies whose X-Forwarded-For is believed: addresses, comma-separated, or *.",
    )
    shutdown_grace_seconds: float = Field(
        20.0, gt=0, le=600, description="Time to finish work in hand after SIGTERM."
    )

    # ---- storage and bus
    database_url: SecretStr | None = Field(
        None, description="postgresql://user:password@host/name; unset: a SQLite file per service."
    )
    db_pool_size: int = Field(
        8, ge=5, le=200, description="Database connections per service process."
    )
    bus: str = Field(
        "embedded", description="`embedded`, or kafka://host:port,host:port for a Kafka cluster."
    )
    batch_size: int = Field(
        500, ge=1, le=10_000, description="Most events or commands in one database transaction."
    )
    dead_letter_limit: int = Field(
        1_000,
        ge=1,
        description="Dead letters of one consumer within an hour above which it stops instead of "
        "going on.",
    )
    retention_days: int = Field(
        365, ge=1, le=3650, description="Days until personal data of finished matters is deleted."
    )
    inbox_retention_days: int = Field(
        31,
        ge=1,
        le=365,
        description="Days that repeats of events and commands are recognised. More than the "
        "longest retention of a topic (30 days), or replaying a group repeats effects.",
    )

    # ---- Kafka client
    kafka_client_id: str = Field("kefu", min_length=1, description="Client id shown by the broker.")
    kafka_group_prefix: str = Field(
        "kefu", min_length=1, description="Consumer groups are named `<prefix>.<service>`."
    )
    kafka_instance_id: str | None = Field(
        None, description="Static group member id, such as the pod's name; unset: dynamic member."
    )
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="How to talk to the brokers."
    )
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "SCRAM-SHA-512", description="How to sign in at the brokers."
    )
    kafka_username: str | None = Field(None, description="SASL user name.")
    kafka_password: SecretStr | None = Field(None, description="SASL password.")
    kafka_ca_file: Path | None = Field(None, description="CA certificates of the brokers, PEM.")
    kafka_session_timeout_ms: int = Field(
        30_000, ge=6_000, le=300_000, description="Silence after which a group drops a member."
    )
    kafka_max_poll_interval_ms: int = Field(
        300_000, ge=10_000, description="Longest time between two polls of a live member."
    )
    kafka_request_timeout_ms: int = Field(
        15_000, ge=1_000, description="Longest wait for one answer of a broker."
    )

    # ---- tokens
    jwt_issuer: str = Field("kefu", min_length=1, description="Required `iss` of tokens.")
    jwt_audience: str = Field("kefu", min_length=1, description="Required `aud` of tokens.")
    jwks_url: str | None = Field(None, description="Where the issuer publishes its keys.")
    oidc_issuer: str | None = Field(
        None, description="OpenID Connect issuer; its keys are discovered, its name replaces iss."
    )
    jwt_roles_claim: str = Field(
        "roles", min_length=1, description="Claim with the roles; dots go into objects."
    )
    jwt_shop_claim: str = Field(
        "shop_id", min_length=1, description="Claim with the shop; dots go into objects."
    )
    allow_local_tokens: bool = Field(
        False, description="Accept tokens signed with the local key outside `dev`, too."
    )
    signing_key_file: Path | None = Field(
        None, description="Local signing key (PEM, P-256); unset: <home>/keys/signing.pem."
    )

    # ---- HTTP and sockets
    max_body_bytes: int = Field(262_144, ge=1_024, description="Largest request body, in bytes.")
    body_timeout_seconds: float = Field(
        15.0, gt=0, description="Longest time for a request body to arrive."
    )
    rate_limit_token_rps: float = Field(
        50.0, gt=0, description="Requests per second of one token's subject, on average."
    )
    rate_limit_token_burst: int = Field(
        200, ge=1, description="Requests that one subject may send at once."
    )
    rate_limit_system_factor: float = Field(
        20.0, ge=1, description="How many times more a `system` token may send."
    )
    rate_limit_address_rps: float = Field(
        2_000.0, gt=0, description="Requests per second of one client address, on average."
    )
    rate_limit_address_burst: int = Field(
        4_000, ge=1, description="Requests that one address may send at once."
    )
    cors_origins: CommaList = Field(
        (), description="Origins of browser pages that may call, comma-separated."
    )
    socket_idle_seconds: float = Field(
        60.0, gt=0, description="Silence after which a socket is closed."
    )
    socket_send_seconds: float = Field(
        10.0, gt=0, description="Time for a client to take one frame before it is dropped."
    )
    socket_frames_rps: float = Field(
        20.0, gt=0, description="Frames per second that one socket may send, on average."
    )
    socket_frames_burst: int = Field(
        60, ge=1, description="Frames that one socket may send at once."
    )

    # ---- telemetry
    log_level: Level = Field("INFO", description="Least severe level that is logged.")
    log_format: Literal["json", "console"] = Field(
        "json", description="One JSON object per line, or text for a terminal."
    )
    otlp_endpoint: str | None = Field(
        None, description="OpenTelemetry collector, http://host:4318; unset: no spans are recorded."
    )
    trace_sample_ratio: float = Field(
        1.0, ge=0, le=1, description="Share of new traces that is recorded."
    )

    @field_validator("bus")
    @classmethod
    def _known_bus(cls, value: str) -> str:
        if value != "embedded":
            _brokers(value)
        return value

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value

    @field_validator("cors_origins")
    @classmethod
    def _exact_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            parts = urlsplit(origin)
            if origin != f"{parts.scheme}://{parts.netloc}" or not parts.netloc:
                raise ValueError(f"{origin!r} is not an origin such as https://shop.example")
        return value

    @model_validator(mode="after")
    def _keys_over_tls(self) -> "Settings":
        if self.env == "prod":
            for address in (self.jwks_url, self.oidc_issuer):
                if address is not None and not _confidential(address):
                    raise ValueError(f"{address}: keys are fetched over https in prod")
        return self

    @property
    def kafka_servers(self) -> tuple[str, ...]:
        """`host:port` of each broker; empty with the embedded bus."""
        return () if self.bus == "embedded" else _brokers(self.bus)

    @property
    def signing_key_path(self) -> Path:
        """Where the local signing key lies."""
        return self.signing_key_file or self.home / "keys" / "signing.pem"

    @property
    def local_tokens(self) -> bool:
        """Whether tokens signed with the local key are accepted."""
        return self.allow_local_tokens or (self.env == "dev" and not self.remote_keys)

    @property
    def remote_keys(self) -> bool:
        """Whether tokens of an outside issuer are accepted."""
        return self.jwks_url is not None or self.oidc_issuer is not None


def _brokers(value: str) -> tuple[str, ...]:
    scheme, _, rest = value.partition("://")
    brokers = tuple(part for part in rest.rstrip("/").split(",") if part)
    if scheme != "kafka" or not brokers:
        raise ValueError("use `embedded` or kafka://host:port,host:port")
    for broker in brokers:
        host, _, port = broker.rpartition(":")
        if not host or not port.isdecimal():
            raise ValueError(f"{broker!r} is not host:port")
    return brokers


def _confidential(address: str) -> bool:
    parts = urlsplit(address)
    return parts.scheme == "https" or parts.hostname in ("127.0.0.1", "localhost", "::1")


def load_settings(**overrides: Any) -> Settings:
    """The settings of this process.

    Raises `pydantic.ValidationError` that names each wrong variable. Values of `overrides` win
    over the environment, the environment over the files of KEFU_SECRETS_DIR.
    """
    folder = os.environ.get(SECRETS_DIR)
    return Settings(_secrets_dir=folder, **overrides) if folder else Settings(**overrides)


def describe(settings: Settings) -> list[tuple[str, str, str]]:
    """(variable, value, description) of every setting; a secret that is set shows as `***`."""
    return [
        (f"{ENV_PREFIX}{name.upper()}", _shown(getattr(settings, name)), field.description or "")
        for name, field in Settings.model_fields.items()
    ]


def _shown(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, SecretStr):
        return "***"
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(value) if isinstance(value, tuple) else str(value)


def unknown_variables(environ: Mapping[str, str]) -> list[str]:
    """KEFU_ variables that are no setting: most often a slip of the pen worth a warning."""
    known = {f"{ENV_PREFIX}{name.upper()}" for name in Settings.model_fields} | {SECRETS_DIR}
    return sorted(
        name
        for name in environ
        if name.startswith(ENV_PREFIX) and not name.startswith("KEFU_TEST_") and name not in known
    )
