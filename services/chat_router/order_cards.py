"""What conversations know of orders: a projection of the order book, and the buyer's situation."""

from collections.abc import Iterable, Sequence
from datetime import datetime

import msgspec

from common.contracts import OrderCard, OrderEvent, OrderState, OrderStatus
from common.runtime import Need, Work, row, rows

from .buyers import Buyer, buyer_at
from .conversations import Conversation
from .groups import SkillGroup, choose_group, rank_of
from .panel import tell_all

_LIVE = frozenset({"unpaid", "paid", "partly_shipped", "shipped", "signed"})
_SITUATION: dict[OrderStatus, OrderState] = {
    "unpaid": "unpaid",
    "paid": "paid",
    "partly_shipped": "shipped",
    "shipped": "shipped",
    "signed": "shipped",
    "finished": "finished",
}


class KnownOrder(msgspec.Struct, kw_only=True):
    """The newest that was heard of an order. `order_version` is the order book's."""

    shop_id: str
    order_id: str
    buyer_id: str
    status: OrderStatus
    title: str
    total_fen: int
    refund_open: bool
    order_version: int
    created_at: datetime


def situation(orders: Sequence[KnownOrder]) -> tuple[OrderState, OrderCard | None]:
    """The buyer's order situation and the order it comes from.

    The newest live order decides (one with an open refund is live); without one, the newest
    finished order; closed orders say nothing.
    """
    newest_first = sorted(orders, key=lambda one: (one.created_at, one.order_id), reverse=True)
    for order in newest_first:
        if order.refund_open:
            return "refund_open", card_of(order)
        if order.status in _LIVE:
            return _SITUATION[order.status], card_of(order)
    for order in newest_first:
        if order.status == "finished":
            return "finished", card_of(order)
    return "none", None


def card_of(order: KnownOrder) -> OrderCard:
    """The card beside the chat."""
    return OrderCard(
        order_id=order.order_id,
        status=order.status,
        title=order.title,
        total_fen=order.total_fen,
        refund_open=order.refund_open,
    )


def needs_of(event: OrderEvent) -> Iterable[Need]:
    """The order, the buyer's other orders, the buyer and their conversation."""
    yield row(KnownOrder, event.shop_id, event.order_id)
    yield rows(KnownOrder, "of_buyer", event.shop_id, event.buyer_id)
    yield rows(Conversation, "open_of_buyer", event.shop_id, event.buyer_id)
    yield row(Buyer, event.shop_id, event.buyer_id)


def needs_groups(event: OrderEvent, work: Work) -> Iterable[Need]:
    """The groups, if the buyer still waits and may belong to another one now."""
    for one in work.all(Conversation, "open_of_buyer", event.shop_id, event.buyer_id):
        if _may_be_regrouped(one):
            yield rows(SkillGroup, "of_shop", event.shop_id)


def project(event: OrderEvent, work: Work) -> None:
    """Keeps the newest version of the order; shows what changed for the buyer."""
    if not _keep(event, work):
        return
    buyer = buyer_at(work, event.shop_id, event.buyer_id, event.platform)
    state, card = situation(work.all(KnownOrder, "of_buyer", event.shop_id, event.buyer_id))
    if (buyer.order_state, buyer.order_card) == (state, card):
        return
    buyer.order_state, buyer.order_card = state, card
    for conversation in work.all(Conversation, "open_of_buyer", event.shop_id, event.buyer_id):
        _follow(conversation, buyer, work)


def _keep(event: OrderEvent, work: Work) -> bool:
    """False for an event that is older than what is known."""
    known = work.get(KnownOrder, event.shop_id, event.order_id)
    if known is None:
        work.add(_known(event))
        return True
    if event.version < known.order_version:
        return False
    known.status = event.status
    known.title = _title(event)
    known.total_fen = event.total_fen
    known.refund_open = event.refund_open
    known.order_version = event.version
    return True


def _known(event: OrderEvent) -> KnownOrder:
    return KnownOrder(
        shop_id=event.shop_id,
        order_id=event.order_id,
        buyer_id=event.buyer_id,
        status=event.status,
        title=_title(event),
        total_fen=event.total_fen,
        refund_open=event.refund_open,
        order_version=event.version,
        created_at=event.created_at,
    )


def _title(event: OrderEvent) -> str:
    return event.lines[0].title if event.lines else ""


def _may_be_regrouped(conversation: Conversation) -> bool:
    """A buyer who was handed on, or dropped, waits where they were put."""
    return conversation.state in ("queued", "message_box") and conversation.wait_reason in (
        None,
        "message_box",
    )


def _follow(conversation: Conversation, buyer: Buyer, work: Work) -> None:
    conversation.order_state = buyer.order_state
    if _may_be_regrouped(conversation):
        groups = work.all(SkillGroup, "of_shop", conversation.shop_id)
        group_id, group_priority = choose_group(groups, buyer.order_state)
        conversation.group_id = group_id
        conversation.rank = rank_of(buyer.priority, group_priority)
        work.after_commit("router")
    tell_all(conversation, buyer, ("order",), work)
