"""The HTTP edge: roles, versions, repeats, pages, and every documented refusal."""

from typing import Any

import msgspec
import pytest

from aftersales.policies import MOST_OWN
from common.ids import new_id

from .conftest import Shop

AGREE = {"amount_fen": 10_000, "refund_version": 1}


async def one_case(shop: Shop, **refund: Any) -> str:
    await shop.tell(shop.order(), shop.refund(**refund))
    return f"/v1/cases/{(await shop.case())['case_id']}"


def snapshot(shop: Shop, **other: Any) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.to_builtins(shop.refund(**other))
    return fields


@pytest.mark.parametrize(
    "action, body, refused, allowed",
    [
        ("agreements", AGREE, ["buyer", "operations"], "agent"),
        ("refusals", {"reason": "无质量问题"}, ["buyer", "agent", "operations"], "senior_agent"),
        ("receipts", {"intact": True}, ["buyer", "operations"], None),
        ("withdrawals", {}, ["agent", "supervisor", "system"], None),
    ],
)
async def test_each_action_has_its_roles(
    shop: Shop, action: str, body: dict[str, Any], refused: list[str], allowed: str | None
) -> None:
    path = await one_case(shop)
    for role in refused:
        answer = await shop.post(f"{path}/{action}", body, role, subject="b1")
        assert answer.status_code == 403, (role, answer.text)
        assert answer.json()["code"] == "forbidden"
    if allowed:
        assert (await shop.post(f"{path}/{action}", body, allowed)).status_code == 200


async def test_a_buyer_sees_own_cases_only(shop: Shop) -> None:
    path = await one_case(shop)
    for subject, status in (("b1", 200), ("b2", 404)):
        assert (await shop.get(path, "buyer", subject)).status_code == status
        assert (await shop.get(f"{path}/history", "buyer", subject)).status_code == status
    own = (await shop.get("/v1/cases", "buyer", "b1")).json()["items"]
    others = (await shop.get("/v1/cases", "buyer", "b2")).json()["items"]
    assert (len(own), others) == (1, [])
    peeking = await shop.get("/v1/cases", "buyer", "b2", params={"buyer_id": "b1"})
    assert peeking.status_code == 403


async def test_another_shops_token_finds_nothing(shop: Shop) -> None:
    path = await one_case(shop)
    assert (await shop.get(path, shop="other")).status_code == 404
    assert (await shop.post(f"{path}/agreements", AGREE, shop="other")).status_code == 404
    assert (await shop.get("/v1/cases", shop="other")).json()["items"] == []
    taken = await shop.post("/v1/refunds", snapshot(shop), "system", shop="other")
    assert (taken.status_code, taken.json()["code"]) == (403, "other_shop")


async def test_a_repeated_key_answers_the_same_and_pays_once(shop: Shop) -> None:
    path = await one_case(shop)
    key = new_id()
    first = await shop.post(f"{path}/agreements", AGREE, key=key)
    again = await shop.post(f"{path}/agreements", AGREE, key=key)
    assert (first.status_code, again.status_code) == (200, 200)
    assert first.json() == again.json()
    other = await shop.post(f"{path}/agreements", AGREE | {"reason": "再次"}, key=key)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")
    assert await shop.carry_out() == 1


async def test_answers_name_the_version_they_saw(shop: Shop) -> None:
    path = await one_case(shop)
    seen = await shop.get(path)
    assert seen.headers["ETag"] == '"1"'
    fresh = await shop.get(path, headers={"If-None-Match": '"1"'})
    assert fresh.status_code == 304
    missing = await shop.post(f"{path}/agreements", AGREE, match=None)
    assert (missing.status_code, missing.json()["code"]) == (428, "precondition_required")
    stale = await shop.post(f"{path}/agreements", AGREE, match='"9"')
    assert (stale.status_code, stale.json()["code"]) == (412, "precondition_failed")
    assert stale.headers["ETag"] == '"1"'


async def test_a_stale_refund_version_or_amount_is_a_conflict(shop: Shop) -> None:
    path = await one_case(shop)
    for stale in ({"refund_version": 0}, {"amount_fen": 9_999}):
        answer = await shop.post(f"{path}/agreements", AGREE | stale)
        assert (answer.status_code, answer.json()["code"]) == (409, "stale_refund")
        assert answer.json()["refund_version"] == 1


