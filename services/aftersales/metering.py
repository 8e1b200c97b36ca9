"""What the metrics of aftersales count: events, once they are committed."""

from common.contracts import CaseDeadlineNear, CaseEvent, Event
from common.telemetry import metrics


def count(event: Event) -> None:
    """Cases by the state they reached, deadlines by what came of them."""
    if isinstance(event, CaseDeadlineNear):
        metrics.CASE_DEADLINES.add(outcome="near")
    elif isinstance(event, CaseEvent):
        metrics.CASES.add(kind=event.kind, status=event.state)
        if event.action.startswith("auto_"):
            metrics.CASE_DEADLINES.add(outcome=event.action)
