"""Which action leads where, and who may take it: the state machines of the cases, as data.

One table per kind of case. The states are those of the platform (Taobao's six refund statuses)
and `refunding`, between the shop's agreement and the platform's word that the money went back.

A snapshot of the platform (`mirror`) may set any open case to any state the platform is in:
what happened there has happened. Nothing ever leaves `success` or `closed`.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple, get_args

from aftersales.cases import TERMINAL, ActionNotAllowed, Actor, Case
from common.contracts import ActorRole, CaseState, RefundKind, RefundStatus
from common.errors import Forbidden

Action = Literal[
    "agree_return",
    "refund",
    "refuse",
    "ship_return",
    "receive",
    "withdraw",
    "expire",
    "reject",
    "refunded",
    "refund_failed",
    "mirror",
]

STAFF: frozenset[ActorRole] = frozenset({"agent", "senior_agent", "supervisor", "admin", "system"})
REFUSERS: frozenset[ActorRole] = STAFF - {"agent"}
BUYER: frozenset[ActorRole] = frozenset({"buyer"})
SENDERS: frozenset[ActorRole] = STAFF | BUYER | {"platform"}
MACHINE: frozenset[ActorRole] = frozenset({"system", "platform"})


class Transition(NamedTuple):
    """From a state, an action leads to a state, for these roles."""

    source: CaseState
    action: Action
    target: CaseState
    roles: frozenset[ActorRole]


STATE_OF_STATUS: Mapping[RefundStatus, CaseState] = {
    "wait_seller_agree": "wait_seller_agree",
    "wait_buyer_return_goods": "wait_buyer_return_goods",
    "wait_seller_confirm_goods": "wait_seller_confirm_goods",
    "seller_refuse_buyer": "seller_refuse_buyer",
    "closed": "closed",
    "success": "success",
}
"""The platform's six refund statuses, and ours."""

STATUS_RANK: Mapping[RefundStatus, int] = {
    "wait_seller_agree": 1,
    "wait_buyer_return_goods": 2,
    "wait_seller_confirm_goods": 3,
    "seller_refuse_buyer": 4,
    "closed": 5,
    "success": 6,
}
"""Breaks the tie of snapshots of the same second: the higher one is the later one."""

_OPEN_STATES: tuple[CaseState, ...] = tuple(s for s in get_args(CaseState) if s not in TERMINAL)
_MIRROR = tuple(
    Transition(source, "mirror", target, frozenset({"platform"}))
    for source in _OPEN_STATES
    for target in STATE_OF_STATUS.values()
)
_ENDS = tuple(
    row
    for state in ("wait_seller_agree", "seller_refuse_buyer")
    for row in (
        Transition(state, "withdraw", "closed", BUYER),
        Transition(state, "expire", "closed", MACHINE),
    )
)

REFUND_ONLY: tuple[Transition, ...] = (
    Transition("wait_seller_agree", "refund", "refunding", STAFF),
    Transition("wait_seller_agree", "refuse", "seller_refuse_buyer", REFUSERS),
    Transition("wait_seller_agree", "reject", "seller_refuse_buyer", MACHINE),
    Transition("seller_refuse_buyer", "refund", "refunding", STAFF),
    Transition("refunding", "refunded", "success", MACHINE),
    Transition("refunding", "refund_failed", "wait_seller_agree", MACHINE),
    *_ENDS,
    *_MIRROR,
)

RETURN_AND_REFUND: tuple[Transition, ...] = (
    Transition("wait_seller_agree", "agree_return", "wait_buyer_return_goods", STAFF),
    Transition("wait_seller_agree", "refuse", "seller_refuse_buyer", REFUSERS),
    Transition("wait_seller_agree", "reject", "seller_refuse_buyer", MACHINE),
    Transition("seller_refuse_buyer", "agree_return", "wait_buyer_return_goods", STAFF),
    Transition("seller_refuse_buyer", "refund", "refunding", STAFF),
    Transition("wait_buyer_return_goods", "ship_return", "wait_seller_confirm_goods", SENDERS),
    Transition("wait_buyer_return_goods", "withdraw", "closed", BUYER),
    Transition("wait_buyer_return_goods", "expire", "closed", MACHINE),
    Transition("wait_seller_confirm_goods", "receive", "wait_seller_confirm_goods", STAFF),
    Transition("wait_seller_confirm_goods", "refund", "refunding", STAFF),
    Transition("wait_seller_confirm_goods", "refuse", "seller_refuse_buyer", REFUSERS),
    Transition("wait_seller_confirm_goods", "reject", "seller_refuse_buyer", MACHINE),
    Transition("wait_seller_confirm_goods", "withdraw", "closed", BUYER),
    Transition("wait_seller_confirm_goods", "expire", "closed", MACHINE),
    Transition("refunding", "refunded", "success", MACHINE),
    Transition("refunding", "refund_failed", "wait_seller_confirm_goods", MACHINE),
    *_ENDS,
    *_MIRROR,
)

MACHINES: Mapping[RefundKind, tuple[Transition, ...]] = {
    "refund_only": REFUND_ONLY,
    "return_and_refund": RETURN_AND_REFUND,
}


def check(case: Case, action: Action, actor: Actor) -> CaseState:
    """The state that an action leads to (of `mirror`: the case's own, any may follow).

    `ActionNotAllowed` when the state has no such transition, `Forbidden` when this role may
    not take it.
    """
    rows = [r for r in MACHINES[case.kind] if r.source == case.state and r.action == action]
    if not rows:
        raise ActionNotAllowed(
            f"a {case.kind} case in {case.state} has no action {action}",
            extra={"state": case.state, "allowed": allowed(case, actor)},
        )
    if actor.role not in rows[0].roles:
        raise Forbidden(f"the role {actor.role} may not {action} a case in {case.state}")
    return case.state if action == "mirror" else rows[0].target


def allowed(case: Case, actor: Actor) -> list[Action]:
    """The actions this actor may take now."""
    rows = MACHINES[case.kind]
    found = {r.action for r in rows if r.source == case.state and actor.role in r.roles}
    return sorted(found - {"mirror"})


def agreeing(case: Case) -> Action:
    """What to agree means now: take the goods back first, or pay at once."""
    if case.kind == "refund_only" or case.state == "wait_seller_confirm_goods":
        return "refund"
    if case.state == "seller_refuse_buyer" and case.return_tracking_no:
        return "refund"
    return "agree_return"
