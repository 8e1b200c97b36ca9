"""Counts what the runtime does, per batch rather than per event."""

import contextlib
import time
from collections import Counter as Tally
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from common.runtime.items import EventItem, Outcome, TimerItem
from common.telemetry import metrics


class Meters:
    """The metrics of one service's runtime."""

    def __init__(self, service: str) -> None:
        self.service = service

    @contextlib.contextmanager
    def batch(self, source: str, size: int) -> Iterator[None]:
        """Measure one batch."""
        started = time.perf_counter()
        try:
            yield
        finally:
            labels = {"service": self.service, "source": source}
            metrics.BATCH_SIZE.record(size, **labels)
            metrics.BATCH_SECONDS.record(time.perf_counter() - started, **labels)

    def consumed(
        self, items: Sequence[EventItem], outcomes: Sequence[Outcome], now: datetime
    ) -> None:
        """Count events by what became of them, and how old the newest of each topic was."""
        for topic, envelope in {item.record.topic: item.envelope for item in items}.items():
            age = (now - envelope.time).total_seconds()
            metrics.EVENT_LAG_SECONDS.record(age, service=self.service, topic=topic)
        tally = Tally(
            (item.record.topic, outcome.status)
            for item, outcome in zip(items, outcomes, strict=True)
        )
        for (topic, status), count in tally.items():
            labels = {"service": self.service, "topic": topic}
            if status == "done":
                metrics.EVENTS_CONSUMED.add(count, **labels)
            elif status == "duplicate":
                metrics.EVENTS_DUPLICATE.add(count, **labels)
            elif status == "failed":
                metrics.EVENTS_FAILED.add(count, reason="handler_failed", **labels)

    def dead_letters(self, letters: Sequence[dict[str, Any]]) -> None:
        """Count dead letters by reason."""
        for (topic, code), count in Tally((x["topic"], x["code"]) for x in letters).items():
            metrics.DEAD_LETTERS.add(count, service=self.service, topic=topic, reason=code)

    def fired(self, items: Sequence[TimerItem], outcomes: Sequence[Outcome], now: Any) -> None:
        """Count timers by kind and outcome, and how late they were."""
        pairs = list(zip(items, outcomes, strict=True))
        tally = Tally((type(item.message).__name__, outcome.status) for item, outcome in pairs)
        for (kind, status), count in tally.items():
            metrics.TIMERS_FIRED.add(count, service=self.service, timer=kind, outcome=status)
        metrics.TIMER_LATENESS_SECONDS.record_all(
            ((now - i.due_at).total_seconds() for i, o in pairs if o.status == "done"),
            service=self.service,
        )

    def relayed(self, topics: Sequence[str], lag_seconds: float) -> None:
        """Count events that reached the bus."""
        for topic, count in Tally(topics).items():
            metrics.OUTBOX_RELAYED.add(count, service=self.service, topic=topic)
        metrics.OUTBOX_LAG_SECONDS.set(lag_seconds, service=self.service)

    def rebalanced(self) -> None:
        """Count partitions that were taken away."""
        metrics.REBALANCES.add(service=self.service)

    def relay_failed(self, reason: str) -> None:
        """Count an attempt to publish that failed."""
        metrics.OUTBOX_FAILURES.add(service=self.service, reason=reason)
