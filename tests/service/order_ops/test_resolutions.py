"""A person sees to an order that waited for one, over the real API and on both databases."""

import asyncio
from typing import Any

import pytest

from common.auth.principal import Role
from common.contracts import CommandRequested, CommandSucceeded
from common.errors import PreconditionFailed
from common.web.etags import ExpectedVersion
from order_ops.bookkeeping import RecordOrder
from order_ops.resolutions import OrderResolved, ResolveOrder
from tests.support.order_examples import at, snapshot
from tests.support.order_shop import Shop

PAID: dict[str, Any] = {"paid_fen": 38500, "paid_at": at(minutes=5), "modified_at": at(minutes=5)}


async def etag_of(shop: Shop) -> str:
    tag: str = (await shop.call("GET", "/v1/orders/o1")).headers["ETag"]
    return tag


async def resolve(
    shop: Shop, note: str | None = None, *, match: str | None = None, **rest: Any
) -> Any:
    headers = {"If-Match": match or await etag_of(shop)} | rest.pop("headers", {})
    path = f"/v1/orders/{rest.pop('order_id', 'o1')}/resolutions"
    return await shop.call("POST", path, json={"note": note}, headers=headers, **rest)


async def waiting(shop: Shop) -> list[str]:
    listed = await shop.call("GET", "/v1/orders", params={"needs_person": "true"})
    return [item["order_id"] for item in listed.json()["items"]]


async def history(shop: Shop, kind: str) -> list[dict[str, Any]]:
    found = (await shop.call("GET", "/v1/orders/o1/history")).json()["items"]
    return [entry for entry in found if entry["kind"] == kind]


async def backwards(shop: Shop, minute: int) -> None:
    """The platform says once more that a paid order is unpaid."""
    await shop.tell(snapshot(modified_at=at(minutes=minute)))


@pytest.fixture
async def contradicted(shop: Shop) -> Shop:
    """A shop whose one order was paid and then unpaid."""
    await shop.tell(snapshot("paid", **PAID))
    await backwards(shop, 10)
    assert await waiting(shop) == ["o1"]
    return shop


async def test_what_a_person_has_seen_to_leaves_the_list_and_stands_in_the_history(
    contradicted: Shop,
) -> None:
    shop = contradicted
    told = len(await shop.events("kefu.orders"))
    answer = await resolve(shop, "已与平台\n核实", subject="ahmei")
    assert answer.status_code == 201, answer.text
    assert answer.json() == {
        "order_id": "o1",
        "resolved_by": "ahmei",
        "resolved_at": at().isoformat().replace("+00:00", "Z"),
        "note": "已与平台 核实",
    }
    assert await waiting(shop) == []
    order = (await shop.call("GET", "/v1/orders/o1")).json()
    assert (order["needs_person"], order["anomalies"]) == (False, ["state_backwards"])
    (entry,) = await history(shop, "resolved")
    assert (entry["actor"], entry["note"], entry["status"]) == ("ahmei", "已与平台 核实", "paid")
    # That an order waits stands in no event, so nothing is told of it.
    assert len(await shop.events("kefu.orders")) == told


async def test_an_anomaly_that_only_stands_is_not_raised_again_and_one_that_recurs_is(
    contradicted: Shop,
) -> None:
    shop = contradicted
    await resolve(shop)
    await backwards(shop, 11)
    assert await waiting(shop) == []
    await shop.tell(snapshot("paid", **PAID | {"modified_at": at(minutes=12)}))
    assert await waiting(shop) == []
    await backwards(shop, 13)
    assert await waiting(shop) == ["o1"]
    assert len(await history(shop, "anomaly.state_backwards")) == 2


async def test_another_anomaly_makes_the_order_wait_again(contradicted: Shop) -> None:
    await resolve(contradicted)
    await contradicted.tell(snapshot(buyer_id="b2"))
    assert await waiting(contradicted) == ["o1"]
    await contradicted.tell(snapshot(buyer_id="b2"))
    assert len(await history(contradicted, "anomaly.buyer_mismatch")) == 1
    await resolve(contradicted)
    await contradicted.tell(snapshot(buyer_id="b3"))
    assert await waiting(contradicted) == ["o1"]
    assert len(await history(contradicted, "anomaly.buyer_mismatch")) == 2


async def lose_a_memo(shop: Shop, minute: int) -> None:
    """A memo is written, overwritten, written again and overwritten again."""
    await shop.call("POST", "/v1/orders/o1/memos", json={"text": f"送礼{minute}"})
    for n in range(2):
        events = await shop.events("kefu.commands")
        command = [event for event in events if isinstance(event, CommandRequested)][-1]
        done = CommandSucceeded(
            shop_id=command.shop_id,
            command_id=command.command_id,
            action=command.action,
            target_id=command.target_id,
            requested_service="order_ops",
            at=command.requested_at,
        )
        await shop.tell(done)
        await shop.tell(snapshot(seller_memo="覆盖", modified_at=at(minutes=minute + n)))


