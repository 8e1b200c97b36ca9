"""What the metrics of feedback count: events, once they are committed."""

from common.contracts import (
    Event,
    FeedbackSpiked,
    FeedbackTagged,
    FeedbackTaskClosed,
    FeedbackTaskOpened,
)
from common.telemetry import metrics


def count(event: Event) -> None:
    """Tags by source, spikes by level, tasks opened and closed."""
    if isinstance(event, FeedbackTagged):
        for tag in event.tags:
            metrics.TAGS.add(source=event.source, tag=tag.tag)
    elif isinstance(event, FeedbackSpiked):
        metrics.SPIKES.add(severity=event.level)
    elif isinstance(event, FeedbackTaskOpened):
        metrics.TASKS.add(status="opened")
    elif isinstance(event, FeedbackTaskClosed):
        metrics.TASKS.add(status="closed")
