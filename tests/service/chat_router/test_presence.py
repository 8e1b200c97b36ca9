"""CR4: presence, heartbeats, and conversations handed back by whoever is gone."""

import asyncio
from datetime import timedelta

from chat_router.attendance import Heartbeats, SweepAgent, Swept
from chat_router.store import queues
from common.contracts import AgentPresenceChanged, ConversationAssigned
from tests.support.harness import until

from .conftest import SHOP, Chat


async def presence_of(chat: Chat, agent_id: str) -> str:
    found = await chat.supervisor.get(f"/agents/{agent_id}")
    return str(found["presence"])


async def gone(chat: Chat, agent_id: str) -> None:
    """Let an agent fall silent until that is noticed."""
    chat.clock.advance(seconds=61)

    async def offline() -> bool:
        return await presence_of(chat, agent_id) == "offline"

    await until(offline)


async def test_presence_is_told_once_per_change(chat: Chat) -> None:
    agent = await chat.add_agent("a1")
    for presence in ("online", "suspended", "suspended", "away", "offline"):
        await agent.be(presence)

    changes = await chat.until_seen(AgentPresenceChanged, 4)

    assert [(one.previous, one.presence) for one in changes] == [
        ("offline", "online"),
        ("online", "suspended"),
        ("suspended", "away"),
        ("away", "offline"),
    ]


async def test_agent_who_is_heard_of_stays(chat: Chat) -> None:
    await chat.add_agent("a1")
    for _ in range(5):
        chat.clock.advance(seconds=40)
        await chat.service.submit(Heartbeats(shop_id=SHOP, agent_ids=("a1", "unknown")))

    async def the_timer_looked_again() -> bool:
        async with chat.service.database.read() as conn:
            query = "SELECT count(*) FROM timers WHERE key = 'presence:demo:a1'"
            return bool((await conn.exec_driver_sql(query)).scalar())

    await until(the_timer_looked_again)
    assert await presence_of(chat, "a1") == "online"


async def test_silent_agent_goes_offline_and_keeps_buyers_for_the_grace_time(chat: Chat) -> None:
    await chat.add_agent("a1")
    accepted = await chat.buyer("b1").write("在吗?")
    await chat.assigned(accepted["conversation_id"], "a1")

    await gone(chat, "a1")

    assert (await chat.conversation(accepted["conversation_id"]))["agent_id"] == "a1"
    changes = await chat.until_seen(AgentPresenceChanged, 2)
    assert [(one.presence, one.reason) for one in changes] == [
        ("online", "self"),
        ("offline", "heartbeat_lost"),
    ]


async def test_after_the_grace_time_buyers_go_on_at_their_original_place(chat: Chat) -> None:
    await chat.add_agent("a1", capacity=1)
    dropped = (await chat.buyer("b1").write("在吗?"))["conversation_id"]
    await chat.assigned(dropped, "a1")
    chat.clock.advance(seconds=5)
    later = (await chat.buyer("b2").write("在吗?"))["conversation_id"]
    await gone(chat, "a1")
    chat.clock.advance(seconds=61)

    async def waits_again() -> bool:
        return bool((await chat.conversation(dropped))["state"] == "queued")

    await until(waits_again)
    await chat.add_agent("a2", capacity=1)

    found = await chat.assigned(dropped, "a2")
    assert found["staff"]["previous_agent_id"] == "a1"
    assert (await chat.conversation(later))["state"] == "queued"
    assigned = [o for o in await chat.until_seen(ConversationAssigned, 2) if o.agent_id == "a2"]
    assert [one.reason for one in assigned] == ["agent_left"]


async def test_agent_who_is_back_within_the_grace_time_keeps_their_buyers(chat: Chat) -> None:
    await chat.add_agent("a1")
    await chat.add_agent("a2", capacity=0)
    held = (await chat.buyer("b1").write("在吗?"))["conversation_id"]
    await chat.assigned(held, "a1")
    await gone(chat, "a1")
    chat.clock.advance(seconds=30)

    await chat.service.submit(Heartbeats(shop_id=SHOP, agent_ids=("a1",)))
    chat.clock.advance(seconds=45)
    await chat.service.submit(Heartbeats(shop_id=SHOP, agent_ids=("a1",)))

    async def the_grace_timer_is_over() -> bool:
        async with chat.service.database.read() as conn:
            query = "SELECT count(*) FROM timers WHERE key = 'grace:demo:a1'"
            return not (await conn.exec_driver_sql(query)).scalar()

    await until(the_grace_timer_is_over)
    assert await presence_of(chat, "a1") == "online"
    assert (await chat.conversation(held))["agent_id"] == "a1"


async def test_reconnecting_restores_what_the_agent_last_chose(chat: Chat) -> None:
    agent = await chat.add_agent("a1")
    await agent.be("suspended")
    await gone(chat, "a1")

    await chat.service.submit(Heartbeats(shop_id=SHOP, agent_ids=("a1",)))

    assert await presence_of(chat, "a1") == "suspended"


