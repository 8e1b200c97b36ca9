"""`kefu load`: a shop's customers on a festival day."""

import asyncio
import contextlib
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kefu.cli.failures import FINDINGS, CommandFailed
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
    from kefu.load.festival import Festival
    from kefu.load.figures import LoadReport
    from kefu.replay.run import Options
    from kefu.replay.script import Script

PROFILES = ("festival",)


def register(app: typer.Typer) -> None:
    """Adds these commands."""
    app.command("load")(load)


def load(
    profile: Annotated[str, typer.Option(help="Which kind of day: festival.")] = "festival",
    buyers: Annotated[int, typer.Option(min=1, max=100_000, help="How many come.")] = 200,
    seed: Annotated[int, typer.Option(help="The same seed is the same day.")] = 1,
    minutes: Annotated[float, typer.Option(min=0.1, help="Real minutes the day takes.")] = 3.0,
    base_url: BaseUrl = None,
    url: UrlOverrides = None,
    bus: Annotated[
        str | None, typer.Option(help="kafka://host:port: repeat shop events there, too.")
    ] = None,
    journal: JournalOption = None,
    report: ReportOption = None,
    shop: ShopOption = "demo",
    patience: PatienceOption = 120.0,
    settle: SettleOption = 60.0,
    run: RunOption = None,
) -> None:
    """Play a festival day against a running system; ends with its figures and a verdict."""
    from common.settings import load_settings
    from kefu.load.festival import Festival, script_of
    from kefu.replay.run import Options
    from kefu.seed import people

    if profile not in PROFILES:
        raise CommandFailed(f"no profile {profile!r}; there is {', '.join(PROFILES)}")
    agents = tuple(agent["id"] for agent in people("agent", "senior_agent"))
    day = Festival(buyers=buyers, minutes=minutes, seed=seed, agents=agents)
    options = Options(
        file=Path(f"{profile}-{seed}"), urls=urls_of(load_settings(), base_url, url), shop_id=shop,
        journal=journal, patience=patience, settle=settle, run=run,
    )  # fmt: skip
    _finish(asyncio.run(_play(day, script_of(day), options, bus)), report)


async def _play(
    day: "Festival", script: "Script", options: "Options", bus: str | None
) -> "LoadReport":
    from dataclasses import replace

    from common.settings import load_settings
    from kefu.load.announcer import announcer
    from kefu.load.curve import peak_factor
    from kefu.load.figures import LoadReport, read_figures
    from kefu.replay.progress import Progress
    from kefu.replay.run import replay
    from kefu.tokens import Issuer

    issuer = Issuer(load_settings(), options.shop_id)
    async with contextlib.AsyncExitStack() as stack:
        progress = stack.enter_context(Progress())
        if bus is not None:
            announce = await stack.enter_async_context(announcer(bus))
            options = replace(options, announce=announce)
        played = await replay(script, options, issuer, progress, secrets.token_hex(3))
        service = await read_figures(options.urls, issuer)
    return LoadReport(
        profile="festival", seed=day.seed, buyers=day.buyers, minutes=day.minutes,
        peak_factor=round(peak_factor(), 2), service=service, report=played,
    )  # fmt: skip


def _finish(load_report: "LoadReport", path: Path | None) -> None:
    import msgspec
    from rich.console import Console

    from kefu.load.figures import load_tables

    Console().print(load_tables(load_report))
    if path is not None:
        path.write_bytes(msgspec.json.format(msgspec.json.encode(load_report), indent=2) + b"\n")
    if not load_report.report.passed:
        raise typer.Exit(FINDINGS)
