"""CR13 on a running service: counted live, recomputable, with a warning at 100 s."""

from datetime import UTC, datetime, timedelta
from typing import Any

from common.contracts import ConversationAnswered, ConversationChanged, ShopMessage
from common.ids import new_id
from tests.support.harness import idle

from .conftest import SHOP, Caller, Chat

TEN = datetime(2026, 3, 2, 2, 0, tzinfo=UTC)
"""10:00 shop time, when the clock of these tests starts."""


def platform(sender: str, clock: str, **fields: Any) -> ShopMessage:
    known: dict[str, Any] = {
        "shop_id": SHOP,
        "platform": "taobao",
        "buyer_id": "tb1",
        "message_id": new_id(),
        "sender": sender,
        "agent_id": "xiaomei" if sender == "shop" else None,
        "kind": "text",
        "text": "…",
        "sent_at": datetime.fromisoformat(f"2026-03-02T{clock}+08:00"),
    }
    return ShopMessage(**known | fields)


async def figures(chat: Chat, agent_id: str = "xiaomei", **params: Any) -> dict[str, Any]:
    found = await chat.supervisor.get("/metrics/response_times", agent_id=agent_id, **params)
    assert len(found["items"]) == 1, found
    one: dict[str, Any] = found["items"][0]
    return one


async def test_worked_case_of_the_rule_live_and_recomputed(chat: Chat) -> None:
    chat.clock.advance(hours=1)
    for event in (
        platform("buyer", "10:10:15"),
        platform("buyer", "10:15:20"),
        platform("shop", "10:18:10"),
    ):
        await chat.publish(event)
    await idle(chat.service)
    late = await figures(chat, day="2026-03-02")
    assert (late["rounds_within_3min"], late["rounds"]) == (0, 1)

    await chat.publish(platform("buyer", "10:20:00"))
    await chat.publish(platform("shop", "10:20:30"))
    await idle(chat.service)

    both = await figures(chat, day="2026-03-02")
    assert (both["rounds_within_3min"], both["rounds"], both["rate_within_3min"]) == (1, 2, 0.5)
    assert both == await figures(chat, day="2026-03-02", recompute=True)


async def test_never_answered_counts_against_whoever_has_the_buyer(chat: Chat) -> None:
    await chat.add_agent("a1")
    accepted = await chat.buyer("b1").write("在吗?")
    await chat.assigned(accepted["conversation_id"], "a1")

    for recompute in (False, True):
        found = await figures(chat, "a1", recompute=recompute)
        assert (found["rounds_within_3min"], found["rounds"]) == (0, 1)
        assert found["unreplied_buyer_ids"] == ["b1"]


async def served(chat: Chat, seconds: float) -> tuple[Caller, Caller, str]:
    """A buyer who asked, and the agent who answered after so many seconds."""
    agent = await chat.add_agent("a1")
    buyer = chat.buyer("b1")
    conversation_id = (await buyer.write("在吗?"))["conversation_id"]
    await chat.assigned(conversation_id, "a1")
    chat.clock.advance(seconds=seconds)
    await reply(agent, conversation_id)
    return buyer, agent, conversation_id


async def reply(agent: Caller, conversation_id: str) -> None:
    answer = await agent.post(
        f"/conversations/{conversation_id}/messages",
        {"client_message_id": new_id(), "text": "在的"},
    )
    assert answer.status_code == 201, answer.text


async def test_greeting_does_not_count_as_the_first_response(chat: Chat) -> None:
    await served(chat, 42)

    answered = await chat.until_seen(ConversationAnswered)

    assert [(one.first, one.seconds, one.within_3min) for one in answered] == [(True, 42.0, True)]
    assert (await figures(chat, "a1"))["average_first_response_seconds"] == 42.0


async def test_live_and_recomputed_agree_after_transfer_close_and_a_new_conversation(
    chat: Chat,
) -> None:
    buyer, agent, conversation_id = await served(chat, 30)
    await buyer.write("再问")
    other = await chat.add_agent("a2")
    await agent.post(f"/conversations/{conversation_id}/transfers", {"to_agent_id": "a2"})
    await chat.assigned(conversation_id, "a2")
    chat.clock.advance(seconds=50)
    await reply(other, conversation_id)
    await buyer.write("还有")
    await other.post(f"/conversations/{conversation_id}/close")
    again = (await buyer.write("又来"))["conversation_id"]
    await chat.assigned(again)

    live = await chat.supervisor.get("/metrics/response_times")
    anew = await chat.supervisor.get("/metrics/response_times", recompute=True)

    assert live["items"] == anew["items"]
    by_agent = {one["agent_id"]: one for one in live["items"]}
    assert by_agent["a1"]["rounds_within_3min"] == 1
    assert by_agent["a2"]["rounds"] == 3
    assert by_agent["a2"]["average_response_seconds"] == 50.0


async def test_figures_are_of_the_shops_day(chat: Chat) -> None:
    await served(chat, 10)

    today = await chat.supervisor.get("/metrics/response_times", day="2026-03-02")
    before = await chat.supervisor.get("/metrics/response_times", day="2026-03-01")
    month = await chat.supervisor.get("/metrics/response_times", day="2026-03-05", days=30)

    assert (len(today["items"]), before["items"], len(month["items"])) == (1, [], 1)
    assert datetime.fromisoformat(today["starts_at"]) == TEN - timedelta(hours=10)


async def test_agents_see_their_own_figures_only(chat: Chat) -> None:
    await served(chat, 10)

    own = await chat.agent("a1").get("/metrics/response_times")
    assert [one["agent_id"] for one in own["items"]] == ["a1"]
    others = await chat.agent("a2").call("GET", "/metrics/response_times?agent_id=a1")
    buyers = await chat.buyer("b1").call("GET", "/metrics/response_times")
    assert (others.status_code, buyers.status_code) == (403, 403)


async def warnings(chat: Chat, count: int) -> list[Any]:
    changed = await chat.until_seen(ConversationChanged, count) if count else []
    return [one for one in changed if "waiting" in one.changed]


async def test_buyer_who_waits_100_seconds_is_warned_of_once(chat: Chat) -> None:
    agent = await chat.add_agent("a1")
    conversation_id = (await chat.buyer("b1").write("在吗?"))["conversation_id"]
    await chat.assigned(conversation_id, "a1")

    chat.clock.advance(seconds=50)
    await agent.be("online")
    chat.clock.advance(seconds=50)
    await agent.be("online")

    warned = await warnings(chat, 1)
    assert [(one.agent_id, one.unanswered_since) for one in warned] == [("a1", TEN)]
    assert "100" in (warned[0].hint or "")
    assert (await chat.conversation(conversation_id))["staff"]["warned"] is True


async def test_second_round_is_warned_of_100_seconds_after_its_own_question(chat: Chat) -> None:
    """The timer armed for an answered round looks at the round that is open by then."""
    buyer, agent, _ = await served(chat, 90)
    await buyer.write("再问一句")
    chat.clock.advance(seconds=15)
    await agent.be("online")

    async with chat.service.database.read() as conn:
        kept = (await conn.exec_driver_sql("SELECT warned FROM conversations")).scalar()
    assert not kept

    chat.clock.advance(seconds=30)
    await agent.be("online")
    chat.clock.advance(seconds=56)
    await agent.be("online")
    warned = await warnings(chat, 1)
    assert [one.unanswered_since for one in warned] == [TEN + timedelta(seconds=90)]
