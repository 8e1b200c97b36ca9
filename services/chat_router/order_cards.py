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
    """The newest that was heard of an order. `order_version` is the order book's.

    `counts`: the buyer's situation may come from it. That is any live order and the newest
    finished one, so that a buyer's finished orders of years are not looked at with each event.
    """

    shop_id: str
    order_id: str
    buyer_id: str
    status: OrderStatus
    title: str
    total_fen: int
    refund_open: bool
    order_version: int
    created_at: datetime
    counts: bool = True


def situation(orders: Sequence[KnownOrder]) -> tuple[OrderState, OrderCard | None]:
    """The buyer's order situation and the order it comes from.

    The newest live order decides (one with an open refund is live); without one, the newest
    finished order; closed orders say nothing.
    """
    newest_first = sorted(orders, key=_age, reverse=True)
    for order in newest_first:
        if order.refund_open:
            return "refund_open", card_of(order)
        if order.status in _LIVE:
            return _SITUATION[order.status], card_of(order)
    for order in newest_first:
        if order.status == "finished":
            return "finished", card_of(order)
    return "none", None


def count(orders: Sequence[KnownOrder]) -> None:
    """Notes which of a buyer's orders the situation may still come from.

    Finished is an end: an order that another finished one is newer than never decides again, unless
    a refund is opened.
    """
    finished = [order for order in orders if order.status == "finished"]
    newest = max(finished, key=_age, default=None)
    for order in orders:
        order.counts = order.refund_open or order.status in _LIVE or order is newest


def _age(order: KnownOrder) -> tuple[datetime, str]:
    return order.created_at, order.order_id


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
    """The order, the buyer's orders that count, the buyer and their conversation."""
    yield row(KnownOrder, event.shop_id, event.order_id)
    yield rows(KnownOrder, "counting_of_buyer", event.shop_id, event.buyer_id)
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
    orders = work.all(KnownOrder, "counting_of_buyer", event.shop_id, event.buyer_id)
    count(orders)
    state, card = situation(orders)
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
    known.counts = True  # until it is seen beside the buyer's others
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