async def test_signing_off_hands_buyers_on_at_once(chat: Chat) -> None:
    agent = await chat.add_agent("a1")
    held = (await chat.buyer("b1").write("在吗?"))["conversation_id"]
    await chat.assigned(held, "a1")
    await chat.add_agent("a2")

    await agent.be("offline")

    await chat.assigned(held, "a2")


async def test_agent_who_dropped_off_and_then_signed_off_stays_off(chat: Chat) -> None:
    """A console left open goes on pinging; only who drops off without a word is brought back."""
    agent = await chat.add_agent("a1")
    await gone(chat, "a1")
    await agent.be("offline")

    await chat.service.submit(Heartbeats(shop_id=SHOP, agent_ids=("a1",)))

    assert await presence_of(chat, "a1") == "offline"


async def test_suspended_agent_keeps_buyers_and_gets_no_new_ones(chat: Chat) -> None:
    agent = await chat.add_agent("a1")
    held = (await chat.buyer("b1").write("在吗?"))["conversation_id"]
    await chat.assigned(held, "a1")
    await agent.be("suspended")
    await chat.add_agent("a2")

    fresh = (await chat.buyer("b2").write("在吗?"))["conversation_id"]

    await chat.assigned(fresh, "a2")
    assert (await chat.conversation(held))["agent_id"] == "a1"


async def test_assignment_racing_a_sign_off_leaves_nobody_with_the_gone(chat: Chat) -> None:
    for round_ in range(5):
        agent = await chat.add_agent("a1", capacity=50)
        await asyncio.gather(
            *(chat.buyer(f"b{round_}-{n}").write("在吗?") for n in range(5)),
            agent.be("offline"),
        )

    async def nobody_is_held() -> bool:
        found = await chat.supervisor.get("/conversations", agent_id="a1", state="assigned")
        return not found["items"]

    await until(nobody_is_held)


async def test_sweeper_finds_what_a_lost_timer_left_behind(chat: Chat) -> None:
    await chat.add_agent("a1")
    held = (await chat.buyer("b1").write("在吗?"))["conversation_id"]
    await chat.assigned(held, "a1")
    await gone(chat, "a1")
    async with chat.service.database.write() as conn:
        await conn.exec_driver_sql("DELETE FROM timers")
    chat.clock.advance(seconds=61)

    swept: Swept = await chat.service.submit(SweepAgent(shop_id=SHOP, agent_id="a1"))

    assert swept.handed_back == 1
    assert (await chat.conversation(held))["state"] == "queued"


async def test_who_had_a_buyer_last_is_told_of_the_end_when_nobody_took_over(chat: Chat) -> None:
    """Else the buyer stays on the former agent's screen for ever."""
    agent = await chat.add_agent("a1")
    held = (await chat.buyer("b1").write("在吗?"))["conversation_id"]
    await chat.assigned(held, "a1")
    await agent.be("offline")

    answer = await chat.supervisor.post(f"/conversations/{held}/close")

    assert answer.status_code == 200, answer.text
    told = "SELECT receiver FROM feed WHERE type LIKE '%conversation.closed%'"
    async with chat.service.database.read() as conn:
        receivers = {found[0] for found in await conn.exec_driver_sql(told)}
    assert receivers == {"buyer:b1", "agent:a1", "shop"}


async def test_sweeper_keeps_the_grace_time_that_the_shop_gives(chat: Chat) -> None:
    await chat.rules(grace_seconds=600)
    await chat.add_agent("a1")
    held = (await chat.buyer("b1").write("在吗?"))["conversation_id"]
    await chat.assigned(held, "a1")
    await gone(chat, "a1")
    chat.clock.advance(seconds=300)

    swept: Swept = await chat.service.submit(SweepAgent(shop_id=SHOP, agent_id="a1"))

    assert swept.handed_back == 0
    assert (await chat.conversation(held))["agent_id"] == "a1"
    async with chat.service.database.read() as conn:
        assert await queues.held_by_the_gone(conn, chat.clock()) == []
        late = chat.clock() + timedelta(seconds=301)
        assert await queues.held_by_the_gone(conn, late) == [(SHOP, "a1")]


async def test_sweeper_leaves_those_who_are_there_alone(chat: Chat) -> None:
    await chat.add_agent("a1")
    held = (await chat.buyer("b1").write("在吗?"))["conversation_id"]
    await chat.assigned(held, "a1")

    swept: Swept = await chat.service.submit(SweepAgent(shop_id=SHOP, agent_id="a1"))

    assert swept.handed_back == 0


async def test_agents_set_their_own_presence_and_supervisors_anybodys(chat: Chat) -> None:
    await chat.add_agent("a1")
    path, body = "/agents/a1/presence", {"presence": "suspended"}

    other = await chat.agent("a2").call("PUT", path, json=body)
    buyer = await chat.buyer("b1").call("PUT", path, json=body)
    leader = await chat.supervisor.call("PUT", path, json=body)

    assert (other.status_code, buyer.status_code, leader.status_code) == (403, 403, 200)
    assert await presence_of(chat, "a1") == "suspended"
