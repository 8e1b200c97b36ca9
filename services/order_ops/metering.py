"""What the metrics of order_ops count: events, once they are committed."""

from common.contracts import Event, OrderEvent, ReminderSent, ReminderStopped, registry
from common.telemetry import metrics


def count(event: Event) -> None:
    """Orders by what happened to them, reminders by how they ended."""
    if isinstance(event, OrderEvent):
        metrics.ORDERS.add(status=registry.of(type(event)).name.removeprefix("order."))
    elif isinstance(event, ReminderSent):
        metrics.REMINDERS.add(outcome="sent")
    elif isinstance(event, ReminderStopped):
        metrics.REMINDERS.add(outcome=event.reason)
