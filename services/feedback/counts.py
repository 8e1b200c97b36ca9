"""Counting: complaints per product, tag and day, and the orders they are measured against."""

from collections.abc import Iterable, Iterator
from datetime import datetime

import msgspec

from common.contracts import FeedbackTagged, OrderEvent, OrderLine
from feedback.days import shop_day
from feedback.items import COUNTED_SCORE

SOLD_STATUSES = frozenset({"paid", "partly_shipped", "shipped", "signed", "finished"})


class Hit(msgspec.Struct, kw_only=True):
    """A tag of an item. Counted hits stand in `DailyHits`; the others are only looked up."""

    shop_id: str
    item_id: str
    tag: str
    product_id: str | None
    buyer_id: str | None
    day: str
    score: float
    counted: bool


class DailyHits(msgspec.Struct, kw_only=True):
    """Complaints of one kind about one product on one local day."""

    shop_id: str
    product_id: str
    tag: str
    day: str
    hits: int
    updated_at: datetime


class DailyOrders(msgspec.Struct, kw_only=True):
    """Order lines of one product paid on one local day: the exposure to complaints."""

    shop_id: str
    product_id: str
    day: str
    orders: int


class SoldLine(msgspec.Struct, kw_only=True):
    """An order line that was counted. Its row is what makes it count once."""

    shop_id: str
    order_id: str
    line_id: str
    product_id: str
    buyer_id: str
    day: str


class LatestOrder(msgspec.Struct, kw_only=True):
    """A buyer's newest paid order: what a complaint is about when nothing else says so."""

    shop_id: str
    buyer_id: str
    order_id: str
    product_ids: tuple[str, ...]
    paid_at: datetime


DailyKey = tuple[str, str, str, str]


def hits_of(event: FeedbackTagged) -> list[Hit]:
    """The hits of an item as its newest event states them.

    Without a product there is no stream to count in. A closed case repeats the reason that was
    counted when it was opened, so it is looked up but not counted again.
    """
    countable = event.product_id is not None and event.source != "case"
    return [
        Hit(
            shop_id=event.shop_id,
            item_id=event.item_id,
            tag=tag.tag,
            product_id=event.product_id,
            buyer_id=event.buyer_id,
            day=shop_day(event.occurred_at),
            score=tag.score,
            counted=countable and tag.score >= COUNTED_SCORE,
        )
        for tag in event.tags
    ]


def daily_key(hit: Hit) -> DailyKey | None:
    """Key of the day's row that a hit counts in, None when it does not count."""
    if not hit.counted or hit.product_id is None:
        return None
    return hit.shop_id, hit.product_id, hit.tag, hit.day


def changes(old: Iterable[Hit], new: Iterable[Hit]) -> dict[DailyKey, int]:
    """By how much each day's count changes when `new` takes the place of `old`."""
    difference: dict[DailyKey, int] = {}
    for sign, hits in ((-1, old), (1, new)):
        for key in filter(None, map(daily_key, hits)):
            difference[key] = difference.get(key, 0) + sign
    return {key: change for key, change in difference.items() if change}


def paid_moment(order: OrderEvent) -> datetime:
    """When an order was paid, as far as is known (cash on delivery names no time)."""
    return order.paid_at or order.occurred_at


def sold_lines(order: OrderEvent) -> Iterator[tuple[OrderLine, str]]:
    """The lines of a paid order, each once, with the day they count on; none while unpaid."""
    if order.status not in SOLD_STATUSES:
        return
    day = shop_day(paid_moment(order))
    yield from ((line, day) for line in {line.line_id: line for line in order.lines}.values())


def latest_order(order: OrderEvent, known: LatestOrder | None) -> LatestOrder | None:
    """The buyer's newest paid order after this event; None when nothing changes."""
    paid_at = paid_moment(order)
    if known is not None and (known.order_id == order.order_id or known.paid_at >= paid_at):
        return None
    return LatestOrder(
        shop_id=order.shop_id,
        buyer_id=order.buyer_id,
        order_id=order.order_id,
        product_ids=products_of(order.lines),
        paid_at=paid_at,
    )


def products_of(lines: Iterable[OrderLine | SoldLine]) -> tuple[str, ...]:
    """The different products of some lines, in order."""
    return tuple(dict.fromkeys(line.product_id for line in lines))
