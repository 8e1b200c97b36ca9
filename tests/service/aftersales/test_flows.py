"""Cases from edge to edge: events in, answers over HTTP, events out, on both databases."""

import asyncio

import pytest

from common.contracts import (
    CaseChanged,
    CaseClosed,
    CaseOpened,
    CommandFailed,
    CommandRequested,
)
from tests.support.harness import publish

from .conftest import Shop


async def test_a_return_asked_for_in_a_chat_ends_refunded(shop: Shop) -> None:
    await shop.tell(shop.order())
    await shop.tell(shop.request())
    case = await shop.case()
    path = f"/v1/cases/{case['case_id']}"
    agreed = await shop.post(
        f"{path}/agreements", {"amount_fen": 10_000, "refund_version": 0}, match='"1"'
    )
    assert agreed.status_code == 200, agreed.text
    assert agreed.json()["state"] == "wait_buyer_return_goods"
    sent = await shop.post(f"{path}/returns", {"tracking_no": "SF1"}, "buyer", "b1", match='"2"')
    assert sent.json()["state"] == "wait_seller_confirm_goods"
    received = await shop.post(f"{path}/receipts", {"intact": True}, match='"3"')
    assert received.json()["state"] == "refunding"
    assert received.headers["ETag"] == '"5"'
    assert await shop.carry_out() == 1
    done = (await shop.get(path)).json()
    assert (done["state"], done["refunded_fen"], done["outcome"]) == ("success", 10_000, "refunded")
    history = (await shop.get(f"{path}/history")).json()["items"]
    assert [(entry["action"], entry["actor"]) for entry in history] == [
        ("open", "b1"),
        ("agree_return", "agent"),
        ("ship_return", "b1"),
        ("receive", "agent"),
        ("refund", "agent"),
        ("refunded", "platform"),
    ]
    assert len(await shop.events(CaseOpened)) == 1
    assert [event.version for event in await shop.events(CaseChanged)] == [2, 3, 4, 5]
    (closed,) = await shop.events(CaseClosed)
    assert (closed.version, closed.product_id, closed.conversation_id) == (6, "coat", "c1")


async def test_a_platform_refund_that_fails_comes_back_with_its_reason(shop: Shop) -> None:
    await shop.tell(shop.order(), shop.refund())
    case = await shop.case()
    path = f"/v1/cases/{case['case_id']}"
    body = {"amount_fen": 10_000, "refund_version": 1}
    assert (await shop.post(f"{path}/agreements", body)).json()["pending"] is True
    (command,) = await shop.events(CommandRequested)
    await shop.tell(
        CommandFailed(
            shop_id="demo",
            command_id=command.command_id,
            action=command.action,
            target_id=command.target_id,
            requested_service="aftersales",
            code="stale_refund_version",
            message="read it again",
            retryable=False,
            at=shop.clock.now,
        )
    )
    back = (await shop.get(path)).json()
    assert (back["state"], back["blocked_reason"]) == ("wait_seller_agree", "stale_refund_version")
    assert back["pending"] is False
    assert (await shop.post(f"{path}/agreements", body)).status_code == 200
    await shop.carry_out()
    assert (await shop.case())["refunded_fen"] == 10_000


async def test_the_webhook_before_the_answer_refunds_once(shop: Shop) -> None:
    await shop.tell(shop.order(), shop.refund())
    case = await shop.case()
    body = {"amount_fen": 10_000, "refund_version": 1}
    await shop.post(f"/v1/cases/{case['case_id']}/agreements", body)
    await shop.tell(shop.refund(status="success", minute=1))
    await shop.carry_out()
    await shop.tell(shop.refund(status="success", minute=1))
    (closed,) = await shop.events(CaseClosed)
    assert closed.refunded_fen == 10_000
    assert (await shop.case())["refunded_fen"] == 10_000


@pytest.mark.parametrize("first", ["answer", "snapshot"])
async def test_the_buyer_reads_why_it_was_refused_whichever_came_first(
    shop: Shop, first: str
) -> None:
    await shop.tell(shop.order(), shop.refund())
    path = f"/v1/cases/{(await shop.case())['case_id']}"
    asked = await shop.post(f"{path}/refusals", {"reason": "商品无质量问题"}, "senior_agent")
    assert asked.status_code == 200, asked.text
    refused = shop.refund(status="seller_refuse_buyer", minute=5)
    if first == "snapshot":
        await shop.tell(refused)
    await shop.carry_out()
    await shop.tell(refused)
    await shop.carry_out()
    case = (await shop.get(path, "buyer", "b1")).json()
    assert (case["state"], case["refusal_reason"]) == ("seller_refuse_buyer", "商品无质量问题")
    assert case["pending"] is False
    history = (await shop.get(f"{path}/history")).json()["items"]
    told = [(e["actor"], e["reason"]) for e in history if e["action"] == "refuse"]
    assert told == [("senior_agent", "商品无质量问题")]


async def test_twenty_racing_agreements_refund_exactly_what_was_paid(shop: Shop) -> None:
    await shop.tell(shop.order())
    # Twenty refunds of 10.00 yuan each, for a line of which 100.00 yuan were paid.
    await shop.tell(*[shop.refund(f"rf{n}", amount_fen=1_000) for n in range(20)])
    cases = await shop.cases()
    assert len(cases) == 20
    body = {"amount_fen": 1_000, "refund_version": 1}
    answers = await asyncio.gather(
        *(shop.post(f"/v1/cases/{case['case_id']}/agreements", body) for case in cases)
    )
    codes = sorted(answer.status_code for answer in answers)
    assert codes == [200] * 10 + [409] * 10
    assert {a.json()["code"] for a in answers if a.status_code == 409} == {"over_paid"}
    assert await shop.carry_out() == 10
    done = await shop.cases()
    assert sum(case["refunded_fen"] for case in done) == 10_000
    assert sum(case["state"] == "wait_seller_agree" for case in done) == 10


async def test_twenty_agents_agreeing_with_one_case_pay_once(shop: Shop) -> None:
    await shop.tell(shop.order(), shop.refund())
    case = await shop.case()
    body = {"amount_fen": 10_000, "refund_version": 1}
    path = f"/v1/cases/{case['case_id']}/agreements"
    answers = await asyncio.gather(
        *(shop.post(path, body, subject=f"a{n}", match='"1"') for n in range(20))
    )
    assert sorted(answer.status_code for answer in answers) == [200] + [412] * 19
    assert await shop.carry_out() == 1
    assert (await shop.case())["refunded_fen"] == 10_000


async def test_agreements_racing_webhooks_refund_what_was_paid_once(shop: Shop) -> None:
    await shop.tell(shop.order())
    await shop.tell(*[shop.refund(f"rf{n}", amount_fen=2_500) for n in range(4)])
    cases = await shop.cases()
    body = {"amount_fen": 2_500, "refund_version": 1}
    webhooks = [
        shop.refund(f"rf{n}", amount_fen=2_500, status="success", minute=1) for n in range(4)
    ]
    await asyncio.gather(
        *(shop.post(f"/v1/cases/{case['case_id']}/agreements", body) for case in cases),
        *(publish(shop.bus, webhook) for webhook in webhooks),
    )
    await shop.carry_out()
    assert [case["refunded_fen"] for case in await shop.cases()] == [2_500] * 4
    assert len(await shop.events(CaseClosed)) == 4


async def test_repeated_requests_open_one_case(shop: Shop) -> None:
    await shop.tell(*[shop.request() for _ in range(5)])
    await shop.tell(shop.order())
    assert (await shop.case())["amount_fen"] == 10_000
    assert len(await shop.events(CaseOpened)) == 1
