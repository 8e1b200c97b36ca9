"""When a waiting state ends by itself, and which timers say so.

A case has at most two timers: the warning and the end. Each carries the deadline it was armed
for; one that no longer agrees with the case is stale and does nothing.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import msgspec

from aftersales.cases import Case
from aftersales.policies import DeadlinePolicy, duration, policy_for
from common.contracts import DeadlineAction

CATCH_UP = timedelta(minutes=10)
"""A deadline that is past when first heard of ends only after this: what the platform did about
it meanwhile may be in the events that are still being caught up with."""

RETRY = timedelta(minutes=10)
"""A deadline that cannot act yet (an answer is on its way, the order is unknown) tries again."""


class CaseDue(msgspec.Struct, frozen=True, kw_only=True):
    """The deadline of a case has come."""

    shop_id: str
    case_id: str
    order_id: str
    deadline_at: datetime


class CaseNear(msgspec.Struct, frozen=True, kw_only=True):
    """The deadline of a case comes near."""

    shop_id: str
    case_id: str
    order_id: str
    deadline_at: datetime


class Deadline(NamedTuple):
    """When a state ends, what then happens, and when to warn (None: never)."""

    at: datetime
    action: DeadlineAction
    warn_at: datetime | None


def due_key(case: Case) -> str:
    """The timer key of a case's deadline."""
    return f"case:{case.shop_id}:{case.case_id}:due"


def near_key(case: Case) -> str:
    """The timer key of a case's warning."""
    return f"case:{case.shop_id}:{case.case_id}:near"


def deadline_of(case: Case, *, shipped: bool, own: Sequence[DeadlinePolicy]) -> Deadline | None:
    """The deadline of the case's present state, None when it waits for nobody.

    The platform's own deadline for this state goes before any policy; the policy still says
    what happens then, and how long before it to warn.
    """
    if not case.is_open or case.state == "refunding" or case.blocked_reason:
        return None
    policy = policy_for(case, shipped=shipped, own=own)
    if policy is None:
        return None
    ends_at = case.state_since + duration(policy)
    if case.platform_deadline_at and case.platform_state == case.state:
        ends_at = case.platform_deadline_at
    warn = timedelta(seconds=policy.warn_seconds)
    return Deadline(ends_at, policy.action, ends_at - warn if warn else None)


def fires_at(deadline_at: datetime, now: datetime) -> datetime:
    """When the end takes effect: at the deadline, or a while from now if that is past."""
    return deadline_at if deadline_at > now else now + CATCH_UP


def is_current(case: Case | None, timer: CaseDue | CaseNear) -> bool:
    """Whether a timer still speaks of the case's present deadline."""
    return case is not None and case.is_open and case.deadline_at == timer.deadline_at


def needs_warning(case: Case) -> bool:
    """Whether nobody has been warned of this deadline yet."""
    return case.deadline_at is not None and case.warned_deadline_at != case.deadline_at
