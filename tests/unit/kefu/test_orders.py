"""Snapshots of orders: whole, in fen, and each newer than the one before."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.contracts import ShopOrder, ShopRefund, ShopReview
from kefu.replay import orders
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

NOW = datetime(2026, 3, 1, 2, 0, tzinfo=UTC)
NAMES = Names("r1")
PRICES = {"coat": ("外套", 39900), "cup": ("杯子", 4900)}


def _order(**changes: Any) -> orders.Snapshot:
    made = OrderMade(**({"id": "o1", "items": (Item(product="coat"),)} | changes))
    return orders.new_order(made, "demo", "li.r1", NAMES, PRICES, NOW)


def test_every_snapshot_of_a_life_keeps_the_contract_of_shop_orders() -> None:
    first = _order(postage_fen=600, region="浙江省杭州市")
    life = [first, orders.paid(first, NOW + timedelta(minutes=1))]
    shipment = Shipment(order="o1", tracking_no="ZT1")
    life.append(orders.shipped(life[-1], shipment, NOW + timedelta(minutes=2)))
    life.append(orders.signed(life[-1], NOW + timedelta(minutes=3)))
    life.append(orders.finished(life[-1], NOW + timedelta(minutes=4)))
    life.append(orders.closed(first, Cancellation(order="o1"), NOW + timedelta(minutes=5)))
    decoded = [msgspec.convert(one, ShopOrder) for one in life]
    assert [one.status for one in decoded] == [
        "unpaid", "paid", "shipped", "signed", "finished", "closed",
    ]  # fmt: skip
    assert [one.version for one in decoded] == [1, 2, 3, 4, 5, 2]
    assert decoded[3].parcels[0].status == "signed"
    assert decoded[1].closes_at is None


@given(
    st.lists(st.integers(1, 100_000), min_size=1, max_size=8),
    st.integers(0, 100),
)
def test_the_discount_is_shared_out_to_the_last_fen(prices: list[int], percent: int) -> None:
    items = tuple(Item(product=f"p{n}", title="x", price_fen=p) for n, p in enumerate(prices))
    discount = sum(prices) * percent // 100
    order = _order(items=items, discount_fen=discount)
    assert sum(line["paid_fen"] for line in order["lines"]) == sum(prices) - discount
    assert all(line["paid_fen"] >= 0 for line in order["lines"])
    assert order["total_fen"] == sum(prices) - discount


def test_a_discount_above_the_price_and_an_unknown_product_are_refused() -> None:
    with pytest.raises(ScriptError, match="discount"):
        _order(discount_fen=40_000)
    with pytest.raises(ScriptError, match="catalogue"):
        _order(items=(Item(product="unknown"),))


def test_an_order_of_the_past_is_told_once_and_lies_wholly_in_the_past() -> None:
    past = orders.past_of(_order(days_ago=3.0, status="finished"), "finished")
    order = msgspec.convert(past, ShopOrder)
    assert order.status == "finished"
    assert order.created_at == NOW - timedelta(days=3)
    assert order.paid_at is not None
    assert order.created_at < order.paid_at < order.modified_at < NOW


def test_a_refund_request_asks_for_what_was_paid_for_its_line() -> None:
    order = orders.paid(_order(items=(Item(product="coat"), Item(product="cup", quantity=2))), NOW)
    asked = PlatformRefund(id="f1", order="o1", item=2, reason="不想要了")
    request = msgspec.convert(orders.refund_request(order, asked, NAMES, NOW), ShopRefund)
    assert request.amount_fen == 9800
    assert request.line_id == "r1-o1-2"
    whole = orders.refund_request(
        order, PlatformRefund(id="f2", order="o1", reason="x"), NAMES, NOW
    )
    assert whole["amount_fen"] == order["paid_fen"]


def test_a_review_keeps_its_contract_and_may_be_of_the_past() -> None:
    said = Reviewed(id="v1", product="coat", order="o1", rating=2, text="起球", days_ago=2.0)
    written = msgspec.convert(orders.review(said, "demo", "li.r1", NAMES, NOW), ShopReview)
    assert written.created_at == NOW - timedelta(days=2)
    assert written.order_id == "r1-o1"
