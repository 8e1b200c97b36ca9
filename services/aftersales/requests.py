"""Cases asked for in a chat or over the API, and what the order says about them.

A request may come before its order does. The case then waits; once the order is known and paid
its amount is checked, and a request for somebody else's order is turned down.
"""

import msgspec

from aftersales.cases import (
    SYSTEM,
    Actor,
    Case,
    CaseAlreadyOpen,
    LineNotInOrder,
    Origin,
    OverPaid,
)
from aftersales.desk import Desk
from aftersales.holds import parts_of_fact, reach, refundable
from common.contracts import OrderEvent, RefundKind, RefundPhase, ReturnRequested
from common.errors import InvalidInput, NotFound
from common.ids import new_id


class OpenCase(msgspec.Struct, frozen=True, kw_only=True):
    """A case entered over the API, by the buyer for an own order or by staff for the buyer.

    `buyer_id` None takes the order's; `amount_fen` None asks for all that can be refunded.
    """

    shop_id: str
    order_id: str
    line_id: str | None = None
    buyer_id: str | None = None
    conversation_id: str | None = None
    kind: RefundKind
    amount_fen: int | None = None
    reason: str
    description: str = ""
    goods_received: bool | None = None
    actor: Actor


def open_requested(desk: Desk, event: ReturnRequested) -> None:
    """The case of a request made in a chat: one per `request_id`."""
    if desk.work.all(Case, "of_request", event.shop_id, event.request_id):
        return
    actor = Actor(event.requested_by, event.requested_role)
    same = next((case for case in desk.cases if _is_same_request(case, event)), None)
    if same is not None:
        same.request_id = event.request_id
        same.conversation_id = event.conversation_id
        desk.record(same, "requested", actor, event.reason, previous=same.state)
        return
    why_not = _asked_already(desk, event)
    case = _new_case(desk, event, event.buyer_id, "chat")
    case.request_id = event.request_id
    open_checked(desk, case, actor, why_not)


def _asked_already(desk: Desk, event: ReturnRequested) -> str | None:
    """Why a request is one too many: what was asked for twice must not be paid twice."""
    for case in desk.cases:
        same_line = (case.line_id, case.buyer_id) == (event.line_id, event.buyer_id)
        if case.is_open and same_line:
            return "该商品已有进行中的售后单 / the line has an open case already"
    return None


def _is_same_request(case: Case, event: ReturnRequested) -> bool:
    """A request that the buyer has also made on the platform."""
    return (
        case.is_open
        and case.refund_id is not None
        and case.request_id is None
        and (case.line_id, case.buyer_id) == (event.line_id, event.buyer_id)
    )


def open_case(desk: Desk, asked: OpenCase) -> Case:
    """The case that somebody entered.

    `NotFound` for another buyer's order, `CaseAlreadyOpen` for a line that has an open case,
    `OverPaid` and `LineNotInOrder` as the order says; an order not known yet is no error.
    """
    buyer_id = _buyer_of(desk, asked)
    _refuse_second(desk, asked)
    if desk.order.known:
        _refuse_too_much(desk, asked)
    case = _new_case(desk, asked, buyer_id, "desk")
    open_checked(desk, case, asked.actor)
    return case


def _new_case(desk: Desk, asked: ReturnRequested | OpenCase, buyer_id: str, origin: Origin) -> Case:
    return Case(
        shop_id=asked.shop_id,
        case_id=new_id(),
        order_id=asked.order_id,
        line_id=asked.line_id,
        buyer_id=buyer_id,
        conversation_id=asked.conversation_id,
        platform=desk.order.platform or "own",
        origin=origin,
        kind=asked.kind,
        phase=_phase(desk),
        state_since=desk.now,
        amount_fen=asked.amount_fen,
        reason=asked.reason,
        description=asked.description,
        goods_received=asked.goods_received,
        opened_at=desk.now,
        updated_at=desk.now,
    )


