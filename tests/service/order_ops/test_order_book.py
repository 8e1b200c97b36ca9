"""OO1 over real events and the real API, on both databases."""

import asyncio
import random
from collections import Counter
from typing import Any

import pytest

from common.auth.principal import Role
from common.contracts import CaseClosed, CaseOpened, OrderCreated, OrderEvent, OrderPaid, ShopOrder
from tests.support.harness import idle, publish
from tests.support.order_examples import at, snapshot
from tests.support.order_shop import Shop, body_of

PAID: dict[str, Any] = {"paid_fen": 38500, "paid_at": at(minutes=5), "modified_at": at(minutes=5)}


async def post(shop: Shop, event: ShopOrder, **changes: Any) -> Any:
    return await shop.call(
        "POST", "/v1/orders", role=Role.SYSTEM, subject="erp", json=body_of(event, **changes)
    )


async def order_of(shop: Shop, order_id: str = "o1") -> dict[str, Any]:
    answer = await shop.call("GET", f"/v1/orders/{order_id}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_paid_before_created_ends_as_paid_with_each_event_once(shop: Shop) -> None:
    await shop.tell(snapshot("paid", **PAID))
    await shop.tell(snapshot(), snapshot(), snapshot("paid", **PAID))
    events = await shop.events("kefu.orders")
    assert [type(event) for event in events] == [OrderCreated, OrderPaid]
    assert [event.version for event in events] == [1, 2]
    assert {event.status for event in events} == {"paid"}
    assert (await order_of(shop))["status"] == "paid"


async def test_a_posted_snapshot_and_the_same_event_are_one_order(shop: Shop) -> None:
    answer = await post(shop, snapshot())
    assert answer.json()["changes"] == ["created", "unpaid"]
    await shop.tell(snapshot())
    again = await post(shop, snapshot())
    assert again.json() == answer.json() | {"changes": []}
    assert len(await shop.events("kefu.orders")) == 2


async def test_an_idempotency_key_answers_the_same_and_refuses_another_body(shop: Shop) -> None:
    key = {"Idempotency-Key": "order-1"}
    first = await shop.call(
        "POST", "/v1/orders", role=Role.SYSTEM, headers=key, json=body_of(snapshot())
    )
    second = await shop.call(
        "POST", "/v1/orders", role=Role.SYSTEM, headers=key, json=body_of(snapshot())
    )
    assert first.json() == second.json()
    other = await shop.call(
        "POST", "/v1/orders", role=Role.SYSTEM, headers=key, json=body_of(snapshot("paid"))
    )
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")


async def test_many_orders_shuffled_and_doubled_end_as_the_clean_sequence(shop: Shop) -> None:
    lives = [
        ("unpaid", {"modified_at": at()}),
        ("paid", PAID),
        ("shipped", PAID | {"shipped_at": at(hours=1), "modified_at": at(hours=1)}),
        ("signed", PAID | {"signed_at": at(days=2), "modified_at": at(days=2)}),
        ("finished", PAID | {"finished_at": at(days=9), "modified_at": at(days=9)}),
    ]
    events = [
        snapshot(status, order_id=f"o{n}", buyer_id=f"b{n % 7}", **fields)
        for n in range(40)
        for status, fields in lives
    ]
    generator = random.Random(7)
    events += generator.sample(events, 60)
    generator.shuffle(events)
    posted, told = events[::3], [event for n, event in enumerate(events) if n % 3]
    await asyncio.gather(publish(shop.service.bus, *told), *(post(shop, e) for e in posted))
    await idle(shop.service)
    seen: Counter[tuple[str, str]] = Counter()
    versions: dict[str, list[int]] = {}
    for event in await shop.events("kefu.orders"):
        assert isinstance(event, OrderEvent)
        seen[event.order_id, type(event).__name__] += 1
        versions.setdefault(event.order_id, []).append(event.version)
    for n in range(40):
        assert (await order_of(shop, f"o{n}"))["status"] == "finished"
        for name in ("Created", "Paid", "Shipped", "Signed", "Finished"):
            assert seen[f"o{n}", f"Order{name}"] == 1
        assert versions[f"o{n}"] == list(range(1, len(versions[f"o{n}"]) + 1))


async def test_a_late_payment_after_close_waits_for_a_person(shop: Shop) -> None:
    late = PAID | {"paid_at": at(days=2), "modified_at": at(days=2)}
    await shop.tell(
        snapshot(),
        snapshot("closed", closed_at=at(days=1), modified_at=at(days=1)),
        snapshot("paid", **late),
    )
    order = await order_of(shop)
    assert (order["status"], order["anomalies"]) == ("closed", ["late_payment"])
    listed = (await shop.call("GET", "/v1/orders", params={"needs_person": "true"})).json()
    assert [item["order_id"] for item in listed["items"]] == ["o1"]
    history = (await shop.call("GET", "/v1/orders/o1/history")).json()["items"]
    assert "anomaly.late_payment" in [entry["kind"] for entry in history]


async def test_a_newer_snapshot_that_goes_backwards_is_refused_and_a_stale_one_taken(
    shop: Shop,
) -> None:
    await post(shop, snapshot("paid", **PAID))
    backwards = await post(shop, snapshot(modified_at=at(hours=1)))
    assert (backwards.status_code, backwards.json()["code"]) == (409, "order_state_backwards")
    stale = await post(shop, snapshot())
    assert (stale.status_code, stale.json()["changes"]) == (200, [])
    await shop.tell(snapshot(modified_at=at(hours=1)))
    order = await order_of(shop)
    assert (order["status"], order["anomalies"]) == ("paid", ["state_backwards"])


async def test_the_order_id_of_another_buyer_is_refused(shop: Shop) -> None:
    await post(shop, snapshot())
    answer = await post(shop, snapshot("paid", buyer_id="b2", **PAID))
    assert (answer.status_code, answer.json()["code"]) == (409, "order_of_another")
    await shop.tell(snapshot("paid", buyer_id="b2", **PAID))
    order = await order_of(shop)
    assert (order["status"], order["anomalies"]) == ("unpaid", ["buyer_mismatch"])


@pytest.mark.parametrize(
    "changes",
    [
        {"total_fen": -1},
        {"paid_fen": 1.5},
        {"modified_at": "2026-03-02T10:00:00"},
        {"status": "lost"},
        {"flag": 6},
        {"lines": [{"line_id": "x"}]},
        {"order_id": ""},
        {"unknown": 1},
    ],
)
async def test_bad_snapshots_are_refused_and_nothing_is_written(
    shop: Shop, changes: dict[str, Any]
) -> None:
    answer = await post(shop, snapshot(), **changes)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")
    assert (await shop.call("GET", "/v1/orders")).json()["items"] == []


async def test_who_may_post_and_see_orders(shop: Shop) -> None:
    body = body_of(snapshot())
    assert (await shop.call("POST", "/v1/orders", json=body)).status_code == 403
    other = await shop.call("POST", "/v1/orders", role=Role.SYSTEM, shop_id="s2", json=body)
    assert (other.status_code, other.json()["code"]) == (403, "other_shop")
    await post(shop, snapshot(seller_memo="内部", flag=1))
    hidden = await shop.call("GET", "/v1/orders/o1", shop_id="s2")
    assert hidden.status_code == 404
    mine = await shop.call("GET", "/v1/orders/o1", role=Role.BUYER, subject="b1")
    assert (mine.json()["seller_memo"], mine.json()["flag"]) == (None, None)
    foreign = await shop.call("GET", "/v1/orders/o1", role=Role.BUYER, subject="b2")
    assert foreign.status_code == 404
    listed = await shop.call("GET", "/v1/orders", role=Role.BUYER, subject="b2")
    assert listed.json()["items"] == []
    asked = await shop.call(
        "GET", "/v1/orders", role=Role.BUYER, subject="b2", params={"buyer_id": "b1"}
    )
    assert asked.status_code == 403


async def test_pages_hold_every_order_once_newest_first(shop: Shop) -> None:
    await shop.tell(
        *(snapshot(order_id=f"o{n:02}", created_at=at(minutes=n // 2)) for n in range(11))
    )
    found: list[str] = []
    params = {"limit": "3"}
    while True:
        page = (await shop.call("GET", "/v1/orders", params=params)).json()
        found += [item["order_id"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        params["cursor"] = page["next_cursor"]
    assert found == [f"o{n:02}" for n in reversed(range(11))]


async def test_an_etag_changes_with_the_order(shop: Shop) -> None:
    await shop.tell(snapshot())
    first = await shop.call("GET", "/v1/orders/o1")
    same = await shop.call("GET", "/v1/orders/o1", headers={"If-None-Match": first.headers["ETag"]})
    assert same.status_code == 304
    await shop.tell(snapshot("paid", **PAID))
    changed = await shop.call(
        "GET", "/v1/orders/o1", headers={"If-None-Match": first.headers["ETag"]}
    )
    assert changed.status_code == 200


def case(event_class: type[Any], **fields: Any) -> Any:
    known: dict[str, Any] = {
        "shop_id": "s1",
        "case_id": "k1",
        "order_id": "o1",
        "buyer_id": "b1",
        "kind": "refund_only",
        "state": "wait_seller_agree",
        "phase": "onsale",
        "amount_fen": 100,
        "reason": "质量问题",
        "version": 1,
        "actor": "b1",
        "actor_role": "buyer",
        "occurred_at": at(hours=1),
    }
    return event_class(**(known | fields))


async def test_an_open_case_shows_on_the_order_even_if_it_came_first(shop: Shop) -> None:
    await shop.tell(case(CaseOpened))
    await shop.tell(snapshot("paid", **PAID))
    assert (await order_of(shop))["refund_open"] is True
    await shop.tell(case(CaseClosed, state="closed", version=2), case(CaseOpened))
    assert (await order_of(shop))["refund_open"] is False
    last = (await shop.events("kefu.orders"))[-1]
    assert (type(last).__name__, last.refund_open) == ("OrderChanged", False)
