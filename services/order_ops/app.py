"""The composition root of order_ops."""

from pathlib import Path

from common.runtime import ServiceDefinition

from .api import memos, orders, policies, reminders, resolutions
from .handlers import TOPICS, handlers
from .metering import count
from .models import OrderOpsTable
from .store import BINDINGS

SERVICE = ServiceDefinition(
    name="order_ops",
    title="Kefu order_ops · 订单",
    metadata=OrderOpsTable.metadata,
    migrations=Path(__file__).parent / "migrations",
    bindings=BINDINGS,
    handlers=handlers,
    count=count,
    topics=TOPICS,
    routers=(
        orders.router,
        resolutions.router,
        memos.router,
        reminders.router,
        policies.router,
    ),
)
