"""Payment reminders: which one goes out next, and why one does not.

Every (order, stage) is a row that ends in exactly one of `sent` and `stopped`:

    planned --timer--> due --message.sent--> sent
       |                |---paid, closed or unanswered---> stopped
       '---paid, closed, or a rule forbids it---> stopped

A stage that is `due` has been handed over to the chat. If the order is paid just then, nobody
here can know yet whether the message went out: the stage stays `due` for `SETTLE_AFTER` and ends
as `sent` if the chat says so, else as `stopped`. So what is counted is what happened.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Literal

import msgspec

from common.contracts import ReminderMode, StopReason
from common.ids import new_id

from .buyers import Purchase
from .orders import Order
from .reminder_policies import ReminderPolicy, Stage, carried, due_time, in_holdout

ReminderState = Literal["planned", "due", "sent", "stopped"]
SETTLE_AFTER = timedelta(seconds=30)
"""How long a message that was due when the order was paid may take to be reported as sent."""
CAP_WINDOW = timedelta(hours=24)
"""How far back the rules look: what a buyer was told before is never asked for again."""


class Reminder(msgspec.Struct, kw_only=True):
    """One stage of one order.

    `planned_for` is the stage's own time, `due_at` when its timer fires (later, if it had to be
    postponed), `fired_at` when it was handed over, `settled_at` when it ended. While it is `due`,
    `settle_at` is when it stops waiting to be reported as sent, and `pending_reason` why it will
    then be stopped. `message_id` may also be set on a stopped reminder whose message was
    reported too late. `recent`: it was handed over so lately that the rules of the buyer's other
    reminders may look at it; the first decision about the buyer that comes later takes that back.
    """

    shop_id: str
    order_id: str
    stage: int
    reminder_id: str
    buyer_id: str
    state: ReminderState
    planned_for: datetime
    due_at: datetime
    mode: ReminderMode | None = None
    reason: StopReason | None = None
    pending_reason: StopReason | None = None
    fired_at: datetime | None = None
    settle_at: datetime | None = None
    settled_at: datetime | None = None
    message_id: str | None = None
    created_at: datetime
    recent: bool = False
    version: int = 0


class ReminderTimer(msgspec.Struct, frozen=True, kw_only=True):
    """Fires when a stage falls due, and again when it must be settled."""

    shop_id: str
    order_id: str
    buyer_id: str
    stage: int


class BuyerSituation(msgspec.Struct, frozen=True, kw_only=True):
    """What the rules ask about the buyer at this moment."""

    blocked: bool
    live_chat: bool
    purchases: tuple[Purchase, ...]
    unpaid_order_ids: frozenset[str]


class Remind(msgspec.Struct, frozen=True):
    """Hand the reminder over: to the buyer, or as a hint to the agent of the live chat."""

    stage: int
    mode: ReminderMode


class Postpone(msgspec.Struct, frozen=True):
    """Quiet hours: the same stage again at `until`."""

    stage: int
    until: datetime


class Drop(msgspec.Struct, frozen=True):
    """The stage will not be sent."""

    stage: int
    reason: StopReason


Decision = Remind | Postpone | Drop


def timer_key(shop_id: str, order_id: str, stage: int) -> str:
    """The timer of one stage."""
    return f"reminder/{shop_id}/{order_id}/{stage}"


def plan(
    order: Order, policy: ReminderPolicy, existing: Iterable[Reminder], now: datetime
) -> tuple[list[Reminder], list[Reminder]]:
    """The stages to add for an unpaid order, and the planned ones whose time has moved.

    Moved ones are altered. A stage that is settled or handed over stays as it is; so does one
    whose time was already carried to the morning, unless its anchor moved as well.
    """
    if order.status != "unpaid" or not policy.enabled:
        return [], []
    known = {reminder.stage: reminder for reminder in existing}
    added, moved = [], []
    for stage in _applicable(order, policy):
        due_at = planned_time(order, policy, stage)
        if due_at is None:
            continue
        reminder = known.get(stage.stage)
        if reminder is None:
            added.append(_new(order, stage, due_at, now))
        elif reminder.state == "planned" and reminder.planned_for != due_at:
            reminder.planned_for = reminder.due_at = due_at
            moved.append(reminder)
    return added, moved


def planned_time(order: Order, policy: ReminderPolicy, stage: Stage) -> datetime | None:
    """When a stage's timer is to fire: its time, carried over quiet hours where it can be."""
    due_at = due_time(policy, stage, order.order_id, order.created_at, order.closes_at)
    if due_at is None:
        return None
    return carried(policy, due_at, order.order_id, order.closes_at) or due_at


def _applicable(order: Order, policy: ReminderPolicy) -> Iterator[Stage]:
    """A buyer who paid the deposit is only reminded before the final payment runs out.

    One who has paid it all, or lost the deposit, has nothing left to pay, even while the platform
    still calls the order unpaid.
    """
    if order.step_status in ("final_paid", "forfeited"):
        return
    for stage in policy.stages:
        if order.step_status != "front_paid" or stage.anchor == "before_close":
            yield stage


