"""Puts aftersales together."""

from pathlib import Path

from aftersales import api
from aftersales.handlers import handlers
from aftersales.metering import count
from aftersales.models import AftersalesTable
from aftersales.store import BINDINGS
from common.runtime import ServiceDefinition

SERVICE = ServiceDefinition(
    name="aftersales",
    title="Kefu aftersales: cases, deadlines, refunds",
    metadata=AftersalesTable.metadata,
    migrations=Path(__file__).parent / "migrations",
    bindings=BINDINGS,
    handlers=handlers,
    count=count,
    topics=("shop.aftersales", "kefu.cases", "kefu.orders", "kefu.commands"),
    routers=api.ROUTERS,
)
