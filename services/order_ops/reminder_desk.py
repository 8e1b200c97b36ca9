"""Carries out what `reminders` decides: rows, timers and events of payment reminders."""

from collections.abc import Iterable
from datetime import timedelta

from common.contracts import MessageSent, ReminderSent, ReminderStopped, StopReason
from common.runtime import Need, Work, row, rows

from .buyers import Buyer, buyer_of, in_live_chat
from .orders import Exposure, Order
from .reminder_policies import ReminderPolicy, default_policy
from .reminder_texts import due_event
from .reminders import (
    SETTLE_AFTER,
    BuyerSituation,
    Decision,
    Drop,
    Postpone,
    Remind,
    Reminder,
    ReminderTimer,
    is_recent,
    next_reminder,
    plan,
    timer_key,
)


def timer_needs(timer: ReminderTimer) -> Iterable[Need]:
    """Everything the rules ask: the order is read anew, and locked, at the moment of sending."""
    yield row(Buyer, timer.shop_id, timer.buyer_id)
    yield row(Order, timer.shop_id, timer.order_id)
    yield rows(Order, "unpaid_of_buyer", timer.shop_id, timer.buyer_id)
    yield rows(Reminder, "of_order", timer.shop_id, timer.order_id)
    yield rows(Reminder, "recent_of_buyer", timer.shop_id, timer.buyer_id)
    yield row(ReminderPolicy, timer.shop_id)


def policy_of(work: Work, shop_id: str) -> ReminderPolicy:
    """The shop's policy, or the default."""
    return work.get(ReminderPolicy, shop_id) or default_policy(shop_id)


def follow(order: Order, work: Work) -> None:
    """Plans the stages of an unpaid order; stops those of any other."""
    reminders = work.all(Reminder, "of_order", order.shop_id, order.order_id)
    if order.status != "unpaid":
        _stop_all(order, reminders, work)
        return
    added, moved = plan(order, policy_of(work, order.shop_id), reminders, work.now)
    for reminder in added:
        work.add(reminder)
    for reminder in (*added, *moved):
        _arm(reminder, work)


def fire(timer: ReminderTimer, work: Work) -> None:
    """Decides all stages of the order that are due, or settles one that waited long enough."""
    order = work.get(Order, timer.shop_id, timer.order_id)
    own = work.all(Reminder, "of_order", timer.shop_id, timer.order_id)
    reminder = next((one for one in own if one.stage == timer.stage), None)
    if order is None or reminder is None:
        return
    if reminder.state == "due":
        _settle(reminder, work)
    policy = policy_of(work, timer.shop_id)
    buyer = situation(timer, policy, work)
    sent = [*own, *_lately_of_others(timer, work)]
    while decision := next_reminder(order, policy, sent, buyer, work.now):
        _carry_out(decision, order, policy, work)
    if reminder.state == "planned":
        # Not due yet by this replica's clock, or postponed: it must come again.
        _arm(reminder, work)


def acknowledge(event: MessageSent, work: Work) -> None:
    """A message with a reminder's id was stored in the chat: the reminder was sent."""
    for reminder in work.all(Reminder, "by_id", event.shop_id, event.reminder_id):
        if reminder.message_id is None and reminder.state in ("due", "stopped"):
            reminder.message_id = event.message_id
        if reminder.state == "due":
            _sent(reminder, work, event)


def situation(timer: ReminderTimer, policy: ReminderPolicy, work: Work) -> BuyerSituation:
    """What the rules ask about the buyer."""
    buyer = buyer_of(work, timer.shop_id, timer.buyer_id)
    unpaid = work.all(Order, "unpaid_of_buyer", timer.shop_id, timer.buyer_id)
    active_within = timedelta(seconds=policy.live_chat_seconds)
    return BuyerSituation(
        blocked=buyer.blocked,
        live_chat=in_live_chat(buyer, work.now, active_within),
        purchases=buyer.purchases,
        unpaid_order_ids=frozenset(order.order_id for order in unpaid),
    )