def _new(order: Order, stage: Stage, due_at: datetime, now: datetime) -> Reminder:
    return Reminder(
        shop_id=order.shop_id,
        order_id=order.order_id,
        stage=stage.stage,
        reminder_id=new_id(),
        buyer_id=order.buyer_id,
        state="planned",
        planned_for=due_at,
        due_at=due_at,
        created_at=now,
    )


def next_reminder(
    order: Order,
    policy: ReminderPolicy,
    sent: Sequence[Reminder],
    buyer: BuyerSituation,
    now: datetime,
) -> Decision | None:
    """What becomes of the order's earliest stage that is due now; None when none is.

    `sent` are this order's own reminders, and those of the buyer's other orders that are `recent`.
    Quiet hours carry a reminder to the morning; one that would then come after the order closes is
    dropped.
    """
    own = sorted((r for r in sent if r.order_id == order.order_id), key=lambda r: r.stage)
    reminder = next((r for r in own if r.state == "planned" and r.due_at <= now), None)
    if reminder is None:
        return None
    if (reason := _timing_obstacle(order, policy, reminder, own, now)) is not None:
        return Drop(reminder.stage, reason)
    until = carried(policy, now, order.order_id, order.closes_at)
    if until is None:
        return Drop(reminder.stage, "quiet_hours")
    if until > now:
        return Postpone(reminder.stage, until)
    if (reason := _rule_against(order, policy, sent, buyer, now)) is not None:
        return Drop(reminder.stage, reason)
    return _handed_over(order, policy, reminder, sent, buyer, now)


def _timing_obstacle(
    order: Order,
    policy: ReminderPolicy,
    reminder: Reminder,
    own: Sequence[Reminder],
    now: datetime,
) -> StopReason | None:
    if order.status != "unpaid":
        return "closed" if order.status == "closed" else "paid"
    if order.closes_at is not None and order.closes_at <= now:
        return "expired"
    if now - reminder.due_at > timedelta(seconds=policy.late_tolerance_seconds):
        return "expired"
    if reminder.due_at <= order.created_at:
        # The order closes so soon that its last stage would come before the order itself.
        return "expired"
    applicable = {stage.stage for stage in _applicable(order, policy)}
    if not policy.enabled or reminder.stage not in applicable:
        return "superseded"
    soon = now + timedelta(seconds=policy.minimum_gap_seconds)
    later = (r for r in own if r.state == "planned" and r.stage > reminder.stage)
    return "superseded" if any(r.due_at <= soon for r in later) else None


def _rule_against(
    order: Order,
    policy: ReminderPolicy,
    sent: Sequence[Reminder],
    buyer: BuyerSituation,
    now: datetime,
) -> StopReason | None:
    if buyer.blocked:
        return "blacklist"
    if order.amount_due_fen < max(policy.minimum_fen, 1):
        return "below_minimum"
    if policy.grades and order.buyer_grade not in policy.grades:
        return "grade"
    if _bought_lately(order, policy, buyer, now):
        return "recent_purchase"
    if _other_order_reminded(order, sent, buyer, now):
        return "other_order"
    return None


def _bought_lately(
    order: Order, policy: ReminderPolicy, buyer: BuyerSituation, now: datetime
) -> bool:
    wanted = {line.product_id for line in order.lines}
    since = now - timedelta(seconds=policy.recent_purchase_seconds)
    return any(p.product_id in wanted and p.paid_at >= since for p in buyer.purchases)


def _other_order_reminded(
    order: Order, sent: Sequence[Reminder], buyer: BuyerSituation, now: datetime
) -> bool:
    """Of several unpaid orders only the one that was reminded first goes on being reminded."""
    return any(
        _reached_buyer(r, now) and r.order_id in buyer.unpaid_order_ids
        for r in sent
        if r.order_id != order.order_id
    )


def counts_still(reminder: Reminder) -> bool:
    """Whether it was not stopped before the buyer saw it: a stopped one may be reported as written
    later on."""
    return reminder.state != "stopped" or reminder.message_id is not None


def is_recent(reminder: Reminder, now: datetime) -> bool:
    """Whether it was handed over within the time that the rules look back. One that was stopped
    since is among them: it may yet be reported as written."""
    return reminder.fired_at is not None and now - reminder.fired_at < CAP_WINDOW


def _reached_buyer(reminder: Reminder, now: datetime) -> bool:
    return is_recent(reminder, now) and counts_still(reminder)


def _handed_over(
    order: Order,
    policy: ReminderPolicy,
    reminder: Reminder,
    sent: Sequence[Reminder],
    buyer: BuyerSituation,
    now: datetime,
) -> Decision:
    """The holdout comes last: both arms of the experiment passed all other rules."""
    mode: ReminderMode = "hint" if buyer.live_chat else "message"
    if mode == "message":
        written = sum(1 for r in sent if r.mode == "message" and _reached_buyer(r, now))
        if written >= policy.max_per_day:
            return Drop(reminder.stage, "cap")
    if in_holdout(policy, order.order_id):
        return Drop(reminder.stage, "holdout")
    return Remind(reminder.stage, mode)
