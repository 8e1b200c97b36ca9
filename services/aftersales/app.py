"""Puts aftersales together."""

from pathlib import Path

from aftersales import api
from aftersales.handlers import handlers
from aftersales.models import AftersalesTable
from aftersales.store import BINDINGS
from common.bus.port import Bus
from common.clock import Clock, utc_now
from common.db.database import Database
from common.runtime import Service, ServiceDefinition
from common.settings import Settings

SERVICE = ServiceDefinition(
    name="aftersales",
    title="Kefu aftersales: cases, deadlines, refunds",
    metadata=AftersalesTable.metadata,
    migrations=Path(__file__).parent / "migrations",
    bindings=BINDINGS,
    handlers=handlers,
    topics=("shop.aftersales", "kefu.cases", "kefu.orders", "kefu.commands"),
    routers=api.ROUTERS,
)


def build(
    settings: Settings,
    *,
    bus: Bus | None = None,
    database: Database | None = None,
    clock: Clock = utc_now,
) -> Service:
    """The service on the given parts, or on those that the settings name."""
    return Service(SERVICE, settings, bus=bus, database=database, clock=clock)
