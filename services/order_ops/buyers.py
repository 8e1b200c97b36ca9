"""What order_ops knows of a buyer: the live chat, the goods bought lately, and the block list.

The row is locked by everything that may remind this buyer, so decisions about one buyer are made
one after another.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

import msgspec

from common.runtime import Work

from .orders import Order

PURCHASES_KEPT_FOR = timedelta(days=15)
PURCHASES_KEPT = 200
ACTIVITY_RESOLUTION = timedelta(seconds=30)
"""A chat's last activity is stored no finer than this, so that not every message is a write."""


class Purchase(msgspec.Struct, frozen=True):
    """A product that the buyer paid for."""

    order_id: str
    product_id: str
    paid_at: datetime


class Buyer(msgspec.Struct, kw_only=True):
    """One buyer of a shop. `conversation_id` is None while no chat is open."""

    shop_id: str
    buyer_id: str
    conversation_id: str | None = None
    chat_active_at: datetime | None = None
    purchases: tuple[Purchase, ...] = ()
    blocked: bool = False
    block_reason: str = ""
    blocked_by: str = ""
    block_changed_at: datetime | None = None
    version: int = 0


def buyer_of(work: Work, shop_id: str, buyer_id: str) -> Buyer:
    """The buyer's row, made when there is none yet."""
    buyer = work.get(Buyer, shop_id, buyer_id)
    if buyer is None:
        buyer = Buyer(shop_id=shop_id, buyer_id=buyer_id)
        work.add(buyer)
    return buyer


def chat_opened(buyer: Buyer, conversation_id: str, at: datetime) -> None:
    """A chat is open and was active at this moment; an older moment never winds it back."""
    if buyer.conversation_id != conversation_id:
        buyer.conversation_id = conversation_id
        buyer.chat_active_at = at
    elif buyer.chat_active_at is None or at - buyer.chat_active_at >= ACTIVITY_RESOLUTION:
        buyer.chat_active_at = at


def chat_closed(buyer: Buyer, conversation_id: str) -> None:
    """The chat ended; the end of an earlier chat says nothing about the present one."""
    if buyer.conversation_id == conversation_id:
        buyer.conversation_id = None
        buyer.chat_active_at = None


def in_live_chat(buyer: Buyer, now: datetime, active_within: timedelta) -> bool:
    """Whether a chat is open and someone wrote in it lately."""
    if buyer.conversation_id is None or buyer.chat_active_at is None:
        return False
    return now - buyer.chat_active_at <= active_within


def record_purchase(buyer: Buyer, order: Order, now: datetime) -> None:
    """Remembers the goods of a paid order; what is too old for any rule is forgotten."""
    paid_at = order.paid_at or order.modified_at
    bought = {line.product_id for line in order.lines}
    kept = [p for p in buyer.purchases if p.order_id != order.order_id]
    kept += [Purchase(order.order_id, product_id, paid_at) for product_id in sorted(bought)]
    buyer.purchases = _recent(kept, now)


def forget_purchase(buyer: Buyer, order: Order) -> None:
    """An order that was closed after all bought nothing."""
    if any(purchase.order_id == order.order_id for purchase in buyer.purchases):
        kept = (p for p in buyer.purchases if p.order_id != order.order_id)
        buyer.purchases = tuple(kept)


def _recent(purchases: Iterable[Purchase], now: datetime) -> tuple[Purchase, ...]:
    young = [p for p in purchases if now - p.paid_at <= PURCHASES_KEPT_FOR]
    return tuple(sorted(young, key=lambda p: (p.paid_at, p.order_id, p.product_id)))[
        -PURCHASES_KEPT:
    ]