async def test_a_memo_lost_again_makes_the_order_wait_again(shop: Shop) -> None:
    await shop.tell(snapshot())
    await lose_a_memo(shop, 1)
    assert await waiting(shop) == ["o1"]
    assert (await resolve(shop)).status_code == 201
    assert await waiting(shop) == []
    await lose_a_memo(shop, 5)
    assert await waiting(shop) == ["o1"]
    assert len(await history(shop, "memo.conflict")) == 2


async def test_what_came_up_after_the_look_is_not_taken_for_seen(contradicted: Shop) -> None:
    shop = contradicted
    looked = await etag_of(shop)
    await shop.tell(snapshot(buyer_id="b2"))
    late = await resolve(shop, match=looked)
    assert (late.status_code, late.json()["code"]) == (412, "precondition_failed")
    assert late.headers["ETag"] == await etag_of(shop)
    assert await waiting(shop) == ["o1"]


async def test_what_comes_up_in_the_same_batch_is_not_taken_for_seen(contradicted: Shop) -> None:
    shop = contradicted
    seen = ExpectedVersion(frozenset({int((await etag_of(shop)).strip('"'))}))
    look = ResolveOrder(shop_id="s1", order_id="o1", note="", actor="a", expected=seen)
    assert isinstance(await shop.service.submit(look), OrderResolved)
    seen = ExpectedVersion(frozenset({int((await etag_of(shop)).strip('"'))}))
    closed = snapshot("closed", closed_at=at(minutes=1), **PAID | {"modified_at": at(hours=1)})
    late = RecordOrder(snapshot=closed)
    look = ResolveOrder(shop_id="s1", order_id="o1", note="", actor="a", expected=seen)
    outcomes: tuple[Any, ...] = await asyncio.gather(
        shop.service.submit(late), shop.service.submit(look), return_exceptions=True
    )
    assert isinstance(outcomes[1], PreconditionFailed)
    assert await waiting(shop) == ["o1"]


async def test_a_repeated_resolution_is_one(contradicted: Shop) -> None:
    shop = contradicted
    key = {"Idempotency-Key": "seen-1"}
    match = await etag_of(shop)
    first = await resolve(shop, "好", match=match, headers=key)
    second = await resolve(shop, "好", match=match, headers=key)
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json() == second.json()
    again = await resolve(shop, "好")
    assert (again.status_code, again.json()["code"]) == (409, "order_not_waiting")
    assert len(await history(shop, "resolved")) == 1


@pytest.mark.parametrize("match, refusal", [(None, 412), ("*", 409)])
async def test_of_many_who_see_to_one_order_at_once_one_has(
    contradicted: Shop, match: str | None, refusal: int
) -> None:
    shop = contradicted
    named = match or await etag_of(shop)
    answers = await asyncio.gather(
        *(resolve(shop, match=named, subject=f"a{n}") for n in range(12))
    )
    assert sorted(answer.status_code for answer in answers) == [201] + [refusal] * 11
    assert len(await history(shop, "resolved")) == 1


async def test_an_order_that_waits_for_nobody_cannot_be_seen_to(shop: Shop) -> None:
    await shop.tell(snapshot())
    answer = await resolve(shop)
    assert (answer.status_code, answer.json()["code"]) == (409, "order_not_waiting")
    assert await history(shop, "resolved") == []


async def test_who_may_see_to_an_order(contradicted: Shop) -> None:
    shop = contradicted
    for role, subject in ((Role.BUYER, "b1"), (Role.SYSTEM, "erp"), (Role.OPERATIONS, "ops")):
        refused = await resolve(shop, role=role, subject=subject)
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    assert (await resolve(shop, match="*", shop_id="s2")).status_code == 404
    assert (await resolve(shop, match="*", order_id="o9")).status_code == 404
    assert await waiting(shop) == ["o1"]
    assert (await resolve(shop, role=Role.SUPERVISOR)).status_code == 201


async def test_a_resolution_names_its_version_and_key_and_bounds_its_note(
    contradicted: Shop,
) -> None:
    shop = contradicted
    path = "/v1/orders/o1/resolutions"
    unnamed = await shop.call("POST", path, json={})
    assert (unnamed.status_code, unnamed.json()["code"]) == (428, "precondition_required")
    keyless = await resolve(shop, headers={"Idempotency-Key": ""})
    assert (keyless.status_code, keyless.json()["code"]) == (400, "idempotency_key_missing")
    for note in ("", "长" * 501, "a\x00b"):
        refused = await resolve(shop, note)
        assert (refused.status_code, refused.json()["code"]) == (422, "invalid_input")
    assert await waiting(shop) == ["o1"]
    assert (await resolve(shop, "长" * 500)).status_code == 201


async def test_buyers_are_told_nothing_of_it(contradicted: Shop) -> None:
    await resolve(contradicted, "内部")
    seen = await contradicted.call("GET", "/v1/orders/o1", role=Role.BUYER, subject="b1")
    assert (seen.json()["needs_person"], seen.json()["anomalies"]) == (False, [])
    history = "/v1/orders/o1/history"
    refused = await contradicted.call("GET", history, role=Role.BUYER, subject="b1")
    assert refused.status_code == 403
