"""The composition root of the feedback service."""

from pathlib import Path

from common.bus import Bus
from common.clock import Clock, utc_now
from common.db.database import Database
from common.runtime import BackgroundLoop, Service, ServiceDefinition
from common.settings import Settings
from feedback.api import routers
from feedback.desk import handlers
from feedback.handlers import SPIKES
from feedback.judging import judge_shops, prove_tasks
from feedback.models import FeedbackTable
from feedback.store import BINDINGS

SERVICE = ServiceDefinition(
    name="feedback",
    title="反馈 / Feedback",
    metadata=FeedbackTable.metadata,
    migrations=Path(__file__).parent / "migrations",
    bindings=BINDINGS,
    handlers=handlers,
    topics=("kefu.conversations", "shop.reviews", "kefu.cases", "kefu.orders", "kefu.feedback"),
    routers=routers,
    background=(
        BackgroundLoop(SPIKES, judge_shops, every=5.0),
        BackgroundLoop("proofs", prove_tasks, every=60.0),
    ),
    retention=(
        ("items", "occurred_at"),
        ("threads", "started_at"),
        ("corrections", "corrected_at"),
        ("daily_hits", "updated_at"),
    ),
)


def build(
    settings: Settings,
    *,
    bus: Bus | None = None,
    database: Database | None = None,
    clock: Clock = utc_now,
) -> Service:
    """The service, ready to be started."""
    return Service(SERVICE, settings, bus=bus, database=database, clock=clock)
