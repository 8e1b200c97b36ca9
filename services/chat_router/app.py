"""The composition of chat_router."""

from pathlib import Path

from common.bus.port import Bus
from common.clock import Clock, utc_now
from common.db.database import Database
from common.runtime import BackgroundLoop, Service, ServiceDefinition
from common.settings import Settings

from .api import ROUTERS
from .handlers import handlers
from .models import ChatTable
from .router import route_waiting, sweep_the_gone
from .store import BINDINGS

SERVICE = ServiceDefinition(
    name="chat_router",
    title="Kefu: conversations",
    metadata=ChatTable.metadata,
    migrations=Path(__file__).parent / "migrations",
    bindings=BINDINGS,
    handlers=handlers,
    topics=("shop.messages", "kefu.orders", "kefu.reminders", "kefu.cases"),
    feed_topics=("kefu.conversations", "kefu.agents", "kefu.typing"),
    routers=ROUTERS,
    background=(
        BackgroundLoop("router", route_waiting, every=1.0),
        BackgroundLoop("sweeper", sweep_the_gone, every=15.0),
    ),
)


def build(
    settings: Settings,
    *,
    bus: Bus | None = None,
    database: Database | None = None,
    clock: Clock = utc_now,
) -> Service:
    """The service, not started yet."""
    return Service(SERVICE, settings, bus=bus, database=database, clock=clock)
