"""`kefu contracts …` and `kefu topics …`: the events and where they travel."""

from pathlib import Path
from typing import Annotated

import typer

from kefu.cli.failures import FINDINGS, CommandFailed

contracts = typer.Typer(help="The contracts of all events.", no_args_is_help=True)
topics = typer.Typer(help="The topics of the bus.", no_args_is_help=True)

Folder = Annotated[Path, typer.Option("--folder", help="Where the documents lie.")]
FOLDER = Path("docs/contracts")


def register(app: typer.Typer) -> None:
    """Adds these commands."""
    app.add_typer(contracts, name="contracts")
    app.add_typer(topics, name="topics")


@contracts.command("export")
def export_contracts(folder: Folder = FOLDER) -> None:
    """Write AsyncAPI 3 and one JSON Schema per event."""
    from common.contracts import export

    touched = export.export(folder)
    for path in touched:
        typer.echo(f"wrote {folder / path}")
    if not touched:
        typer.echo(f"{folder} is up to date")


@contracts.command("check")
def check_contracts(folder: Folder = FOLDER) -> None:
    """Fail when the documents are stale or a change breaks a reader of the last release."""
    from common.contracts import export

    problems = export.check(folder)
    if problems:
        raise CommandFailed("contracts:\n  " + "\n  ".join(problems), FINDINGS)
    typer.echo("documents up to date, no reader broken")


@contracts.command("release")
def release_contracts(folder: Folder = FOLDER) -> None:
    """Freeze the present schemas as the last released ones."""
    from common.contracts import export

    for path in export.release(folder):
        typer.echo(f"released {path.stem}")


@topics.command("apply")
def apply_topics() -> None:
    """Create missing topics and set partitions and retention as the contracts say."""
    import asyncio

    from common.bus import open_bus
    from common.settings import load_settings

    settings = load_settings()

    async def apply() -> list[str]:
        bus = open_bus(settings, "kefu")
        await bus.start()
        try:
            return await bus.ensure_topics()
        finally:
            await bus.close()

    made = asyncio.run(apply())
    typer.echo("\n".join(f"made {topic}" for topic in made) or "every topic is there")


@topics.command("list")
def list_topics() -> None:
    """Show every topic with its partitions and retention."""
    from common.contracts import TOPICS

    for topic in TOPICS.values():
        kept = f"{topic.retention.days} d" if topic.retention.days else str(topic.retention)
        typer.echo(f"{topic.name:22} {topic.partitions:3} partitions, kept {kept:>7}")
