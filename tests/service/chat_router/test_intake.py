"""CR1: every message is stored once, in order, whatever is repeated or comes at once."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from chat_router.app import SERVICE
from chat_router.intake import SendMessage
from chat_router.messages import Incoming, MessageAccepted
from common.contracts import ConversationOpened, MessageReceived, MessageSent, ShopMessage
from common.ids import new_id
from tests.support.harness import idle, make, until

from .conftest import SHOP, Chat


def from_platform(number: int, **fields: Any) -> ShopMessage:
    known: dict[str, Any] = {
        "shop_id": SHOP,
        "platform": "taobao",
        "buyer_id": "tb1",
        "message_id": f"im-{number}",
        "sender": "buyer",
        "kind": "text",
        "text": f"第 {number} 句",
        "sent_at": datetime(2026, 3, 2, 1, 59, number % 60, tzinfo=UTC),
    }
    return ShopMessage(**known | fields)


def from_buyer(text: str, buyer_id: str = "b1", id: str | None = None) -> SendMessage:
    return SendMessage(
        incoming=Incoming(
            shop_id=SHOP,
            buyer_id=buyer_id,
            source=f"buyer:{buyer_id}",
            client_message_id=id or new_id(),
            sender_kind="buyer",
            sender_id=buyer_id,
            kind="text",
            text=text,
        )
    )


async def test_first_message_opens_a_conversation_and_is_greeted_at_once(chat: Chat) -> None:
    accepted = await chat.buyer("b1").write("在吗?")

    stored = await chat.messages(accepted["conversation_id"])

    assert [(one["seq"], one["sender_kind"]) for one in stored] == [(1, "buyer"), (2, "system")]
    assert stored[1]["text"].startswith("亲,您好")
    conversation = await chat.conversation(accepted["conversation_id"])
    assert conversation["state"] == "queued"
    assert conversation["unread_agent"] == 1
    assert conversation["unanswered_since"] is not None


async def test_two_quick_first_messages_open_one_conversation(chat: Chat) -> None:
    answers: list[MessageAccepted] = await asyncio.gather(
        *(chat.service.submit(from_buyer(f"第 {n} 句")) for n in range(8))
    )

    assert len({one.conversation_id for one in answers}) == 1
    assert len({one.seq for one in answers}) == 8
    assert len(await chat.until_seen(ConversationOpened)) == 1
    stored = await chat.messages(answers[0].conversation_id)
    assert [one["seq"] for one in stored] == list(range(1, 10))


async def test_first_messages_on_two_replicas_open_one_conversation(
    chat: Chat, tmp_path: Any, database_url: str
) -> None:
    other = await make(SERVICE, tmp_path, database_url, bus=chat.service.bus, clock=chat.clock)
    try:
        answers = await asyncio.gather(
            *(
                service.submit(from_buyer("你好", buyer_id=f"b{n}"))
                for n in range(10)
                for service in (chat.service, other)
            )
        )
    finally:
        await other.database.close()

    assert len({one.conversation_id for one in answers}) == 10
    for conversation_id in {one.conversation_id for one in answers}:
        stored = await chat.messages(conversation_id)
        assert [one["seq"] for one in stored] == [1, 2, 3]


async def test_same_client_message_id_is_the_same_message(chat: Chat) -> None:
    buyer = chat.buyer("b1")
    first = await buyer.write("一次", client_message_id="mine-1")
    again = await buyer.write("一次", client_message_id="mine-1")

    assert again["message_id"] == first["message_id"]
    assert (first["repeated"], again["repeated"]) == (False, True)
    texts = [one["text"] for one in await chat.messages(first["conversation_id"])]
    assert texts.count("一次") == 1


async def test_another_buyers_message_is_not_hidden_by_the_same_client_id(chat: Chat) -> None:
    first = await chat.buyer("b1").write("甲", client_message_id="1")
    second = await chat.buyer("b2").write("乙", client_message_id="1")

    assert first["message_id"] != second["message_id"]
    assert second["repeated"] is False


async def test_repeated_idempotency_key_gets_the_first_answer(chat: Chat) -> None:
    buyer = chat.buyer("b1")
    body = {"client_message_id": "m1", "text": "你好"}
    key = {"Idempotency-Key": "k1"}

    first = await buyer.post("/messages", body, headers=key)
    again = await buyer.post("/messages", body, headers=key)
    other = await buyer.post("/messages", body | {"text": "别的"}, headers=key)

    assert first.status_code == 201
    assert again.json() == first.json()
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")


async def test_platform_events_repeated_and_shuffled_are_stored_once_each(chat: Chat) -> None:
    events = [from_platform(n) for n in range(1, 21)]
    shuffled = [*reversed(events), *events, *events[5:15]]

    await chat.publish(*shuffled)
    await idle(chat.service)

    found = await chat.open_of("tb1")
    assert found is not None
    stored = await chat.messages(found["conversation_id"])
    from_them = [one for one in stored if one["sender_kind"] == "buyer"]
    assert sorted(one["client_message_id"] for one in from_them) == sorted(
        one.message_id for one in events
    )
    assert [one["seq"] for one in stored] == list(range(1, len(stored) + 1))


async def test_same_event_delivered_twice_takes_effect_once(chat: Chat) -> None:
    await chat.publish(from_platform(1), from_platform(1), ids=("same", "same"))
    await idle(chat.service)

    assert len(await chat.seen(MessageReceived)) == 1


async def test_platform_message_by_event_and_by_http_is_one_message(chat: Chat) -> None:
    event = from_platform(7)
    await chat.publish(event)
    await idle(chat.service)

    answer = await chat.system.post(
        "/messages",
        {
            "platform": "taobao",
            "buyer_id": "tb1",
            "message_id": "im-7",
            "sender": "buyer",
            "kind": "text",
            "text": event.text,
            "sent_at": event.sent_at.isoformat(),
        },
    )

    assert answer.status_code == 201
    assert answer.json()["repeated"] is True


async def test_every_kind_of_message_arrives_as_it_was(chat: Chat) -> None:
    buyer = chat.buyer("b1")
    bodies: list[dict[str, Any]] = [
        {"kind": "text", "text": "看看这个"},
        {"kind": "image", "media_url": "https://img.example/1.jpg"},
        {"kind": "video", "media_url": "https://img.example/1.mp4"},
        {"kind": "product_card", "product_id": "coat-001"},
        {"kind": "order_card", "order_id": "2601"},
    ]
    for body in bodies:
        answer = await buyer.post("/messages", {"client_message_id": new_id()} | body)
        assert answer.status_code == 201, answer.text

    found = await chat.open_of("b1")
    assert found is not None
    stored = await chat.messages(found["conversation_id"])
    kept = [one for one in stored if one["sender_kind"] == "buyer"]
    for body, one in zip(bodies, kept, strict=True):
        assert {name: one[name] for name in body} == body
    assert len(await chat.until_seen(MessageReceived, 5)) == 5


@pytest.mark.parametrize(
    "body",
    [
        {"client_message_id": "1"},
        {"client_message_id": "1", "text": ""},
        {"client_message_id": "1", "kind": "image"},
        {"client_message_id": "1", "kind": "image", "media_url": "javascript:alert(1)"},
        {"client_message_id": "1", "text": "a\u0000b"},
        {"client_message_id": "1", "text": "长" * 4001},
        {"client_message_id": "1", "text": "x", "kind": "poem"},
        {"client_message_id": "1", "text": "x", "sent_at": "2026-03-02T10:00:00"},
        {"client_message_id": "1", "text": "x", "seq": 5},
        {"text": "x"},
        [],
        "x",
    ],
)
async def test_bad_message_is_refused_and_nothing_is_stored(chat: Chat, body: Any) -> None:
    answer = await chat.buyer("b1").post("/messages", body)

    assert answer.status_code == 422
    assert answer.json()["code"] == "invalid_input"
    assert await chat.open_of("b1") is None


async def test_message_without_idempotency_key_is_refused(chat: Chat) -> None:
    answer = await chat.buyer("b1").call(
        "POST",
        "/messages",
        json={"client_message_id": "1", "text": "x"},
        headers={"Idempotency-Key": ""},
    )

    assert (answer.status_code, answer.json()["code"]) == (400, "idempotency_key_missing")


async def test_message_after_closing_opens_a_new_conversation(chat: Chat) -> None:
    buyer = chat.buyer("b1")
    first = await buyer.write("第一次")
    await buyer.post(f"/conversations/{first['conversation_id']}/close")

    second = await buyer.write("又来了")

    assert second["conversation_id"] != first["conversation_id"]
    assert second["seq"] == 1


async def test_buyer_writing_into_a_closed_conversation_gets_a_new_one(chat: Chat) -> None:
    buyer = chat.buyer("b1")
    first = await buyer.write("第一次")
    closed = first["conversation_id"]
    await buyer.post(f"/conversations/{closed}/close")

    answer = await buyer.post(
        f"/conversations/{closed}/messages", {"client_message_id": "n", "text": "还在吗"}
    )

    assert answer.status_code == 201
    assert answer.json()["conversation_id"] != closed


async def test_agents_reply_is_stored_and_published_once(chat: Chat) -> None:
    agent = await chat.add_agent("a1")
    accepted = await chat.buyer("b1").write("有货吗?")
    await chat.assigned(accepted["conversation_id"], "a1")
    body = {"client_message_id": "r1", "text": "有的"}

    answers = [
        await agent.post(f"/conversations/{accepted['conversation_id']}/messages", body)
        for _ in range(3)
    ]

    assert [one.status_code for one in answers] == [201, 201, 201]
    assert len({one.json()["message_id"] for one in answers}) == 1
    sent = [one for one in await chat.until_seen(MessageSent, 2) if one.sender_kind == "agent"]
    assert [(one.text, one.unread_agent, one.unread_buyer) for one in sent] == [("有的", 0, 2)]


async def test_agent_may_not_write_into_anothers_conversation(chat: Chat) -> None:
    await chat.add_agent("a1")
    accepted = await chat.buyer("b1").write("有货吗?")
    await chat.assigned(accepted["conversation_id"], "a1")

    answer = await chat.agent("a2").post(
        f"/conversations/{accepted['conversation_id']}/messages",
        {"client_message_id": "x", "text": "我来"},
    )

    assert (answer.status_code, answer.json()["code"]) == (403, "not_your_conversation")


async def test_agent_may_not_write_into_a_closed_conversation(chat: Chat) -> None:
    agent = await chat.add_agent("a1")
    accepted = await chat.buyer("b1").write("有货吗?")
    path = f"/conversations/{accepted['conversation_id']}"
    await chat.assigned(accepted["conversation_id"], "a1")
    await agent.post(f"{path}/close")

    answer = await agent.post(f"{path}/messages", {"client_message_id": "x", "text": "补充"})

    assert (answer.status_code, answer.json()["code"]) == (409, "conversation_closed")


async def test_staff_reply_on_the_platform_ends_the_round(chat: Chat) -> None:
    await chat.publish(from_platform(1))
    await chat.publish(from_platform(2, sender="shop", agent_id="xiaomei", text="有的亲"))
    await idle(chat.service)

    found = await chat.open_of("tb1")
    assert found is not None
    assert found["unanswered_since"] is None
    assert found["unread_agent"] == 0


async def test_platforms_reply_without_a_conversation_is_kept_and_queues_nobody(
    chat: Chat,
) -> None:
    await chat.publish(from_platform(1, sender="shop", text="您的包裹到了"))
    await idle(chat.service)

    page = await chat.supervisor.get("/conversations", buyer_id="tb1")
    assert [one["state"] for one in page["items"]] == ["closed"]
    stored = await chat.messages(page["items"][0]["conversation_id"])
    assert [one["text"] for one in stored] == ["您的包裹到了"]
    assert await chat.seen(ConversationOpened) == []


async def test_messages_load_page_by_page_in_order(chat: Chat) -> None:
    buyer = chat.buyer("b1")
    for n in range(7):
        accepted = await buyer.write(f"第 {n} 句")
    path = f"/conversations/{accepted['conversation_id']}/messages"

    seqs, cursor = [], None
    while True:
        page = await buyer.get(path, limit=3, **({"cursor": cursor} if cursor else {}))
        seqs += [one["seq"] for one in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break

    assert seqs == list(range(1, 9))
    after = await buyer.get(path, after_seq=6)
    assert [one["seq"] for one in after["items"]] == [7, 8]


async def test_silent_conversation_is_closed_but_never_while_the_buyer_waits(chat: Chat) -> None:
    agent = await chat.add_agent("a1")
    waiting = await chat.buyer("b1").write("在吗?")
    answered = await chat.buyer("b2").write("在吗?")
    for one in (waiting, answered):
        await chat.assigned(one["conversation_id"], "a1")
    await agent.post(
        f"/conversations/{answered['conversation_id']}/messages",
        {"client_message_id": "r", "text": "在的"},
    )

    for _ in range(4):
        chat.clock.advance(seconds=1000)
        await agent.be("online")

    async def closed() -> bool:
        found = await chat.conversation(answered["conversation_id"])
        return (found["state"], found["close_reason"]) == ("closed", "idle")

    await until(closed)
    assert (await chat.conversation(waiting["conversation_id"]))["state"] == "assigned"
    assert chat.clock.now > datetime(2026, 3, 2, 2, 0, tzinfo=UTC) + timedelta(hours=1)
