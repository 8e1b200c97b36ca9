"""Orders, snapshots and policies for the tests of order_ops."""

from datetime import UTC, datetime, timedelta
from typing import Any

from common.contracts import OrderLine, ShopOrder
from order_ops.merging import merge
from order_ops.orders import Order
from order_ops.reminder_policies import ReminderPolicy, default_policy
from order_ops.reminders import BuyerSituation

# 10:00 in the shop's time zone.
TEN = datetime(2026, 3, 2, 2, 0, tzinfo=UTC)


def at(**offset: float) -> datetime:
    """A moment after ten in the morning, shop time."""
    return TEN + timedelta(**offset)


def line(product_id: str = "coat-001", paid_fen: int = 37900) -> OrderLine:
    return OrderLine(
        line_id=f"{product_id}-1",
        product_id=product_id,
        title="轻薄羽绒外套",
        quantity=1,
        unit_price_fen=39900,
        paid_fen=paid_fen,
    )


def snapshot(status: str = "unpaid", **fields: Any) -> ShopOrder:
    """A snapshot of an order made at ten that closes a day later."""
    known: dict[str, Any] = {
        "shop_id": "s1",
        "platform": "taobao",
        "order_id": "o1",
        "buyer_id": "b1",
        "status": status,
        "lines": (line(),),
        "goods_fen": 39900,
        "postage_fen": 600,
        "discount_fen": 2000,
        "total_fen": 38500,
        "paid_fen": 0,
        "created_at": TEN,
        "closes_at": at(days=1),
        "modified_at": TEN,
    }
    return ShopOrder(**(known | fields))


def order(status: str = "unpaid", **fields: Any) -> Order:
    return merge(None, snapshot(status, **fields))[0]


def policy(**fields: Any) -> ReminderPolicy:
    """The default policy without a holdout group."""
    found = default_policy("s1")
    found.holdout_basis_points = 0
    for name, value in fields.items():
        setattr(found, name, value)
    return found


def situation(**fields: Any) -> BuyerSituation:
    known: dict[str, Any] = {
        "blocked": False,
        "live_chat": False,
        "purchases": (),
        "unpaid_order_ids": frozenset({"o1"}),
    }
    return BuyerSituation(**(known | fields))
