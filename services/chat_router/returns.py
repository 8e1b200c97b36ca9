"""A request to give goods back or be refunded, made in the chat."""

from collections.abc import Iterable

import msgspec

from common.contracts import ActorRole, RefundKind, ReturnRequested
from common.errors import NotFound
from common.ids import new_id
from common.runtime import Need, Work, row, rows

from .conversations import Conversation
from .order_cards import KnownOrder


class RequestReturn(msgspec.Struct, frozen=True, kw_only=True):
    """Command: the buyer, or an agent for them, asks. `buyer_id` None: whoever made the order."""

    shop_id: str
    buyer_id: str | None
    order_id: str
    line_id: str | None = None
    kind: RefundKind
    amount_fen: int | None = None
    reason: str
    description: str = ""
    goods_received: bool
    actor: str
    actor_role: ActorRole


class ReturnAccepted(msgspec.Struct, frozen=True, kw_only=True):
    """On its way to aftersales, which opens a case or refuses it."""

    request_id: str
    conversation_id: str | None
    buyer_id: str
    order_id: str


def needs_of(command: RequestReturn) -> Iterable[Need]:
    """The order."""
    yield row(KnownOrder, command.shop_id, command.order_id)


def needs_conversation(command: RequestReturn, work: Work) -> Iterable[Need]:
    """The conversation of whoever made the order."""
    order = work.get(KnownOrder, command.shop_id, command.order_id)
    if order is not None:
        yield rows(Conversation, "open_of_buyer", command.shop_id, order.buyer_id)


def request_return(command: RequestReturn, work: Work) -> ReturnAccepted:
    """Passes the request on. `NotFound` for an order that is not the buyer's."""
    order = work.get(KnownOrder, command.shop_id, command.order_id)
    if order is None or command.buyer_id not in (None, order.buyer_id):
        raise NotFound("no such order", hint="An order made a moment ago may be known in a moment.")
    talks = work.all(Conversation, "open_of_buyer", command.shop_id, order.buyer_id)
    requested = ReturnRequested(
        shop_id=command.shop_id,
        request_id=new_id(),
        conversation_id=talks[0].conversation_id if talks else None,
        buyer_id=order.buyer_id,
        order_id=command.order_id,
        line_id=command.line_id,
        kind=command.kind,
        amount_fen=command.amount_fen,
        reason=command.reason,
        description=command.description,
        goods_received=command.goods_received,
        requested_by=command.actor,
        requested_role=command.actor_role,
        requested_at=work.now,
    )
    work.emit(requested)
    return ReturnAccepted(
        request_id=requested.request_id,
        conversation_id=requested.conversation_id,
        buyer_id=order.buyer_id,
        order_id=order.order_id,
    )
