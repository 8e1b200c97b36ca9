"""Threads: what a buyer has said in one conversation so far, and about which product."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec

from common.contracts import MessageReceived, Tag
from feedback.counts import LatestOrder, SoldLine, products_of
from feedback.items import COUNTED_SCORE, Collected, Item, item_id_of
from feedback.tagging import Tagging, sentiment_of

MAX_THREAD_TEXT = 2000
RECENT_ORDER = timedelta(days=30)
"""An older order is no sign of what a buyer talks about."""


class Thread(msgspec.Struct, kw_only=True):
    """The buyer's side of a conversation. `polarity` adds up over its messages."""

    shop_id: str
    conversation_id: str
    buyer_id: str
    product_id: str | None = None
    order_id: str | None = None
    text: str = ""
    tags: tuple[Tag, ...] = ()
    polarity: float = 0.0
    messages: int = 0
    started_at: datetime
    closed_at: datetime | None = None
    version: int = 0


def begun(message: MessageReceived) -> Thread:
    """The empty thread of a conversation whose first message this is."""
    return Thread(
        shop_id=message.shop_id,
        conversation_id=message.conversation_id,
        buyer_id=message.buyer_id,
        started_at=message.received_at,
    )


def notice_product(
    thread: Thread,
    message: MessageReceived,
    lines: Sequence[SoldLine],
    latest: LatestOrder | None,
) -> None:
    """Find out what the buyer talks about: a product card, an order card, or what they bought last.

    An order of several products names none of them. A card that comes after the first complaint
    does not move that complaint to another product.
    """
    product, order_id = _named(message, lines)
    complained = bool(complaints(thread.tags)) and thread.product_id is not None
    if product or order_id:
        if not complained:
            thread.product_id = product or thread.product_id
            thread.order_id = order_id or thread.order_id
    elif thread.product_id is None and thread.order_id is None and _recent(latest, message):
        assert latest is not None
        thread.order_id = latest.order_id
        thread.product_id = only(latest.product_ids)


def _named(message: MessageReceived, lines: Sequence[SoldLine]) -> tuple[str | None, str | None]:
    return message.product_id or only(products_of(lines)), message.order_id


def _recent(latest: LatestOrder | None, message: MessageReceived) -> bool:
    return latest is not None and message.received_at - latest.paid_at <= RECENT_ORDER


def only(products: Sequence[str]) -> str | None:
    """The product when there is exactly one."""
    return products[0] if len(products) == 1 else None


def hear(thread: Thread, message: MessageReceived, tagging: Tagging) -> None:
    """Add a buyer's message to what was said so far."""
    thread.messages += 1
    words = (message.text or "").strip()
    if not words:
        return
    thread.polarity += tagging.polarity
    thread.tags = merged(thread.tags, tagging.tags)
    if len(thread.text) < MAX_THREAD_TEXT:
        thread.text = f"{thread.text}\n{words}".strip()[:MAX_THREAD_TEXT]


def merged(known: tuple[Tag, ...], found: tuple[Tag, ...]) -> tuple[Tag, ...]:
    """All tags once, each with its best score and the words of that."""
    best = {tag.tag: tag for tag in known}
    for tag in found:
        if tag.tag not in best or tag.score > best[tag.tag].score:
            best[tag.tag] = tag
    return tuple(best.values())


def complaints(tags: Sequence[Tag]) -> list[Tag]:
    """The tags that say something is wrong, rather than ask about it."""
    return [tag for tag in tags if tag.score >= COUNTED_SCORE]


def worth_an_item(thread: Thread, item: Item | None) -> bool:
    """Whether the thread is (still) an item: complaints at once, all else when it is closed."""
    if not thread.text:
        return False
    return item is not None or thread.closed_at is not None or bool(complaints(thread.tags))


def collected(thread: Thread, item: Item | None, at: datetime) -> Collected:
    """The thread as feedback. The first moment of an item stays its moment."""
    return Collected(
        shop_id=thread.shop_id,
        source="conversation",
        source_id=thread.conversation_id,
        product_id=thread.product_id,
        order_id=thread.order_id,
        buyer_id=thread.buyer_id,
        text=thread.text,
        occurred_at=item.occurred_at if item else at,
    )


def tagging_of(thread: Thread, taxonomy_version: int) -> Tagging:
    """The tags and the mood of the whole thread."""
    return Tagging(
        tags=thread.tags,
        sentiment=sentiment_of(thread.polarity),
        polarity=thread.polarity,
        taxonomy_version=taxonomy_version,
    )


def thread_item_id(conversation_id: str) -> str:
    """The item that a conversation's thread becomes."""
    return item_id_of("conversation", conversation_id)