@pytest.mark.parametrize(
    "action, body",
    [
        ("agreements", {"amount_fen": -1, "refund_version": 1}),
        ("agreements", {"amount_fen": "10000", "refund_version": 1}),
        ("agreements", AGREE | {"unknown": 1}),
        ("refusals", {"reason": "不"}),
        ("refusals", {"reason": "不" * 201}),
        ("refusals", {"reason": "不同意", "proof_url": "javascript:alert(1)"}),
        ("returns", {"tracking_no": ""}),
        ("receipts", {}),
    ],
)
async def test_input_that_breaks_the_rules_is_refused(
    shop: Shop, action: str, body: dict[str, Any]
) -> None:
    path = await one_case(shop)
    answer = await shop.post(f"{path}/{action}", body, "admin")
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")


async def test_an_action_out_of_turn_says_what_may_be_done(shop: Shop) -> None:
    path = await one_case(shop)
    answer = await shop.post(f"{path}/returns", {"tracking_no": "SF1"})
    assert (answer.status_code, answer.json()["code"]) == (409, "action_not_allowed")
    assert answer.json()["allowed"] == ["refund"]


async def test_a_snapshot_over_http_is_the_same_as_on_the_bus(shop: Shop) -> None:
    await shop.tell(shop.order())
    taken = await shop.post("/v1/refunds", snapshot(shop), "system")
    assert taken.status_code == 200, taken.text
    await shop.tell(shop.refund())
    late = await shop.post("/v1/refunds", snapshot(shop, refund_version=0, amount_fen=1), "system")
    assert late.json()["case_id"] == taken.json()["case_id"]
    assert late.json()["version"] == 1
    other = await shop.post("/v1/refunds", snapshot(shop, order_id="o2"), "system")
    assert (other.status_code, other.json()["code"]) == (409, "refund_of_other_order")
    assert (await shop.post("/v1/refunds", snapshot(shop), "agent")).status_code == 403
    naive = snapshot(shop) | {"modified_at": "2026-03-02T10:00:00"}
    assert (await shop.post("/v1/refunds", naive, "system")).status_code == 422


async def test_a_case_can_be_entered_by_the_buyer_and_by_staff(shop: Shop) -> None:
    await shop.tell(shop.order(), shop.order("o2", buyer_id="b2"))
    body = {"order_id": "o1", "line_id": "l1", "kind": "refund_only", "reason": "不想要了"}
    opened = await shop.post("/v1/cases", body, "buyer", "b1")
    assert opened.status_code == 201, opened.text
    path = opened.headers["Location"]
    assert (await shop.get(path, "buyer", "b1")).json()["amount_fen"] == 10_000
    again = await shop.post("/v1/cases", body)
    assert (again.status_code, again.json()["code"]) == (409, "case_already_open")
    foreign = await shop.post("/v1/cases", body | {"order_id": "o2"}, "buyer", "b1")
    assert foreign.status_code == 404
    too_much = await shop.post("/v1/cases", body | {"order_id": "o2", "amount_fen": 10_001})
    assert (too_much.status_code, too_much.json()["code"]) == (409, "over_paid")
    withdrawn = await shop.post(f"{path}/withdrawals", {"reason": "又想要了"}, "buyer", "b1")
    assert (withdrawn.json()["state"], withdrawn.json()["outcome"]) == ("closed", "withdrawn")


async def test_lists_are_paged_newest_first_and_narrowed(shop: Shop) -> None:
    await shop.tell(*[shop.refund(f"rf{n}", order_id=f"o{n}") for n in range(5)])
    seen: list[str] = []
    cursor: str | None = None
    while True:
        page = await shop.get(
            "/v1/cases", params={"limit": 2, **({"cursor": cursor} if cursor else {})}
        )
        seen += [item["case_id"] for item in page.json()["items"]]
        cursor = page.json()["next_cursor"]
        if cursor is None:
            break
    assert len(seen) == len(set(seen)) == 5
    assert seen == sorted(seen, reverse=True)
    assert len(await shop.cases(order_id="o3")) == 1
    assert len(await shop.cases(buyer_id="b1", state="wait_seller_agree")) == 5
    deadline = (await shop.cases(order_id="o3"))[0]["deadline_at"]
    assert await shop.cases(deadline_before=deadline) == []
    assert len(await shop.cases(deadline_before="2027-01-01T00:00:00Z")) == 5


