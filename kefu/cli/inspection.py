"""`kefu config`, `dead-letters`, `timers`, `lag`: what a running system is doing."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from kefu.cli.failures import CommandFailed
from kefu.services import SERVICE_NAMES, require_service

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

letters = typer.Typer(help="Events that could not take effect.", no_args_is_help=True)
timers = typer.Typer(help="What is to happen later.", no_args_is_help=True)

T = TypeVar("T")
ServiceOption = Annotated[
    str | None, typer.Option("--service", help=f"One of {', '.join(SERVICE_NAMES)}; else all.")
]
ServiceArgument = Annotated[str, typer.Argument(help="The service that has the letter.")]
LetterArgument = Annotated[str, typer.Argument(help="The letter's id, as `list` shows it.")]
LimitOption = Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")]


def register(app: typer.Typer) -> None:
    """Adds these commands."""
    app.command("config")(config)
    app.command("lag")(lag)
    app.add_typer(letters, name="dead-letters")
    app.add_typer(timers, name="timers")


def config(
    explain: Annotated[bool, typer.Option("--explain", help="What each setting is for.")] = False,
) -> None:
    """Print every setting by its variable; secrets show as ***."""
    import os

    from common.settings import describe, load_settings, unknown_variables

    for name, value, description in describe(load_settings()):
        typer.echo(f"{name}={value}" + (f"    # {description}" if explain else ""))
    for name in unknown_variables(os.environ):
        typer.echo(f"warning: {name} is set, but is no setting", err=True)


def _on_databases(
    service: str | None, ask: Callable[[str, "AsyncConnection"], Awaitable[T]]
) -> list[tuple[str, T]]:
    """Asks one service's database, or each in turn."""
    from common.settings import load_settings
    from kefu.services import service_databases

    names = [require_service(service)] if service else list(SERVICE_NAMES)

    async def ask_all() -> list[tuple[str, T]]:
        async with service_databases(load_settings(), names) as databases:
            answers = []
            for name, database in databases.items():
                async with database.write() as conn:
                    answers.append((name, await ask(name, conn)))
            return answers

    return asyncio.run(ask_all())


@letters.command("list")
def list_letters(
    service: ServiceOption = None,
    code: Annotated[str | None, typer.Option(help="Only letters with this reason code.")] = None,
    limit: LimitOption = 100,
) -> None:
    """List dead letters, oldest first."""
    from common.runtime import dead_letters

    found = _on_databases(service, lambda _, conn: dead_letters.page(conn, limit=limit, code=code))
    for name, page in found:
        for letter in page:
            typer.echo(
                f"{name}  {letter.letter_id}  {letter.state}  {letter.code}  "
                f"{letter.created_at:%Y-%m-%dT%H:%M:%SZ}  {letter.reason[:120]}"
            )
    if not any(page for _, page in found):
        typer.echo("no dead letters")


@letters.command("show")
def show_letter(service: ServiceArgument, letter_id: LetterArgument) -> None:
    """Show one letter whole: reason, headers and bytes."""
    from common.runtime import dead_letters

    [(_, found)] = _on_databases(service, lambda _, conn: dead_letters.letters_of(conn, letter_id))
    if not found:
        raise CommandFailed(f"{service} has no letter {letter_id}")
    letter = found[0]
    typer.echo(f"state    {letter.state}\ncode     {letter.code}\nreason   {letter.reason}")
    record = dead_letters.record_of(letter)
    typer.echo(f"topic    {record.topic}\nkey      {record.key.decode(errors='backslashreplace')}")
    for name, value in record.headers:
        typer.echo(f"header   {name}: {value.decode(errors='backslashreplace')}")
    typer.echo(record.value.decode(errors="backslashreplace"))


@letters.command("replay")
def replay_letter(service: ServiceArgument, letter_id: LetterArgument) -> None:
    """Ask the service to run a letter again, and those of its key that wait behind it."""
    _mark(service, letter_id, "replay")
    typer.echo("marked; the service runs it within seconds")


@letters.command("drop")
def drop_letter(service: ServiceArgument, letter_id: LetterArgument) -> None:
    """Give one letter up; those of its key that wait behind it go on."""
    from common.clock import utc_now
    from common.runtime import dead_letters

    async def drop(_: str, conn: "AsyncConnection") -> bool:
        return await dead_letters.drop(conn, letter_id, utc_now())

    [(_, dropped)] = _on_databases(service, drop)
    if not dropped:
        raise CommandFailed(f"{service} has no letter {letter_id}")
    typer.echo("dropped")


def _mark(service: str, letter_id: str, state: str) -> None:
    from common.runtime import dead_letters

    [(_, marked)] = _on_databases(
        service, lambda _, conn: dead_letters.mark(conn, letter_id, state)
    )
    if not marked:
        raise CommandFailed(f"{service} has no letter {letter_id}")


@timers.command("list")
def list_timers(service: ServiceOption = None, limit: LimitOption = 100) -> None:
    """List timers, the next due first."""
    from common.runtime.timers import page

    found = _on_databases(service, lambda _, conn: page(conn, limit=limit))
    for name, rows in found:
        for timer in rows:
            again = f"  attempt {timer.attempts + 1}" if timer.attempts else ""
            typer.echo(
                f"{name}  {timer.due_at:%Y-%m-%dT%H:%M:%SZ}  {timer.kind}  {timer.shop_id}  "
                f"{timer.key}{again}"
            )
    if not any(rows for _, rows in found):
        typer.echo("no timers")


def lag(service: ServiceOption = None) -> None:
    """Show how far each service is behind on each topic, in events."""
    from common.bus import Lag, open_bus
    from common.settings import load_settings

    settings = load_settings()
    names = [require_service(service)] if service else list(SERVICE_NAMES)

    async def ask() -> list[Lag]:
        bus = open_bus(settings, "kefu")
        await bus.start()
        try:
            groups = [f"{settings.kafka_group_prefix}.{name}" for name in names]
            return [one for group in groups for one in await bus.lag(group)]
        finally:
            await bus.close()

    behind: dict[tuple[str, str], int] = {}
    for one in asyncio.run(ask()):
        key = (one.group, one.topic)
        behind[key] = behind.get(key, 0) + one.behind
    for (group, topic), count in sorted(behind.items()):
        typer.echo(f"{group:24} {topic:22} {count:8}")
    if not behind:
        typer.echo("no group has read anything yet")
