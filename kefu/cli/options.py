"""Options that several commands share."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kefu.cli.failures import CommandFailed
from kefu.services import require_service

if TYPE_CHECKING:
    from common.settings import Settings
    from kefu.replay.http import Urls

ShopOption = Annotated[str, typer.Option("--shop", help="The shop.")]
BaseUrl = Annotated[
    str | None,
    typer.Option("--base-url", help="Where the system runs; default: KEFU_HOST and KEFU_PORT."),
]
UrlOverrides = Annotated[
    list[str] | None,
    typer.Option("--url", help="One service elsewhere: chat_router=http://127.0.0.1:8101"),
]
JournalOption = Annotated[
    Path | None, typer.Option("--journal", help="Remember here; the same command then goes on.")
]
ReportOption = Annotated[Path | None, typer.Option("--report", help="Write the report as JSON.")]
PatienceOption = Annotated[
    float,
    typer.Option(
        "--patience",
        min=1,
        help="Seconds to wait for a system that is down, or a service that has not heard yet.",
    ),
]
SettleOption = Annotated[
    float,
    typer.Option("--settle", min=0, help="Seconds to wait at the end for what is under way."),
]
RunOption = Annotated[
    str | None,
    typer.Option("--run", help="Name of the run, part of every id.", show_default="random"),
]


def urls_of(settings: "Settings", base_url: str | None, overrides: list[str] | None) -> "Urls":
    """Where each service is, from the options and settings."""
    from kefu.replay.http import Urls

    base = base_url or f"http://{settings.host}:{settings.port}"
    return Urls(_checked(base), dict(_override(one) for one in overrides or ()))


def _override(text: str) -> tuple[str, str]:
    name, separator, url = text.partition("=")
    if not separator:
        raise CommandFailed(f"--url {text}: write service=http://host:port")
    return require_service(name), _checked(url)


def _checked(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise CommandFailed(f"{url!r} is not an http address")
    return url
