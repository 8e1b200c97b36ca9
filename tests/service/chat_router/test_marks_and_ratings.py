"""Read marks, delivery marks, closing and rating."""

import asyncio

import pytest

from common.contracts import (
    ConversationClosed,
    ConversationRated,
    MessageDelivered,
    MessageRead,
)

from .conftest import Caller, Chat


async def served(chat: Chat) -> tuple[Caller, Caller, str]:
    """A buyer and the agent who has them."""
    agent = await chat.add_agent("a1")
    buyer = chat.buyer("b1")
    conversation_id = (await buyer.write("第一句"))["conversation_id"]
    await chat.assigned(conversation_id, "a1")
    return buyer, agent, conversation_id


async def say(agent: Caller, conversation_id: str, text: str) -> int:
    body = {"client_message_id": text, "text": text}
    answer = await agent.post(f"/conversations/{conversation_id}/messages", body)
    assert answer.status_code == 201, answer.text
    return int(answer.json()["seq"])


async def test_read_mark_counts_only_the_other_sides_messages(chat: Chat) -> None:
    buyer, agent, conversation_id = await served(chat)
    await buyer.write("第二句")  # seq 3; the greeting is 2
    path = f"/conversations/{conversation_id}/read_marks"

    partly = (await agent.post(path, {"up_to_seq": 2})).json()
    wholly = (await agent.post(path, {"up_to_seq": 3})).json()

    assert (partly["unread_agent"], wholly["unread_agent"]) == (1, 0)
    marks = await chat.until_seen(MessageRead, 2)
    assert [(one.reader, one.up_to_seq) for one in marks] == [("agent:a1", 2), ("agent:a1", 3)]


async def test_read_mark_never_goes_back_nor_beyond_the_last_message(chat: Chat) -> None:
    buyer, agent, conversation_id = await served(chat)
    seq = await say(agent, conversation_id, "在的")
    path = f"/conversations/{conversation_id}/read_marks"

    beyond = (await buyer.post(path, {"up_to_seq": 999})).json()
    back = (await buyer.post(path, {"up_to_seq": 1})).json()

    assert (beyond["up_to_seq"], beyond["unread_buyer"]) == (seq, 0)
    assert back == beyond


async def test_supervisor_who_watches_has_not_read_for_the_agent(chat: Chat) -> None:
    _, _, conversation_id = await served(chat)

    answer = await chat.supervisor.post(
        f"/conversations/{conversation_id}/read_marks", {"up_to_seq": 1}
    )

    assert answer.status_code == 403
    assert (await chat.conversation(conversation_id))["unread_agent"] == 1


async def test_message_loaded_over_http_is_delivered_once(chat: Chat) -> None:
    buyer, agent, conversation_id = await served(chat)
    await say(agent, conversation_id, "在的")
    path = f"/conversations/{conversation_id}/messages"

    for _ in range(3):
        await buyer.get(path)
        await agent.get(path)
        await chat.supervisor.get(path)

    delivered = await chat.until_seen(MessageDelivered, 3)
    assert sorted((one.receiver, one.seq) for one in delivered) == [
        ("agent:a1", 1),
        ("buyer:b1", 2),
        ("buyer:b1", 3),
    ]


async def test_conversation_is_closed_once_with_its_counts(chat: Chat) -> None:
    buyer, agent, conversation_id = await served(chat)
    chat.clock.advance(seconds=20)
    await say(agent, conversation_id, "在的")
    await buyer.write("再问一句")
    path = f"/conversations/{conversation_id}/close"

    answers = await asyncio.gather(*(agent.post(path) for _ in range(3)))

    assert {one.json()["close_reason"] for one in answers} == {"agent"}
    closed = await chat.until_seen(ConversationClosed)
    assert len(closed) == 1
    counts = closed[0]
    assert (counts.messages_buyer, counts.messages_agent, counts.rounds) == (2, 1, 2)
    assert (counts.rounds_within_3min, counts.first_response_seconds) == (1, 20.0)


async def test_buyer_rates_once(chat: Chat) -> None:
    buyer, agent, conversation_id = await served(chat)
    await say(agent, conversation_id, "在的")
    path = f"/conversations/{conversation_id}/rating"

    answers = await asyncio.gather(
        *(buyer.post(path, {"rating": rating, "reason": "很快"}) for rating in (5, 1, 3))
    )

    kept = [one for one in answers if one.status_code == 201]
    assert len(kept) == 1
    assert {one.json()["code"] for one in answers if one is not kept[0]} == {"already_rated"}
    rated = await chat.until_seen(ConversationRated)
    assert [one.rating for one in rated] == [kept[0].json()["rating"]]


async def test_nothing_to_rate_before_somebody_answered(chat: Chat) -> None:
    buyer, _, conversation_id = await served(chat)

    answer = await buyer.post(f"/conversations/{conversation_id}/rating", {"rating": 5})

    assert (answer.status_code, answer.json()["code"]) == (409, "not_served_yet")


@pytest.mark.parametrize("rating", [0, 6, 4.5, "5 stars", None])
async def test_rating_is_one_to_five(chat: Chat, rating: object) -> None:
    buyer, agent, conversation_id = await served(chat)
    await say(agent, conversation_id, "在的")

    answer = await buyer.post(f"/conversations/{conversation_id}/rating", {"rating": rating})

    assert answer.status_code == 422


async def test_another_buyer_can_do_nothing_with_a_conversation(chat: Chat) -> None:
    _, _, conversation_id = await served(chat)
    stranger = chat.buyer("b2")
    path = f"/conversations/{conversation_id}"

    answers = [
        await stranger.call("GET", path),
        await stranger.call("GET", f"{path}/messages"),
        await stranger.post(f"{path}/messages", {"client_message_id": "x", "text": "x"}),
        await stranger.post(f"{path}/close"),
        await stranger.post(f"{path}/read_marks", {"up_to_seq": 1}),
        await stranger.post(f"{path}/rating", {"rating": 1}),
    ]

    assert [one.status_code for one in answers] == [404] * 6


async def test_another_shops_token_reaches_nothing(chat: Chat) -> None:
    _, _, conversation_id = await served(chat)
    path = f"/conversations/{conversation_id}"
    for role in ("agent", "supervisor", "admin"):
        outsider = chat.caller("a1", role, shop="other")
        answers = [
            await outsider.call("GET", path),
            await outsider.call("GET", f"{path}/messages"),
            await outsider.post(f"{path}/messages", {"client_message_id": "x", "text": "x"}),
            await outsider.post(f"{path}/close"),
            await outsider.post(f"{path}/transfers", {"to_agent_id": "a1"}),
            await outsider.call("GET", "/buyers/b1"),
            await outsider.call("GET", "/agents/a1"),
        ]
        codes = [one.status_code for one in answers if one.status_code != 403]
        assert set(codes) <= {404}
        assert (await outsider.get("/conversations"))["items"] == []
    named = await chat.buyer("b1").post(
        "/messages", {"client_message_id": "x", "text": "x", "shop_id": "other"}
    )
    assert (named.status_code, named.json()["code"]) == (403, "other_shop")


async def test_buyers_view_hides_what_is_for_staff(chat: Chat) -> None:
    await chat.supervisor.put("/buyers/b1", {"tags": ["爱退货"], "note": "注意"})
    buyer, _, conversation_id = await served(chat)

    theirs = await buyer.get(f"/conversations/{conversation_id}")
    ours = await chat.supervisor.get(f"/conversations/{conversation_id}")

    assert theirs["staff"] is None
    assert "爱退货" not in str(theirs)
    assert ours["staff"]["tags"] == ["爱退货"]
