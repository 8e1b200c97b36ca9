"""What a reminder says: the stage's text with the order's words, and the event that carries it."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from common.contracts import OrderLine, ReminderDue, ReminderMode

from .orders import Order
from .reminder_policies import ReminderPolicy, quiet_begins
from .reminders import Reminder

TITLE_LENGTH = 40


def due_event(
    order: Order, policy: ReminderPolicy, reminder: Reminder, mode: ReminderMode, now: datetime
) -> ReminderDue:
    """The event that hands a reminder over, keyed by (order, stage)."""
    stage = policy.stage(reminder.stage)
    return ReminderDue(
        shop_id=order.shop_id,
        reminder_id=reminder.reminder_id,
        order_id=order.order_id,
        buyer_id=order.buyer_id,
        platform=order.platform,
        stage=reminder.stage,
        due_at=reminder.due_at,
        sent_by=mode,
        text=reminder_text(stage.text if stage else "", order, now),
        amount_fen=order.amount_due_fen,
        closes_at=order.closes_at,
        valid_until=_valid_until(order, policy, now),
        idempotency_key=f"{order.order_id}:{reminder.stage}",
    )


def _valid_until(order: Order, policy: ReminderPolicy, now: datetime) -> datetime:
    """When it is too late to write it: at night, after the close, or once it is given up here."""
    given_up = now + timedelta(seconds=policy.acknowledge_seconds)
    ends = (given_up, quiet_begins(policy, now), order.closes_at)
    return min(end for end in ends if end is not None)


def reminder_text(template: str, order: Order, now: datetime) -> str:
    """The text of a stage with the order's words filled in."""
    words = {
        "{title}": _title(order.lines),
        "{amount}": f"{order.amount_due_fen // 100}.{order.amount_due_fen % 100:02d}",
        "{hours_left}": _hours_left(order, now),
    }
    for placeholder, word in words.items():
        template = template.replace(placeholder, word)
    return template[:4000]


def _title(lines: Sequence[OrderLine]) -> str:
    first = (lines[0].title if lines else "")[:TITLE_LENGTH] or "您的订单"
    return f"{first} 等 {len(lines)} 件" if len(lines) > 1 else first


def _hours_left(order: Order, now: datetime) -> str:
    if order.closes_at is None:
        return "24"
    return str(max(round((order.closes_at - now) / timedelta(hours=1)), 1))
