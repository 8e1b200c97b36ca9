"""Refund snapshots of a platform, in whatever order they come.

A snapshot is newer by its refund version, then by its time, then by the rank of its status
(times have only seconds). An older one is left aside; a final one always counts, for the money
has moved or the request is gone, and from then on the case no longer changes.
"""

from typing import Any

import msgspec

from aftersales.cases import PLATFORM, Actor, Case, RefundOfOtherOrder
from aftersales.desk import Desk
from aftersales.refunds import refund_seen
from aftersales.requests import open_checked
from aftersales.transitions import STATE_OF_STATUS, STATUS_RANK
from common.contracts import RefundKind, ShopRefund
from common.ids import new_id


class TakeRefund(msgspec.Struct, frozen=True, kw_only=True):
    """A snapshot that came over HTTP."""

    shop_id: str
    order_id: str
    snapshot: ShopRefund


def take_snapshot(desk: Desk, seen: ShopRefund) -> Case:
    """Bring the case of a refund to what the platform says; opens it if there is none."""
    case = _case_of(desk, seen)
    if case is None:
        case = _opened(seen)
        open_checked(desk, case, Actor(seen.buyer_id, "buyer"))
    if seen.status == "success":
        _take_success(desk, case, seen)
    elif case.is_open:
        _mirror(desk, case, seen)
    return case


def _case_of(desk: Desk, seen: ShopRefund) -> Case | None:
    for case in desk.work.all(Case, "of_refund", seen.shop_id, seen.refund_id):
        if case.order_id != seen.order_id:
            raise RefundOfOtherOrder(f"refund {seen.refund_id} is known for another order")
    cases = desk.cases
    known = next((case for case in cases if case.refund_id == seen.refund_id), None)
    return known or next((case for case in cases if _is_same_request(case, seen)), None)


def _is_same_request(case: Case, seen: ShopRefund) -> bool:
    """A buyer who asked in the chat and then on the platform asks for one thing, not for two."""
    return (
        case.is_open
        and case.refund_id is None
        and case.state != "refunding"
        and (case.line_id, case.buyer_id) == (seen.line_id, seen.buyer_id)
    )


def _opened(seen: ShopRefund) -> Case:
    return Case(
        shop_id=seen.shop_id,
        case_id=new_id(),
        order_id=seen.order_id,
        line_id=seen.line_id,
        buyer_id=seen.buyer_id,
        platform=seen.platform,
        refund_id=seen.refund_id,
        origin="platform",
        kind=_kind(seen),
        phase=seen.phase,
        state_since=seen.modified_at,
        amount_fen=seen.amount_fen,
        refund_version=seen.refund_version,
        reason=seen.reason,
        description=seen.description,
        goods_received=seen.goods_received,
        opened_at=seen.created_at,
        updated_at=seen.modified_at,
    )


def _kind(seen: ShopRefund) -> RefundKind:
    """Goods that come back make it a return, whatever the request was called at first."""
    if seen.status in ("wait_buyer_return_goods", "wait_seller_confirm_goods"):
        return "return_and_refund"
    return seen.kind


def is_newer(case: Case, seen: ShopRefund) -> bool:
    """Whether a snapshot says more than what has been taken so far."""
    if case.snapshot_at is None:
        return True
    mine = (case.refund_version, case.snapshot_at, case.snapshot_rank)
    return (seen.refund_version, seen.modified_at, STATUS_RANK[seen.status]) > mine


def _take_success(desk: Desk, case: Case, seen: ShopRefund) -> None:
    if case.is_open:
        _take_fields(case, seen)
    refund_seen(desk, case, seen.amount_fen)


def _mirror(desk: Desk, case: Case, seen: ShopRefund) -> None:
    before, previous = _visible(case), case.state
    target = STATE_OF_STATUS[seen.status]
    newer = is_newer(case, seen)
    altered = newer and seen.refund_version != case.refund_version
    if newer:
        _take_fields(case, seen)
    _take_tracking(case, seen)
    if target == "closed":
        case.outcome = "rejected" if previous == "seller_refuse_buyer" else "withdrawn"
        desk.enter(case, "closed")
    elif newer and case.state != "refunding":
        # While our own agreement is on its way, the platform's older word does not undo it.
        _follow(desk, case, seen, restart=altered)
    elif case.state == target and seen.refund_version == case.refund_version:
        case.state_since = min(case.state_since, seen.modified_at)
    if desk.set_deadline(case) or _visible(case) != before:
        desk.record(case, "mirror", PLATFORM, seen.status, previous=previous)


def _follow(desk: Desk, case: Case, seen: ShopRefund, *, restart: bool) -> None:
    """Go where the platform is; the buyer's alteration begins the state's time anew."""
    desk.enter(case, STATE_OF_STATUS[seen.status], seen.modified_at)
    if restart:
        case.state_since = min(seen.modified_at, desk.now)
    if case.state == "seller_refuse_buyer":
        case.stop_waiting()


def _take_fields(case: Case, seen: ShopRefund) -> None:
    asked = (case.amount_fen, case.refund_version)
    case.refund_id = seen.refund_id
    case.platform = seen.platform
    case.kind = _kind(seen)
    case.phase = seen.phase
    case.amount_fen = seen.amount_fen
    case.refund_version = seen.refund_version
    case.reason, case.description = seen.reason, seen.description
    case.goods_received = seen.goods_received
    case.platform_state = STATE_OF_STATUS[seen.status]
    case.platform_deadline_at = seen.deadline_at
    case.snapshot_at, case.snapshot_rank = seen.modified_at, STATUS_RANK[seen.status]
    if asked != (case.amount_fen, case.refund_version):
        case.blocked_reason = None  # what could not be paid was another request


def _take_tracking(case: Case, seen: ShopRefund) -> None:
    number = seen.return_tracking_no
    if number and (case.tracking_at is None or seen.modified_at >= case.tracking_at):
        case.return_tracking_no, case.tracking_at = number, seen.modified_at


def _visible(case: Case) -> tuple[Any, ...]:
    """What others see of a case; a snapshot that changes none of it is no change."""
    return (
        case.refund_id, case.platform, case.kind, case.phase, case.state, case.amount_fen,
        case.refund_version, case.reason, case.description, case.goods_received,
        case.return_tracking_no, case.pending_command_id,
    )  # fmt: skip