def _buyer_of(desk: Desk, asked: OpenCase) -> str:
    buyer_id = asked.actor.id if asked.actor.role == "buyer" else asked.buyer_id
    if desk.order.known and desk.order.buyer_id is not None:
        if buyer_id not in (None, desk.order.buyer_id):
            raise NotFound("no such order of this buyer")
        return desk.order.buyer_id
    if buyer_id is None:
        raise InvalidInput("buyer_id is needed while the order is not known")
    return buyer_id


def _refuse_second(desk: Desk, asked: OpenCase) -> None:
    for case in desk.cases:
        if case.is_open and case.line_id == asked.line_id:
            raise CaseAlreadyOpen(
                "the line has an open case already", extra={"case_id": case.case_id}
            )


def _refuse_too_much(desk: Desk, asked: OpenCase) -> None:
    if asked.line_id is not None and desk.order.line(asked.line_id) is None:
        raise LineNotInOrder(f"order {asked.order_id} has no such line")
    limit = reach(refundable(desk.order, desk.holds), asked.line_id)
    if limit == 0 or (asked.amount_fen or 0) > limit:
        raise OverPaid(f"{limit} fen can be refunded", extra={"refundable_fen": limit})


def _phase(desk: Desk) -> RefundPhase:
    """After the buyer confirmed receipt a refund is after-sale (售后), before that 售中."""
    return "aftersale" if desk.order.status == "finished" else "onsale"


def open_checked(desk: Desk, case: Case, actor: Actor, why_not: str | None = None) -> None:
    """Open a case, held against its order if that is known; it may be turned down at once."""
    why = _checked(desk, case) or why_not
    desk.open(case, actor, case.reason)
    if why is not None:
        _turn_down(desk, case, why)


def take_order_news(desk: Desk, event: OrderEvent) -> None:
    """What a newer version of the order means for its cases and for money already paid back."""
    for hold in desk.holds:
        if hold.counts and not hold.parts:
            case = desk.require(hold.case_id)
            hold.parts = parts_of_fact(hold.amount_fen, case.line_id, desk.order, desk.holds)
    for case in desk.cases:
        if case.is_open:
            check_with_order(desk, case)
        if case.is_open and desk.set_deadline(case):
            desk.record(case, "deadline_moved", SYSTEM, event.status, previous=case.state)


def check_with_order(desk: Desk, case: Case) -> None:
    """Check a case that waited for its order, if the order is there now."""
    before = (case.amount_fen, case.product_id, case.phase, case.platform)
    why = _checked(desk, case)
    if why is not None:
        _turn_down(desk, case, why)
    elif before != (case.amount_fen, case.product_id, case.phase, case.platform):
        desk.record(case, "order_known", SYSTEM, "", previous=case.state)


def _checked(desk: Desk, case: Case) -> str | None:
    """Fill in what the order says; why the case must be turned down, if it must."""
    order = desk.order
    if not order.known or case.order_checked:
        return None
    line = order.line(case.line_id)
    case.product_id = line.product_id if line else _only_product(desk)
    if case.refund_id is not None:
        case.order_checked = True
        return None  # the platform has checked what was asked for
    if order.buyer_id != case.buyer_id:
        return "订单不属于该买家 / the order is another buyer's"
    if case.line_id is not None and line is None:
        return "订单中没有该商品行 / the order has no such line"
    if not order.paid_fen:
        return "订单未付款已关闭 / closed unpaid" if order.status == "closed" else None
    limit = reach(refundable(order, desk.holds), case.line_id)
    if limit == 0:
        return "没有可退金额 / nothing is left to refund"
    case.order_checked = True
    case.platform = order.platform or case.platform
    case.phase = "aftersale" if order.status == "finished" else case.phase
    case.amount_fen = limit if case.amount_fen is None else min(case.amount_fen, limit)
    return None


def _only_product(desk: Desk) -> str | None:
    """The product of a whole-order case, when the order has just one."""
    products = {line.product_id for line in desk.order.lines}
    return products.pop() if len(products) == 1 else None


def _turn_down(desk: Desk, case: Case, why: str) -> None:
    previous = case.state
    case.outcome = "rejected"
    desk.enter(case, "closed")
    desk.record(case, "turn_down", SYSTEM, why, previous=previous)
