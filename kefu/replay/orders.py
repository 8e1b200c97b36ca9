"""What the shop's system says about an order: snapshots, each the whole truth at its moment.

Pure: a snapshot and what happened give the next snapshot. Times are RFC 3339 in UTC, money fen.
"""

from datetime import datetime, timedelta
from typing import Any

from kefu.replay.names import Names
from kefu.replay.script import (
    Cancellation,
    Item,
    OrderMade,
    PlatformRefund,
    Reviewed,
    ScriptError,
    Shipment,
)

Snapshot = dict[str, Any]
Prices = dict[str, tuple[str, int]]
"""Product → (title, price in fen)."""

_PAST_STATUSES = ("paid", "signed", "finished")


def rfc3339(moment: datetime) -> str:
    """UTC with milliseconds."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def new_order(
    made: OrderMade, shop_id: str, buyer_id: str, names: Names, prices: Prices, now: datetime,
    *, time_scale: float = 1.0,
) -> Snapshot:  # fmt: skip
    """The first snapshot of an order: unpaid, made `days_ago`."""
    lines = [_line(made, n, item, names, prices) for n, item in enumerate(made.items, start=1)]
    goods_fen = sum(line["unit_price_fen"] * line["quantity"] for line in lines)
    if made.discount_fen > goods_fen:
        raise ScriptError(f"order {made.id}: the discount exceeds the price of the goods")
    _share_discount(lines, made.discount_fen)
    created_at = now - timedelta(days=made.days_ago)
    return {
        "shop_id": shop_id,
        "platform": made.platform,
        "order_id": names.order(made.id),
        "buyer_id": buyer_id,
        "status": "unpaid",
        "lines": lines,
        "goods_fen": goods_fen,
        "postage_fen": made.postage_fen,
        "discount_fen": made.discount_fen,
        "total_fen": goods_fen + made.postage_fen - made.discount_fen,
        "paid_fen": 0,
        "created_at": rfc3339(created_at),
        "closes_at": rfc3339(created_at + timedelta(seconds=made.closes_in * time_scale)),
        "modified_at": rfc3339(created_at),
        "version": 1,
    } | ({"region": made.region} if made.region else {})


def _line(made: OrderMade, n: int, item: Item, names: Names, prices: Prices) -> dict[str, Any]:
    title, price_fen = prices.get(item.product, (item.title, item.price_fen))
    title = item.title or title
    price_fen = price_fen if item.price_fen is None else item.price_fen
    if title is None or price_fen is None:
        raise ScriptError(
            f"order {made.id}: {item.product} is not in the catalogue; give title and price_fen"
        )
    line = {
        "line_id": f"{names.order(made.id)}-{n}",
        "product_id": item.product,
        "title": title,
        "quantity": item.quantity,
        "unit_price_fen": price_fen,
        "paid_fen": price_fen * item.quantity,
    }
    return line | ({"sku_id": item.sku} if item.sku else {})


def _share_discount(lines: list[dict[str, Any]], discount_fen: int) -> None:
    """Takes the discount off the lines in proportion; largest remainders get the odd fen."""
    total = sum(line["paid_fen"] for line in lines)
    if not discount_fen or not total:
        return
    parts = [divmod(line["paid_fen"] * discount_fen, total) for line in lines]
    odd = discount_fen - sum(share for share, _ in parts)
    by_remainder = sorted(range(len(lines)), key=lambda n: (-parts[n][1], n))
    for n, line in enumerate(lines):
        line["paid_fen"] -= parts[n][0] + (1 if n in by_remainder[:odd] else 0)


def past_of(first: Snapshot, status: str) -> Snapshot:
    """An order of the past as a shop system tells of it when it is first connected: once."""
    order, made = first, datetime.fromisoformat(first["created_at"])
    if status in _PAST_STATUSES:
        order = paid(order, made + timedelta(minutes=5))
    if status in ("signed", "finished"):
        order = signed(order, made + timedelta(hours=20))
    if status == "finished":
        order = finished(order, made + timedelta(hours=21))
    return order


def paid(order: Snapshot, now: datetime) -> Snapshot:
    """The buyer paid all of it."""
    return _next(order, now, status="paid", paid_fen=order["total_fen"], paid_at=rfc3339(now))


def shipped(order: Snapshot, shipment: Shipment, now: datetime) -> Snapshot:
    """The parcel was handed to the courier."""
    parcel = {
        "tracking_no": shipment.tracking_no, "courier": shipment.courier, "status": "in_transit",
    }  # fmt: skip
    parcels = [*order.get("parcels", ()), parcel]
    return _next(order, now, status="shipped", parcels=parcels, shipped_at=rfc3339(now))


def signed(order: Snapshot, now: datetime) -> Snapshot:
    """The buyer signed for all parcels."""
    parcels = [parcel | {"status": "signed"} for parcel in order.get("parcels", ())]
    return _next(order, now, status="signed", signed_at=rfc3339(now), parcels=parcels)


def finished(order: Snapshot, now: datetime) -> Snapshot:
    """The buyer confirmed: the money is the shop's."""
    return _next(order, now, status="finished", finished_at=rfc3339(now))


def closed(order: Snapshot, cancellation: Cancellation, now: datetime) -> Snapshot:
    """The order was given up."""
    reason = {"closed_at": rfc3339(now), "close_reason": cancellation.reason}
    return _next(order, now, status="closed", **reason)


def _next(order: Snapshot, now: datetime, **changes: Any) -> Snapshot:
    moved = order | {"version": order["version"] + 1, "modified_at": rfc3339(now)} | changes
    if changes["status"] != "unpaid":
        moved.pop("closes_at", None)
    return moved


def refund_request(
    order: Snapshot, asked: PlatformRefund, names: Names, now: datetime, *, time_scale: float = 1.0
) -> Snapshot:
    """A refund that the buyer asks for on the platform."""
    line = order["lines"][asked.item - 1] if asked.item else None
    whole = line["paid_fen"] if line else order["paid_fen"]
    request = {
        "shop_id": order["shop_id"],
        "platform": order["platform"],
        "refund_id": names.refund(asked.id),
        "order_id": order["order_id"],
        "buyer_id": order["buyer_id"],
        "kind": asked.kind,
        "phase": "aftersale" if order["status"] == "finished" else "onsale",
        "status": "wait_seller_agree",
        "refund_version": 1,
        "amount_fen": whole if asked.amount_fen is None else asked.amount_fen,
        "reason": asked.reason,
        "goods_received": asked.received,
        "created_at": rfc3339(now),
        "modified_at": rfc3339(now),
    }
    if asked.description:
        request["description"] = asked.description
    if line:
        request["line_id"] = line["line_id"]
    if asked.deadline_in is not None:
        deadline = now + timedelta(seconds=asked.deadline_in * time_scale)
        request["deadline_at"] = rfc3339(deadline)
    return request


def review(said: Reviewed, shop_id: str, buyer_id: str, names: Names, now: datetime) -> Snapshot:
    """A review as the platform publishes it."""
    written = {
        "shop_id": shop_id,
        "platform": "taobao",
        "review_id": names.review(said.id),
        "product_id": said.product,
        "buyer_id": buyer_id,
        "rating": said.rating,
        "text": said.text,
        "created_at": rfc3339(now - timedelta(days=said.days_ago)),
    }
    return written | ({"order_id": names.order(said.order)} if said.order else {})
