"""Each (order, stage) ends in exactly one of sent and stopped, whatever happens in whatever order.

A hypothesis state machine plays payments, closes, timers, chats and acknowledgements of two
orders of one buyer against the desk, on a unit of work without a database.
"""

from collections import Counter
from datetime import timedelta
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from common.contracts import ReminderDue, ReminderSent, ReminderStopped
from common.runtime import Need, Work
from order_ops import bookkeeping, reminder_desk
from order_ops.buyers import buyer_of, chat_closed, chat_opened
from order_ops.reminder_policies import ReminderPolicy
from order_ops.reminders import Reminder, ReminderTimer
from order_ops.store import BINDINGS
from tests.support.order_examples import TEN, policy, snapshot
from tests.support.order_shop import message_of

ORDERS = ("o1", "o2")
STAGES = (1, 2, 3)


class ReminderLife(RuleBasedStateMachine):
    """Time only goes on; timers may fire late; acknowledgements may come late, or twice."""

    def __init__(self) -> None:
        super().__init__()
        codecs: dict[type, Any] = {b.kind: b.codec("sqlite") for b in BINDINGS}
        self.work = Work(TEN, BINDINGS, codecs)
        self.acknowledged: set[str] = set()

    def _load(self, *needs: Need) -> None:
        for (kind, index), keys in self.work.missing(needs).items():
            self.work.loaded(kind, index, keys, ())

    @initialize(holdout=st.sampled_from([0, 5000]), cap=st.integers(0, 3))
    def two_orders(self, holdout: int, cap: int) -> None:
        self.work.add(policy(holdout_basis_points=holdout, max_per_day=cap))
        self._load(Need(ReminderPolicy, None, ("s1",)))
        for order_id in ORDERS:
            self._tell(order_id, "unpaid")

    def _tell(self, order_id: str, status: str) -> None:
        moment = {"paid_at": self.work.now} if status == "paid" else {}
        event = snapshot(status, order_id=order_id, modified_at=self.work.now, **moment)
        self._load(*bookkeeping.snapshot_needs(event))
        bookkeeping.record(event, self.work)

    @property
    def due_events(self) -> list[ReminderDue]:
        return [e.event for e in self.work.emitted if isinstance(e.event, ReminderDue)]

    def _reminders(self) -> dict[tuple[str, int], Reminder]:
        for order_id in ORDERS:
            self._load(Need(Reminder, "of_order", ("s1", order_id)))
        found = [r for o in ORDERS for r in self.work.all(Reminder, "of_order", "s1", o)]
        return {(r.order_id, r.stage): r for r in found}

    @rule(minutes=st.integers(1, 300))
    def time_goes_on(self, minutes: int) -> None:
        self.work.now += timedelta(minutes=minutes)

    @precondition(lambda self: self._armed())
    @rule(late=st.integers(0, 10))
    def the_next_timer_is_due(self, late: int) -> None:
        following = min(one.due_at for one in self._armed())
        self.work.now = max(self.work.now, following + timedelta(minutes=late))
        self.due_timers_fire(True)

    def _armed(self) -> list[Any]:
        last = {one.key: one for one in self.work.armed}
        return [one for one in last.values() if one.payload is not None]

    @rule(order_id=st.sampled_from(ORDERS), status=st.sampled_from(["paid", "closed", "unpaid"]))
    def the_platform_tells(self, order_id: str, status: str) -> None:
        self._tell(order_id, status)

    @rule(forward=st.booleans())
    def due_timers_fire(self, forward: bool) -> None:
        due = [one for one in self._armed() if one.due_at <= self.work.now]
        for one in sorted(due, key=lambda a: a.due_at, reverse=not forward):
            assert isinstance(one.payload, ReminderTimer)
            self.work.cancel(one.key)
            self._load(*reminder_desk.timer_needs(one.payload))
            reminder_desk.fire(one.payload, self.work)

    @precondition(lambda self: self.due_events)
    @rule(choice=st.integers(0, 100))
    def the_chat_acknowledges(self, choice: int) -> None:
        due = self.due_events[choice % len(self.due_events)]
        if due.sent_by == "message":
            reminder = self._reminders()[due.order_id, due.stage]
            if reminder.state == "due":
                self.acknowledged.add(due.reminder_id)
            self._load(Need(Reminder, "by_id", ("s1", due.reminder_id)))
            reminder_desk.acknowledge(message_of(due), self.work)

    @rule(opens=st.booleans())
    def a_chat_opens_or_closes(self, opens: bool) -> None:
        buyer = buyer_of(self.work, "s1", "b1")
        if opens:
            chat_opened(buyer, "c1", self.work.now)
        else:
            chat_closed(buyer, "c1")

    def _ended(self) -> Counter[tuple[str, int, str]]:
        ends: Counter[tuple[str, int, str]] = Counter()
        for one in self.work.emitted:
            if isinstance(one.event, ReminderSent | ReminderStopped):
                ends[one.event.order_id, one.event.stage or 0, type(one.event).__name__] += 1
        return ends

    @invariant()
    def every_end_is_told_once_and_is_the_rows_state(self) -> None:
        told = {
            (order_id, stage): {"ReminderSent": "sent", "ReminderStopped": "stopped"}[name]
            for order_id, stage, name in self._ended()
        }
        assert sum(self._ended().values()) == len(told)
        rows = self._reminders()
        assert told == {k: r.state for k, r in rows.items() if r.state in ("sent", "stopped")}
        sent = {r.reminder_id for r in rows.values() if r.state == "sent" and r.mode == "message"}
        assert sent == self.acknowledged

    @invariant()
    def no_stage_is_handed_over_twice(self) -> None:
        keys = Counter(due.idempotency_key for due in self.due_events)
        assert not keys or max(keys.values()) == 1

    def teardown(self) -> None:
        if not self._reminders():
            return
        for _ in range(4):
            self.work.now += timedelta(days=1)
            self.due_timers_fire(True)
        assert {r.state for r in self._reminders().values()} <= {"sent", "stopped"}
        assert len(self._ended()) == len(ORDERS) * len(STAGES)


ReminderLife.TestCase.settings = settings(max_examples=80, stateful_step_count=30, deadline=None)
test_every_stage_ends_exactly_once = ReminderLife.TestCase
