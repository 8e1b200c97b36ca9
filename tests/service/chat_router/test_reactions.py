"""What other services tell reaches the conversation: orders, reminders, cases, returns."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from common.contracts import (
    CaseClosed,
    CaseOpened,
    ConversationChanged,
    ConversationOpened,
    MessageSent,
    OrderClosed,
    OrderCreated,
    OrderEvent,
    OrderLine,
    OrderPaid,
    OrderUnpaid,
    ReminderDue,
    ReturnRequested,
)
from tests.support.harness import idle, until

from .conftest import SHOP, Chat

AT = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)
LINE = OrderLine(
    line_id="l1",
    product_id="coat-001",
    title="羽绒外套",
    quantity=1,
    unit_price_fen=38500,
    paid_fen=38500,
)


def order(kind: type[OrderEvent], version: int, status: str, **fields: Any) -> OrderEvent:
    known: dict[str, Any] = {
        "shop_id": SHOP,
        "platform": "own",
        "order_id": "o1",
        "buyer_id": "b1",
        "status": status,
        "version": version,
        "total_fen": 38500,
        "paid_fen": 0,
        "postage_fen": 0,
        "lines": (LINE,),
        "occurred_at": AT,
        "created_at": AT,
    }
    return kind(**known | fields)


UNPAID = order(OrderUnpaid, 2, "unpaid")
PAID = order(OrderPaid, 3, "paid", paid_fen=38500)


def due(stage: int = 1, mode: str = "message", **fields: Any) -> ReminderDue:
    return ReminderDue(
        shop_id=SHOP,
        reminder_id=f"r{stage}",
        order_id="o1",
        buyer_id="b1",
        stage=stage,
        due_at=AT,
        sent_by=mode,  # type: ignore[arg-type]
        text="亲,您还有订单未付款哦",
        amount_fen=38500,
        idempotency_key=f"o1:{stage}",
        **fields,
    )


def case(kind: type[Any], version: int, **fields: Any) -> Any:
    known: dict[str, Any] = {
        "shop_id": SHOP,
        "case_id": "case-1",
        "order_id": "o1",
        "buyer_id": "b1",
        "kind": "refund_only",
        "state": "wait_seller_agree",
        "phase": "onsale",
        "amount_fen": 38500,
        "reason": "质量问题",
        "version": version,
        "actor": "b1",
        "actor_role": "buyer",
        "occurred_at": AT,
    }
    return kind(**known | fields)


async def texts_to(chat: Chat, buyer_id: str = "b1") -> list[str]:
    """Everything the system wrote to a buyer, greetings left out."""
    found = await chat.seen(MessageSent)
    ours = [one for one in found if one.buyer_id == buyer_id and one.sender_kind == "system"]
    return [one.text for one in ours if one.reminder_id or one.case_id]


# -- orders ---------------------------------------------------------------------------------


async def test_order_situation_reaches_panel_and_group_of_a_waiting_buyer(chat: Chat) -> None:
    for group_id, situations in (("presale", ["none", "unpaid"]), ("insale", ["paid"])):
        await chat.supervisor.put(
            f"/groups/{group_id}", {"name": group_id, "order_states": situations}
        )
    conversation_id = (await chat.buyer("b1").write("在吗?"))["conversation_id"]
    assert (await chat.conversation(conversation_id))["group_id"] == "presale"

    await chat.publish(order(OrderCreated, 1, "unpaid"), UNPAID, PAID)
    await idle(chat.service)

    found = await chat.conversation(conversation_id)
    assert found["group_id"] == "insale"
    assert found["staff"]["order_state"] == "paid"
    assert found["staff"]["order"]["title"] == "羽绒外套"
    changed = await chat.until_seen(ConversationChanged, 2)
    assert [one.order_state for one in changed] == ["unpaid", "paid"]


async def test_older_order_event_changes_nothing(chat: Chat) -> None:
    await chat.publish(PAID, UNPAID, order(OrderCreated, 1, "unpaid"))
    await idle(chat.service)

    found = await chat.supervisor.get("/buyers/b1")
    assert (found["order_state"], found["order"]["status"]) == ("paid", "paid")


async def test_order_known_before_the_first_message_chooses_the_group(chat: Chat) -> None:
    await chat.supervisor.put("/groups/insale", {"name": "售中", "order_states": ["paid"]})
    await chat.publish(PAID)
    await idle(chat.service)

    conversation_id = (await chat.buyer("b1").write("发货了吗?"))["conversation_id"]

    assert (await chat.conversation(conversation_id))["group_id"] == "insale"
    opened = (await chat.until_seen(ConversationOpened))[0]
    assert (opened.order_state, opened.group_id) == ("paid", "insale")


async def test_assigned_conversation_is_not_torn_away_by_a_payment(chat: Chat) -> None:
    await chat.supervisor.put("/groups/insale", {"name": "售中", "order_states": ["paid"]})
    await chat.add_agent("a1")
    conversation_id = (await chat.buyer("b1").write("在吗?"))["conversation_id"]
    await chat.assigned(conversation_id, "a1")

    await chat.publish(PAID)
    await chat.until_seen(ConversationChanged)

    assert (await chat.conversation(conversation_id))["agent_id"] == "a1"


# -- reminders ------------------------------------------------------------------------------


async def test_reminder_is_written_once_and_needs_no_agent(chat: Chat) -> None:
    await chat.publish(UNPAID)
    await idle(chat.service)
    await chat.publish(due(), due())
    await idle(chat.service)

    sent = [one for one in await chat.seen(MessageSent) if one.reminder_id]
    assert [(one.reminder_id, one.order_id, one.state) for one in sent] == [("r1", "o1", "closed")]
    assert await chat.seen(ConversationOpened) == []
    assert await chat.open_of("b1") is None


async def test_payment_between_due_and_send_stops_the_reminder(chat: Chat) -> None:
    await chat.publish(UNPAID, PAID)
    await idle(chat.service)
    await chat.publish(due())
    await idle(chat.service)

    assert await texts_to(chat) == []


async def test_closed_order_is_not_reminded_of(chat: Chat) -> None:
    await chat.publish(UNPAID, order(OrderClosed, 3, "closed"))
    await idle(chat.service)
    await chat.publish(due())
    await idle(chat.service)

    assert await texts_to(chat) == []


async def test_reminder_that_comes_too_late_is_not_written(chat: Chat) -> None:
    """After downtime here: the night has begun, or the reminder was given up long ago."""
    await chat.publish(UNPAID)
    now = chat.clock()
    await chat.publish(
        due(1, valid_until=now),
        due(1, mode="hint", valid_until=now),
        due(2, valid_until=now + timedelta(hours=1)),
    )
    await idle(chat.service)

    sent = [one.reminder_id for one in await chat.seen(MessageSent) if one.reminder_id]
    assert sent == ["r2"]


async def test_buyer_answering_a_reminder_opens_a_conversation(chat: Chat) -> None:
    await chat.publish(UNPAID)
    await idle(chat.service)
    await chat.publish(due())
    await idle(chat.service)

    accepted = await chat.buyer("b1").write("可以便宜点吗?")

    assert accepted["seq"] == 1
    assert (await chat.conversation(accepted["conversation_id"]))["state"] == "queued"


async def test_hint_reaches_the_agent_and_not_the_buyer(chat: Chat) -> None:
    await chat.add_agent("a1")
    conversation_id = (await chat.buyer("b1").write("在吗?"))["conversation_id"]
    await chat.assigned(conversation_id, "a1")
    await chat.publish(UNPAID, due(mode="hint"))

    async def hinted() -> bool:
        return any(one.hint for one in await chat.seen(ConversationChanged))

    await until(hinted)
    assert await texts_to(chat) == []
    items = await chat.service.feed.since(SHOP, "buyer:b1", 0, 100)
    assert not any(b"hint" in one.body for one in items)


# -- cases ----------------------------------------------------------------------------------


async def test_case_shows_beside_the_chat_and_the_buyer_is_told_once(chat: Chat) -> None:
    conversation_id = (await chat.buyer("b1").write("我要退款"))["conversation_id"]
    opened = case(CaseOpened, 1)
    closed = case(CaseClosed, 3, state="success", outcome="refunded", refunded_fen=38500)

    await chat.publish(opened, opened, closed, closed)
    await idle(chat.service)

    told = await texts_to(chat)
    assert len(told) == 2
    assert "申请金额 385.00 元" in told[0]
    assert "已退款 385.00 元" in told[1]
    found = await chat.conversation(conversation_id)
    assert found["staff"]["case"]["state"] == "success"
    # What was told is in the chat, and the buyer still waits for a person.
    assert found["unanswered_since"] is not None


async def test_case_closed_before_it_was_opened_stays_closed(chat: Chat) -> None:
    await chat.buyer("b1").write("我要退款")
    closed = case(CaseClosed, 3, state="success", outcome="refunded", refunded_fen=38500)

    await chat.publish(closed, case(CaseOpened, 1))
    await idle(chat.service)

    found = await chat.supervisor.get("/buyers/b1")
    assert found["case"]["state"] == "success"
    told = await texts_to(chat)
    assert len(told) == 1, "that it was received comes too late"
    assert "已结束" in told[0]


async def test_buyer_is_told_no_amount_where_none_is_known(chat: Chat) -> None:
    await chat.publish(case(CaseOpened, 1, amount_fen=0))
    await idle(chat.service)

    [told] = await texts_to(chat)
    assert "已受理" in told
    assert "0.00" not in told


# -- return requests ------------------------------------------------------------------------


RETURN = {
    "order_id": "o1",
    "line_id": "l1",
    "kind": "return_and_refund",
    "reason": "质量问题",
    "goods_received": True,
}


async def test_return_request_goes_to_aftersales_once(chat: Chat) -> None:
    await chat.publish(PAID)
    await idle(chat.service)
    buyer = chat.buyer("b1")
    conversation_id = (await buyer.write("我要退货"))["conversation_id"]
    key = {"Idempotency-Key": "return-1"}

    answers = [await buyer.post("/return_requests", RETURN, headers=key) for _ in range(3)]

    assert [one.status_code for one in answers] == [202] * 3
    assert len({one.json()["request_id"] for one in answers}) == 1
    asked = await chat.until_seen(ReturnRequested)
    assert len(asked) == 1
    assert (asked[0].conversation_id, asked[0].buyer_id) == (conversation_id, "b1")
    assert (asked[0].requested_role, asked[0].amount_fen) == ("buyer", None)


async def test_agent_asks_for_the_buyer_who_made_the_order(chat: Chat) -> None:
    await chat.publish(PAID)
    await idle(chat.service)

    answer = await chat.agent("a1").post("/return_requests", RETURN | {"amount_fen": 100})

    assert (answer.status_code, answer.json()["buyer_id"]) == (202, "b1")
    asked = (await chat.until_seen(ReturnRequested))[0]
    assert (asked.requested_by, asked.requested_role, asked.amount_fen) == ("a1", "agent", 100)


async def test_nobody_returns_anothers_order(chat: Chat) -> None:
    await chat.publish(PAID)
    await idle(chat.service)

    answers = [
        await chat.buyer("b2").post("/return_requests", RETURN),
        await chat.buyer("b1", shop="other").post("/return_requests", RETURN),
        await chat.buyer("b1").post("/return_requests", RETURN | {"order_id": "o2"}),
    ]

    assert [one.status_code for one in answers] == [404] * 3
    assert await chat.seen(ReturnRequested) == []


@pytest.mark.parametrize("amount_fen", [-1, 0])
async def test_return_request_for_no_money_is_refused(chat: Chat, amount_fen: int) -> None:
    answer = await chat.buyer("b1").post("/return_requests", RETURN | {"amount_fen": amount_fen})

    assert answer.status_code == 422
