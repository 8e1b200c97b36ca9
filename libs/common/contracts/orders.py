"""The order book, as order_ops publishes it.

All order events carry the same snapshot, so a reader needs only the newest one per order; the
name says what changed. `version` rises by one with every accepted change of the order.
"""

from typing import Annotated, Any

from msgspec import Meta

from .base import Event, Party, contract
from .vocabulary import (
    Fen,
    Flag,
    Id,
    Lines,
    Note,
    OrderStatus,
    Parcels,
    Platform,
    Sequence,
    StepStatus,
    Time,
    Title,
)

_READERS: tuple[Party, ...] = ("chat_router", "aftersales", "feedback")
_LINE = {
    "line_id": "260100001-1",
    "product_id": "coat-001",
    "sku_id": "coat-001-xl-navy",
    "title": "轻薄羽绒外套 藏青 XL",
    "quantity": 1,
    "unit_price_fen": 39900,
    "paid_fen": 37900,
}


def _example(status: str, **fields: Any) -> dict[str, Any]:
    return {
        "shop_id": "demo",
        "platform": "taobao",
        "order_id": "260100001",
        "buyer_id": "tb_lihua88",
        "status": status,
        "total_fen": 38500,
        "postage_fen": 600,
        "lines": [_LINE],
        "created_at": "2025-06-01T02:20:00Z",
    } | fields


_PAID = {"paid_fen": 38500, "paid_at": "2025-06-01T02:24:10Z"}
_PARCEL = {"tracking_no": "SF1400000001", "courier": "SF", "status": "in_transit"}


class OrderEvent(Event, frozen=True, kw_only=True, omit_defaults=True):
    """An order as the order book now has it.

    `occurred_at` is when the platform says the change happened. `closes_at` is set while the
    order is unpaid. `previous_status` is None for an order seen for the first time.
    """

    platform: Platform
    order_id: Id
    buyer_id: Id
    status: OrderStatus
    previous_status: OrderStatus | None = None
    step_status: StepStatus = "none"
    version: Sequence
    total_fen: Fen
    paid_fen: Fen
    postage_fen: Fen
    lines: Lines
    occurred_at: Time
    created_at: Time
    paid_at: Time | None = None
    signed_at: Time | None = None
    closes_at: Time | None = None
    close_reason: Title | None = None
    parcels: Parcels = ()
    refund_open: bool = False
    region: Annotated[str, Meta(max_length=200)] | None = None
    memo: Note | None = None
    flag: Flag | None = None


@contract(
    name="order.created",
    topic="kefu.orders",
    producers=("order_ops",),
    consumers=("chat_router", "aftersales"),
    summary="An order was seen for the first time, in whatever status.",
    examples=[
        _example(
            "unpaid",
            version=1,
            paid_fen=0,
            occurred_at="2025-06-01T02:20:00Z",
            closes_at="2025-06-02T02:20:00Z",
        )
    ],
)
class OrderCreated(OrderEvent, frozen=True, kw_only=True, omit_defaults=True):
    """Always the first event of an order; its present status follows as an event of its own."""


@contract(
    name="order.unpaid",
    topic="kefu.orders",
    producers=("order_ops",),
    consumers=("chat_router", "aftersales"),
    summary="An order waits for payment.",
    examples=[
        _example(
            "unpaid",
            version=2,
            paid_fen=0,
            occurred_at="2025-06-01T02:20:00Z",
            closes_at="2025-06-02T02:20:00Z",
        )
    ],
)
class OrderUnpaid(OrderEvent, frozen=True, kw_only=True, omit_defaults=True):
    """Reminders count from `created_at` and end at `closes_at`."""


@contract(
    name="order.paid",
    topic="kefu.orders",
    producers=("order_ops",),
    consumers=_READERS,
    summary="An order was paid in full.",
    examples=[
        _example(
            "paid",
            previous_status="unpaid",
            version=3,
            occurred_at="2025-06-01T02:24:10Z",
            **_PAID,
        )
    ],
)
class OrderPaid(OrderEvent, frozen=True, kw_only=True, omit_defaults=True):
    """Every reminder for the order stops here."""


@contract(
    name="order.changed",
    topic="kefu.orders",
    producers=("order_ops",),
    consumers=_READERS,
    summary="Something other than the status changed: price, memo, flag, parcels, refund.",
    examples=[
        _example(
            "paid",
            previous_status="paid",
            version=4,
            occurred_at="2025-06-01T03:00:00Z",
            memo="送礼,请附贺卡",
            flag=1,
            **_PAID,
        )
    ],
)
class OrderChanged(OrderEvent, frozen=True, kw_only=True, omit_defaults=True):
    """Also a deposit paid on a step order (`step_status`)."""


@contract(
    name="order.shipped",
    topic="kefu.orders",
    producers=("order_ops",),
    consumers=_READERS,
    summary="An order was shipped, or a part of it (status partly_shipped).",
    examples=[
        _example(
            "shipped",
            previous_status="paid",
            version=5,
            occurred_at="2025-06-01T10:02:00Z",
            parcels=[_PARCEL],
            **_PAID,
        )
    ],
)
class OrderShipped(OrderEvent, frozen=True, kw_only=True, omit_defaults=True):
    """`parcels` has every parcel known so far."""


@contract(
    name="order.signed",
    topic="kefu.orders",
    producers=("order_ops",),
    consumers=_READERS,
    summary="The buyer signed for the goods.",
    examples=[
        _example(
            "signed",
            previous_status="shipped",
            version=6,
            occurred_at="2025-06-03T04:00:00Z",
            signed_at="2025-06-03T04:00:00Z",
            parcels=[_PARCEL | {"status": "signed"}],
            **_PAID,
        )
    ],
)
class OrderSigned(OrderEvent, frozen=True, kw_only=True, omit_defaults=True):
    """The seven-day window counts from the local day after `signed_at`."""


@contract(
    name="order.finished",
    topic="kefu.orders",
    producers=("order_ops",),
    consumers=_READERS,
    summary="The trade succeeded: the money is the shop's.",
    examples=[
        _example(
            "finished",
            previous_status="signed",
            version=7,
            occurred_at="2025-06-10T04:00:00Z",
            signed_at="2025-06-03T04:00:00Z",
            **_PAID,
        )
    ],
)
class OrderFinished(OrderEvent, frozen=True, kw_only=True, omit_defaults=True):
    """A terminal state; refunds from here on are after-sale."""


@contract(
    name="order.closed",
    topic="kefu.orders",
    producers=("order_ops",),
    consumers=("chat_router", "aftersales"),
    summary="An order was closed: unpaid too long, cancelled, or refunded in full.",
    examples=[
        _example(
            "closed",
            previous_status="unpaid",
            version=3,
            paid_fen=0,
            occurred_at="2025-06-02T02:20:00Z",
            close_reason="超时未付款",
        )
    ],
)
class OrderClosed(OrderEvent, frozen=True, kw_only=True, omit_defaults=True):
    """A terminal state. Never ship it."""