async def test_the_history_of_a_case_is_paged_oldest_first(shop: Shop) -> None:
    """However often the buyer altered the request."""
    path = await one_case(shop)
    await shop.tell(
        *[shop.refund(amount_fen=1_000 + n, refund_version=2 + n, minute=2 + n) for n in range(60)]
    )
    seen: list[int] = []
    params: dict[str, Any] = {}
    while True:
        page = (await shop.get(f"{path}/history", params=params)).json()
        assert len(page["items"]) <= 50
        seen += [entry["version"] for entry in page["items"]]
        if page["next_cursor"] is None:
            break
        params = {"cursor": page["next_cursor"]}
    assert seen == list(range(1, 62))
    wrong = await shop.get(f"{path}/history", params={"cursor": "WyJ4Il0"})
    assert (wrong.status_code, wrong.json()["code"]) == (400, "invalid_cursor")


async def test_a_supervisor_sets_the_shops_own_deadlines(shop: Shop) -> None:
    path = "/v1/deadline_policies"
    assert (await shop.get(path, "agent")).status_code == 403
    before = await shop.get(path, "supervisor")
    assert before.headers["ETag"] == '"0"'
    assert {item["number"] for item in before.json()["items"]} == {0}
    rule = {"state": "wait_seller_agree", "kind": "refund_only", "seconds": 3600,
            "action": "auto_refund"}  # fmt: skip
    assert (await shop.put(path, {"policies": [rule]}, "agent", '"0"')).status_code == 403
    assert (await shop.put(path, {"policies": [rule]}, match=None)).status_code == 428
    put = await shop.put(path, {"policies": [rule]}, match='"0"')
    assert (put.status_code, put.json()["items"][0]["number"]) == (200, 1)
    assert (await shop.put(path, {"policies": [rule]}, match='"0"')).status_code == 412
    impossible = rule | {"action": "auto_agree", "state": "seller_refuse_buyer"}
    wrong = await shop.put(path, {"policies": [impossible]})
    assert (wrong.status_code, wrong.json()["code"]) == (422, "policy_not_possible")
    await shop.tell(shop.order(), shop.refund())
    case = await shop.case()
    assert case["deadline_at"] == "2026-03-02T03:00:00Z"


async def test_one_rule_more_than_a_shop_may_have_is_refused_until_old_ones_made_room(
    shop: Shop,
) -> None:
    path = "/v1/deadline_policies"
    rule = {"state": "wait_seller_agree", "seconds": 3600, "action": "auto_agree"}
    for _ in range(MOST_OWN // 50):
        assert (await shop.put(path, {"policies": [rule] * 50})).status_code == 200
    refused = await shop.put(path, {"policies": [rule]})
    assert (refused.status_code, refused.json()["code"]) == (409, "too_many_policies")
    assert refused.json()["most"] == MOST_OWN

    shop.clock.advance(days=401)
    put = await shop.put(path, {"policies": [rule]}, match=f'"{MOST_OWN}"')
    assert (put.status_code, put.headers["ETag"]) == (200, f'"{MOST_OWN + 1}"')
    listed = (await shop.get(path, "supervisor")).json()
    own = [item["number"] for item in listed["items"] if item["number"]]
    assert (listed["version"], own) == (MOST_OWN + 1, [MOST_OWN + 1, MOST_OWN])


async def test_the_document_describes_every_operation(shop: Shop) -> None:
    document = (await shop.http.get("/openapi.json")).json()
    assert set(document["paths"]) >= {
        "/v1/cases",
        "/v1/cases/{case_id}",
        "/v1/cases/{case_id}/history",
        "/v1/cases/{case_id}/agreements",
        "/v1/cases/{case_id}/refusals",
        "/v1/cases/{case_id}/returns",
        "/v1/cases/{case_id}/receipts",
        "/v1/cases/{case_id}/withdrawals",
        "/v1/refunds",
        "/v1/deadline_policies",
    }
