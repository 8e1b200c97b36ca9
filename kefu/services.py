"""The four services by name, and how the command line gets at each."""

import contextlib
import importlib
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from common.bus import Bus
    from common.db.database import Database
    from common.runtime import Service, ServiceDefinition
    from common.settings import Settings

SERVICE_NAMES = ("chat_router", "order_ops", "aftersales", "feedback")


def require_service(name: str) -> str:
    """The name, if it is a service's (`order-ops` is taken for `order_ops`)."""
    from kefu.cli.failures import CommandFailed

    found = name.replace("-", "_")
    if found not in SERVICE_NAMES:
        raise CommandFailed(f"no service {name!r}; there are {', '.join(SERVICE_NAMES)}")
    return found


@contextlib.asynccontextmanager
async def service_databases(
    settings: "Settings", names: Sequence[str], *, create: bool = False
) -> "AsyncIterator[dict[str, Database]]":
    """The services' databases, closed again on leaving; SQLite files are only made to `create`."""
    from common.db.database import Database, database_url
    from kefu.cli.failures import CommandFailed

    configured = settings.database_url.get_secret_value() if settings.database_url else None
    if configured is None and create:
        settings.home.mkdir(parents=True, exist_ok=True)
    elif configured is None:
        missing = [name for name in names if not (settings.home / f"{name}.db").exists()]
        if missing:
            raise CommandFailed(
                f"no database of {', '.join(missing)} under {settings.home}: "
                "run `kefu migrate` (or `kefu dev`) first, or set KEFU_HOME"
            )
    databases = {
        name: Database(database_url(configured, settings.home, name), name, pool_size=1)
        for name in names
    }
    try:
        yield databases
    finally:
        for database in databases.values():
            await database.close()


def definition_of(name: str) -> "ServiceDefinition":
    """What a service's composition root states."""
    definition: ServiceDefinition = importlib.import_module(f"{name}.app").SERVICE
    return definition


def build_service(name: str, settings: "Settings", bus: "Bus | None" = None) -> "Service":
    """A service, ready to be started."""
    from common.runtime import Service

    return Service(definition_of(name), settings, bus=bus)
