"""`kefu migrate`, `migrations-create`, `seed`, `token`: what a system needs before it serves."""

import asyncio
from typing import Annotated

import typer

from kefu.cli.options import BaseUrl, ShopOption, UrlOverrides, urls_of
from kefu.services import SERVICE_NAMES, definition_of, require_service, service_databases


def register(app: typer.Typer) -> None:
    """Adds these commands."""
    app.command("migrate")(migrate)
    app.command("migrations-create", hidden=True)(migrations_create)
    app.command("token")(token)
    app.command("seed")(seed)


def migrate(
    services: Annotated[
        list[str] | None, typer.Argument(help=f"Which of {', '.join(SERVICE_NAMES)}; none: all.")
    ] = None,
) -> None:
    """Bring the services' schemas to what this version expects."""
    from common.settings import load_settings

    names = [require_service(name) for name in services or SERVICE_NAMES]
    settings = load_settings()

    async def migrate_all() -> None:
        from common.db.migrate import migrate as bring_up

        async with service_databases(settings, names, create=True) as databases:
            for name, database in databases.items():
                await bring_up(database, definition_of(name).migrations)
                typer.echo(f"{name}: up to date")

    asyncio.run(migrate_all())


def migrations_create(service: str, message: str) -> None:
    """Write a new migration from the difference between models and migrations."""
    from kefu.migrations import create_migration

    path = create_migration(definition_of(require_service(service)), message)
    typer.echo(f"wrote {path}: read it before you commit it")


def token(
    role: Annotated[
        list[str], typer.Option(help="buyer, agent, senior_agent, supervisor, operations, …")
    ],
    subject: Annotated[str, typer.Option(help="Who: a buyer's or an agent's id.")],
    shop: ShopOption = "demo",
    hours: Annotated[float, typer.Option(min=0.01, max=24 * 366, help="How long it holds.")] = 12,
) -> None:
    """Print a token signed with the local key, for development."""
    from common.settings import load_settings
    from kefu.tokens import Issuer

    settings = load_settings()
    issuer = Issuer(settings, shop, create=settings.local_tokens)
    typer.echo(issuer.token(subject, *role, hours=hours))


def seed(base_url: BaseUrl = None, url: UrlOverrides = None) -> None:
    """Put the demo shop into a running system; what is there already stays as it is."""
    from common.settings import load_settings
    from kefu.seed.apply import apply_seed
    from kefu.tokens import Issuer

    settings = load_settings()
    done = asyncio.run(apply_seed(urls_of(settings, base_url, url), Issuer(settings, "demo")))
    typer.echo("\n".join(done) or "everything is there already")
