"""Everything about one order that a decision needs, and the one way to record a change.

Every message that touches money or cases names the order, and every handler loads the same rows
by it: the order (whose lock comes first), its cases, its holds, and the shop's policies.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Protocol

from aftersales.cases import TERMINAL, ActionNotAllowed, Actor, Case, CaseEntry
from aftersales.deadlines import (
    CaseDue,
    CaseNear,
    deadline_of,
    due_key,
    fires_at,
    near_key,
)
from aftersales.holds import Hold
from aftersales.orders import PaidOrder
from aftersales.policies import DeadlinePolicy
from common.contracts import CaseChanged, CaseClosed, CaseEvent, CaseOpened, CaseState
from common.errors import NotFound
from common.runtime import Need, Work, row, rows


class AboutOrder(Protocol):
    """Any message that names its shop and order."""

    @property
    def shop_id(self) -> str: ...
    @property
    def order_id(self) -> str: ...


def of_order(message: AboutOrder) -> Iterable[Need]:
    """The rows of one order, in lock order."""
    key = (message.shop_id, message.order_id)
    yield row(PaidOrder, *key)
    yield rows(Case, "of_order", *key)
    yield rows(Hold, "of_order", *key)
    yield rows(DeadlinePolicy, "of_shop", message.shop_id)


class Desk:
    """One order within a batch."""

    def __init__(self, work: Work, shop_id: str, order_id: str) -> None:
        self.work = work
        self.now: datetime = work.now
        self.shop_id = shop_id
        self.order = work.get(PaidOrder, shop_id, order_id) or self._unknown(order_id)
        self.policies = work.all(DeadlinePolicy, "of_shop", shop_id)

    @classmethod
    def of(cls, message: AboutOrder, work: Work) -> "Desk":
        """The desk of the order that a message names."""
        return cls(work, message.shop_id, message.order_id)

    def _unknown(self, order_id: str) -> PaidOrder:
        order = PaidOrder(shop_id=self.shop_id, order_id=order_id, updated_at=self.now)
        self.work.add(order)
        return order

    @property
    def cases(self) -> list[Case]:
        """The cases of the order, oldest first."""
        return self.work.all(Case, "of_order", self.shop_id, self.order.order_id)

    @property
    def holds(self) -> list[Hold]:
        """Every amount held, refunded or released for the order."""
        return self.work.all(Hold, "of_order", self.shop_id, self.order.order_id)

    def holds_of(self, case: Case) -> list[Hold]:
        """The holds of one case."""
        return [hold for hold in self.holds if hold.case_id == case.case_id]

    def held(self, case: Case) -> Hold | None:
        """The amount that is on its way to the buyer for this case."""
        return next((hold for hold in self.holds_of(case) if hold.state == "held"), None)

    def find(self, case_id: str) -> Case | None:
        """The case with this id, if it is one of this order."""
        return next((case for case in self.cases if case.case_id == case_id), None)

    def require(self, case_id: str) -> Case:
        """The case with this id; `NotFound` when the order has no such case."""
        found = self.find(case_id)
        if found is None:
            raise NotFound("no such case")
        return found

    # -- changes ----------------------------------------------------------------------------

    def open(self, case: Case, actor: Actor, reason: str) -> None:
        """A new case."""
        self.work.add(case)
        self.record(case, "open", actor, reason, previous=None)

    def enter(self, case: Case, state: CaseState, since: datetime | None = None) -> None:
        """Put a case into a state; the state's time runs from `since`, or from now.

        `ActionNotAllowed` for a case that has ended: nothing leads out of an end.
        """
        if not case.is_open:
            raise ActionNotAllowed(f"the case has ended: {case.state}")
        if state in TERMINAL:
            case.closed_at = self.now
            case.stop_waiting()
        if case.state != state:
            case.state = state
            case.state_since = min(since, self.now) if since else self.now
            case.blocked_reason = None

    def record(
        self,
        case: Case,
        action: str,
        actor: Actor,
        reason: str,
        *,
        previous: CaseState | None,
    ) -> None:
        """Number the change, keep it in the history, set the deadline anew, and tell the others.

        `previous` is the state before the change; None only for the opening.
        """
        case.revision += 1
        case.updated_at = self.now
        self.work.add(_entry(case, action, actor, reason, previous, self.now))
        self.set_deadline(case)
        event = _event(case, actor, previous, self.now, action=action, note=reason[:1000])
        self.work.emit(event, subject=case.case_id)

    def note(self, case: Case, action: str, actor: Actor, reason: str) -> None:
        """Write the history of a case that has ended; nothing is told, for it closed only once."""
        case.revision += 1
        case.updated_at = self.now
        self.work.add(_entry(case, action, actor, reason, case.state, self.now))

    def remember(self, case: Case, action: str, actor: Actor, reason: str) -> None:
        """Keep what came late and moves nothing: told while the case is open, else only noted."""
        if case.is_open:
            self.record(case, action, actor, reason, previous=case.state)
        else:
            self.note(case, action, actor, reason)

    def set_deadline(self, case: Case) -> bool:
        """Arm, move or cancel the timers; whether the deadline changed."""
        found = deadline_of(case, shipped=self.order.shipped, own=self.policies)
        deadline = (found.at, found.action) if found else (None, None)
        if deadline == (case.deadline_at, case.deadline_action):
            return False
        case.deadline_at, case.deadline_action = deadline
        if found is None:
            self.work.cancel(due_key(case))
            self.work.cancel(near_key(case))
        else:
            self._arm(case, found.at, found.warn_at)
        return True

    def _arm(self, case: Case, at: datetime, warn_at: datetime | None) -> None:
        names = {"shop_id": case.shop_id, "case_id": case.case_id, "order_id": case.order_id}
        self.work.arm(due_key(case), fires_at(at, self.now), CaseDue(**names, deadline_at=at))
        if warn_at is None or at <= self.now:
            self.work.cancel(near_key(case))
        else:
            near = CaseNear(**names, deadline_at=at)
            self.work.arm(near_key(case), max(warn_at, self.now), near)


def _entry(
    case: Case, action: str, actor: Actor, reason: str, previous: CaseState | None, now: datetime
) -> CaseEntry:
    return CaseEntry(
        shop_id=case.shop_id,
        case_id=case.case_id,
        revision=case.revision,
        action=action,
        previous_state=previous,
        state=case.state,
        actor=actor.id,
        actor_role=actor.role,
        reason=reason,
        amount_fen=case.amount_fen,
        refund_version=case.refund_version,
        at=now,
    )


def _event(
    case: Case, actor: Actor, previous: CaseState | None, now: datetime, *, action: str, note: str
) -> CaseEvent:
    if previous is None:
        return case_event(CaseOpened, case, actor, now, action=action, note=note)
    kind = CaseChanged if case.is_open else CaseClosed
    return case_event(kind, case, actor, now, previous, action=action, note=note)


def case_event(
    kind: type[CaseEvent],
    case: Case,
    actor: Actor,
    now: datetime,
    previous: CaseState | None = None,
    *,
    action: str = "",
    note: str = "",
) -> CaseEvent:
    """The case as an event of the given kind."""
    return kind(
        shop_id=case.shop_id,
        case_id=case.case_id,
        order_id=case.order_id,
        line_id=case.line_id,
        product_id=case.product_id,
        buyer_id=case.buyer_id,
        conversation_id=case.conversation_id,
        refund_id=case.refund_id,
        kind=case.kind,
        state=case.state,
        previous_state=previous,
        phase=case.phase,
        amount_fen=case.amount_fen or 0,
        refunded_fen=case.refunded_fen,
        reason=case.reason,
        description=case.description,
        version=case.revision,
        actor=actor.id,
        actor_role=actor.role,
        action=action,
        note=note,
        occurred_at=now,
        deadline_at=case.deadline_at,
        deadline_action=case.deadline_action,
        outcome=case.outcome,
    )
