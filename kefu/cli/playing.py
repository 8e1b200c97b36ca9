"""`kefu replay`, `kefu demo`, `kefu listen`: clients of a running system."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kefu.cli.failures import FINDINGS
from kefu.cli.options import (
    BaseUrl,
    JournalOption,
    PatienceOption,
    ReportOption,
    RunOption,
    SettleOption,
    ShopOption,
    UrlOverrides,
    urls_of,
)

if TYPE_CHECKING:
    from kefu.replay.report import Report
    from kefu.replay.run import Options

Speed = Annotated[
    float, typer.Option("--speed", min=0, max=10_000, help="Times as fast; 0: as fast as it goes.")
]


def register(app: typer.Typer) -> None:
    """Adds these commands."""
    app.command("replay")(replay)
    app.command("demo")(demo)
    app.command("listen")(listen)


def replay(
    file: Annotated[Path, typer.Argument(help="JSON lines of dialogues and orders.")],
    base_url: BaseUrl = None,
    url: UrlOverrides = None,
    speed: Speed = 1.0,
    journal: JournalOption = None,
    report: ReportOption = None,
    shop: ShopOption = "demo",
    concurrency: Annotated[int, typer.Option(min=1, max=1000, help="Dialogues at once.")] = 16,
    patience: PatienceOption = 120.0,
    settle: SettleOption = 60.0,
    run: RunOption = None,
) -> None:
    """Play a file of dialogues and orders against a running system, and check every message."""
    from common.settings import load_settings
    from kefu.replay.run import Options

    options = Options(
        file=file, urls=urls_of(load_settings(), base_url, url), shop_id=shop, speed=speed,
        journal=journal, concurrency=concurrency, patience=patience, settle=settle, run=run,
    )  # fmt: skip
    finish(play(options), report)


def play(options: "Options") -> "Report":
    """Plays and reports progress on standard error."""
    import secrets

    from common.settings import load_settings
    from kefu.replay.progress import Progress
    from kefu.replay.reading import read_script
    from kefu.replay.run import replay as run_replay
    from kefu.tokens import Issuer

    script = read_script(options.file)
    issuer = Issuer(load_settings(), options.shop_id)
    with Progress() as progress:
        return asyncio.run(run_replay(script, options, issuer, progress, secrets.token_hex(3)))


def finish(report: "Report", path: Path | None) -> None:
    """Prints the table, writes the JSON, and ends with the status that the findings ask for."""
    import msgspec
    from rich.console import Console

    from kefu.replay.report import tables

    Console().print(tables(report))
    if path is not None:
        path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
    if not report.passed:
        raise typer.Exit(FINDINGS)


def demo(
    home: Annotated[
        Path | None, typer.Option("--home", help="Folder for its data; else a temporary one.")
    ] = None,
    port: Annotated[int, typer.Option("--port", min=0, max=65535)] = 0,
    speed: Speed = 1.0,
    report: ReportOption = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep it running afterwards.")] = False,
    base_url: Annotated[
        str | None, typer.Option("--base-url", help="Play against a system that runs already.")
    ] = None,
) -> None:
    """Start a system of its own and play the demo day against it."""
    from kefu.demo.run import run_demo

    run_demo(home=home, port=port, speed=speed, report=report, keep=keep, base_url=base_url)


def listen(
    token: Annotated[str, typer.Option(help="Whose socket, as `kefu token` prints it.")],
    base_url: BaseUrl = None,
    count: Annotated[int, typer.Option(min=0, help="Stop after so many events; 0: never.")] = 0,
    cursor: Annotated[str | None, typer.Option(help="Go on after this cursor.")] = None,
) -> None:
    """Print what a socket shows, one JSON object per line."""
    from common.settings import load_settings
    from kefu.listening_in import listen_in

    urls = urls_of(load_settings(), base_url, None)
    try:
        asyncio.run(listen_in(urls.socket_of("chat_router", "/v1/socket"), token, count, cursor))
    except KeyboardInterrupt:
        raise typer.Exit from None
