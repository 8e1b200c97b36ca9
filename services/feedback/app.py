"""The composition root of the feedback service."""

from pathlib import Path

from common.runtime import BackgroundLoop, ServiceDefinition
from feedback.api import routers
from feedback.desk import handlers
from feedback.handlers import SPIKES
from feedback.judging import judge_shops, prove_tasks
from feedback.metering import count
from feedback.models import FeedbackTable
from feedback.store import BINDINGS

SERVICE = ServiceDefinition(
    name="feedback",
    title="反馈 / Feedback",
    metadata=FeedbackTable.metadata,
    migrations=Path(__file__).parent / "migrations",
    bindings=BINDINGS,
    handlers=handlers,
    count=count,
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