def _lately_of_others(timer: ReminderTimer, work: Work) -> list[Reminder]:
    """The recent reminders of the buyer's other orders; what is not recent any more is noted."""
    found = work.all(Reminder, "recent_of_buyer", timer.shop_id, timer.buyer_id)
    for reminder in found:
        reminder.recent = is_recent(reminder, work.now)
    return [one for one in found if one.recent and one.order_id != timer.order_id]


def _carry_out(decision: Decision, order: Order, policy: ReminderPolicy, work: Work) -> None:
    found = work.all(Reminder, "of_order", order.shop_id, order.order_id)
    reminder = next(one for one in found if one.stage == decision.stage)
    match decision:
        case Remind(mode=mode):
            _expose(order, "reminded", work)
            work.emit(due_event(order, policy, reminder, mode, work.now), subject=order.order_id)
            reminder.mode = mode
            reminder.fired_at, reminder.recent = work.now, True
            if mode == "hint":
                _sent(reminder, work, None)
            else:
                reminder.state = "due"
                _settle_by(reminder, timedelta(seconds=policy.acknowledge_seconds), work)
        case Postpone(until=until):
            reminder.due_at = until
            _arm(reminder, work)
        case Drop(reason=reason):
            if reason == "holdout":
                _expose(order, "holdout", work)
            _stop(reminder, reason, work)


def _expose(order: Order, arm: Exposure, work: Work) -> None:
    """The order enters its arm of the experiment the first time a reminder would go out."""
    if order.exposed_as is None:
        order.exposed_as, order.exposed_at = arm, work.now


def _stop_all(order: Order, reminders: Iterable[Reminder], work: Work) -> None:
    reason: StopReason = "closed" if order.status == "closed" else "paid"
    for reminder in reminders:
        if reminder.state == "planned":
            _stop(reminder, reason, work)
        elif reminder.state == "due" and reminder.pending_reason is None:
            reminder.pending_reason = reason
            _settle_by(reminder, SETTLE_AFTER, work)


def _settle_by(reminder: Reminder, within: timedelta, work: Work) -> None:
    deadline = work.now + within
    reminder.settle_at = min(reminder.settle_at or deadline, deadline)
    _arm(reminder, work)


def _settle(reminder: Reminder, work: Work) -> None:
    if reminder.settle_at is not None and reminder.settle_at > work.now:
        _arm(reminder, work)
    else:
        _stop(reminder, reminder.pending_reason or "expired", work)


def _arm(reminder: Reminder, work: Work) -> None:
    at = reminder.settle_at if reminder.state == "due" else reminder.due_at
    timer = ReminderTimer(
        shop_id=reminder.shop_id,
        order_id=reminder.order_id,
        buyer_id=reminder.buyer_id,
        stage=reminder.stage,
    )
    key = timer_key(reminder.shop_id, reminder.order_id, reminder.stage)
    work.arm(key, at or reminder.due_at, timer)


def _stop(reminder: Reminder, reason: StopReason, work: Work) -> None:
    reminder.state = "stopped"
    reminder.reason = reason
    reminder.pending_reason = None
    reminder.settled_at = work.now
    work.cancel(timer_key(reminder.shop_id, reminder.order_id, reminder.stage))
    stopped = ReminderStopped(
        shop_id=reminder.shop_id,
        reminder_id=reminder.reminder_id,
        order_id=reminder.order_id,
        buyer_id=reminder.buyer_id,
        stage=reminder.stage,
        reason=reason,
        stopped_at=work.now,
    )
    work.emit(stopped, subject=reminder.order_id)


def _sent(reminder: Reminder, work: Work, message: MessageSent | None) -> None:
    """`message` is None for a hint, which nobody acknowledges."""
    reminder.state = "sent"
    reminder.pending_reason = None
    reminder.settled_at = work.now
    work.cancel(timer_key(reminder.shop_id, reminder.order_id, reminder.stage))
    sent = ReminderSent(
        shop_id=reminder.shop_id,
        reminder_id=reminder.reminder_id,
        order_id=reminder.order_id,
        buyer_id=reminder.buyer_id,
        stage=reminder.stage,
        mode=reminder.mode or "message",
        message_id=message.message_id if message is not None else None,
        sent_at=message.received_at if message is not None else work.now,
    )
    work.emit(sent, subject=reminder.order_id)
