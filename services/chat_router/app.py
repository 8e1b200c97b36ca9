"""The composition of chat_router."""

from pathlib import Path

from common.runtime import BackgroundLoop, ServiceDefinition

from .api import ROUTERS
from .handlers import handlers
from .metering import count
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
    count=count,
    topics=("shop.messages", "kefu.orders", "kefu.reminders", "kefu.cases", "kefu.feedback"),
    feed_topics=("kefu.conversations", "kefu.agents", "kefu.typing"),
    routers=ROUTERS,
    background=(
        BackgroundLoop("router", route_waiting, every=1.0),
        BackgroundLoop("sweeper", sweep_the_gone, every=15.0),
    ),
)
