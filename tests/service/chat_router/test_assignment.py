"""CR3 on a running service: assigned once, within capacity, oldest first, never lost."""

import asyncio
from collections import Counter
from typing import Any

import pytest

from chat_router.assignments import Routed, RouteShop
from chat_router.routing import Assignment
from chat_router.store import routing_reads
from common.contracts import ConversationAssigned, ConversationQueued, ConversationTransferred
from tests.support.harness import until

from .conftest import SHOP, Chat


async def states(chat: Chat, *, buyers: int) -> Counter[str]:
    """How many of these buyers' conversations are in which state."""
    found = [await chat.open_of(f"b{n}") for n in range(buyers)]
    return Counter(one["state"] for one in found if one is not None)


async def test_waiting_buyer_is_assigned_as_soon_as_an_agent_is_there(chat: Chat) -> None:
    accepted = await chat.buyer("b1").write("在吗?")
    await chat.until_seen(ConversationQueued)

    await chat.add_agent("a1")

    found = await chat.assigned(accepted["conversation_id"], "a1")
    assert found["staff"]["previous_agent_id"] is None
    assigned = (await chat.until_seen(ConversationAssigned))[0]
    assert (assigned.agent_id, assigned.group_id, assigned.reason) == ("a1", "default", "group")


async def test_rush_never_exceeds_capacity_and_loses_nobody(chat: Chat) -> None:
    for agent_id, capacity in (("a1", 2), ("a2", 3)):
        await chat.add_agent(agent_id, capacity=capacity)

    await asyncio.gather(*(chat.buyer(f"b{n}").write("你好") for n in range(12)))

    async def settled() -> bool:
        return (await states(chat, buyers=12)) == {"assigned": 5, "queued": 7}

    await until(settled)
    agents = await chat.supervisor.get("/agents")
    held = {one["agent_id"]: one["open_conversations"] for one in agents["items"]}
    assert held == {"a1": 2, "a2": 3}
    assigned = await chat.seen(ConversationAssigned)
    assert len({one.conversation_id for one in assigned}) == len(assigned) == 5


async def test_oldest_is_served_first_when_an_agent_frees_up(chat: Chat) -> None:
    agent = await chat.add_agent("a1", capacity=1)
    ids = []
    for n in range(4):
        ids.append((await chat.buyer(f"b{n}").write("你好"))["conversation_id"])
        chat.clock.advance(seconds=1)

    for served in ids:
        await chat.assigned(served, "a1")
        answer = await agent.post(f"/conversations/{served}/close")
        assert answer.status_code == 200

    order = [one.conversation_id for one in await chat.until_seen(ConversationAssigned, 4)]
    assert order == ids


async def test_group_follows_the_order_situation_and_agents_serve_their_groups(
    chat: Chat,
) -> None:
    for group_id, situations in (("presale", ["none"]), ("aftersale", ["refund_open"])):
        await chat.supervisor.put(
            f"/groups/{group_id}", {"name": group_id, "order_states": situations}
        )
    await chat.add_agent("after", groups=["aftersale"])
    await chat.add_agent("pre", groups=["presale"])

    accepted = await chat.buyer("b1").write("想买外套")

    found = await chat.assigned(accepted["conversation_id"])
    assert (found["group_id"], found["agent_id"]) == ("presale", "pre")


async def test_buyer_comes_back_to_the_agent_of_the_day_even_if_suspended(chat: Chat) -> None:
    first = await chat.add_agent("a1")
    buyer = chat.buyer("b1")
    accepted = await buyer.write("在吗?")
    await chat.assigned(accepted["conversation_id"], "a1")
    await first.post(f"/conversations/{accepted['conversation_id']}/close")
    await chat.add_agent("a2")
    await first.be("suspended")

    again = await buyer.write("又是我")

    await chat.assigned(again["conversation_id"], "a1")
    reasons = [one.reason for one in await chat.until_seen(ConversationAssigned, 2)]
    assert reasons == ["group", "last_agent"]


async def test_reopened_chat_never_goes_to_an_agent_who_is_offline(chat: Chat) -> None:
    first = await chat.add_agent("a1")
    buyer = chat.buyer("b1")
    accepted = await buyer.write("在吗?")
    await chat.assigned(accepted["conversation_id"], "a1")
    await first.post(f"/conversations/{accepted['conversation_id']}/close")
    await first.be("offline")
    await chat.add_agent("a2")

    again = await buyer.write("又是我")

    await chat.assigned(again["conversation_id"], "a2")


async def test_decision_made_before_another_one_does_nothing(chat: Chat) -> None:
    """Two replicas that both believe to be the router: the second finds the fence moved."""
    await chat.add_agent("a1", capacity=1)
    first = (await chat.buyer("b1").write("甲"))["conversation_id"]
    await chat.assigned(first, "a1")
    second = (await chat.buyer("b2").write("乙"))["conversation_id"]
    await chat.until_seen(ConversationQueued)

    decided_long_ago = RouteShop(
        shop_id=SHOP,
        decided_at_round=0,
        assignments=(Assignment(conversation_id=second, agent_id="a1", reason="group"),),
    )
    routed: Routed = await chat.service.submit(decided_long_ago)

    assert routed.is_stale
    assert (await chat.conversation(second))["state"] == "queued"


@pytest.mark.parametrize("presence", ["offline", "away", "suspended"])
async def test_decision_for_an_agent_who_left_meanwhile_does_nothing(
    chat: Chat, presence: str
) -> None:
    agent = await chat.add_agent("a1", capacity=0)
    waiting = (await chat.buyer("b1").write("甲"))["conversation_id"]
    await chat.until_seen(ConversationQueued)
    await agent.be(presence)

    assignment = Assignment(conversation_id=waiting, agent_id="a1", reason="group")
    routed = Routed(is_stale=True)
    rounds = 0
    while routed.is_stale:  # whatever the count is by now
        command = RouteShop(shop_id=SHOP, decided_at_round=rounds, assignments=(assignment,))
        routed = await chat.service.submit(command)
        rounds += 1

    assert routed.assigned == 0
    assert (await chat.conversation(waiting))["state"] == "queued"


# -- transfers ------------------------------------------------------------------------------


async def test_transfer_to_an_agent_hands_over_with_the_note(chat: Chat) -> None:
    first = await chat.add_agent("a1")
    accepted = await chat.buyer("b1").write("我要退货")
    path = f"/conversations/{accepted['conversation_id']}"
    await chat.assigned(accepted["conversation_id"], "a1")
    await chat.add_agent("a2")

    answer = await first.post(f"{path}/transfers", {"to_agent_id": "a2", "note": "已收到照片"})

    assert answer.status_code == 201
    found = await chat.assigned(accepted["conversation_id"], "a2")
    assert found["staff"]["previous_agent_id"] == "a1"
    told = (await chat.until_seen(ConversationTransferred))[0]
    assert (told.from_agent_id, told.to_agent_id, told.note) == ("a1", "a2", "已收到照片")
    reasons = [one.reason for one in await chat.until_seen(ConversationAssigned, 2)]
    assert reasons[-1] == "transfer"


async def test_transfer_to_a_group_does_not_come_straight_back(chat: Chat) -> None:
    await chat.supervisor.put("/groups/aftersale", {"name": "售后"})
    first = await chat.add_agent("a1")
    accepted = await chat.buyer("b1").write("我要退货")
    path = f"/conversations/{accepted['conversation_id']}"
    await chat.assigned(accepted["conversation_id"], "a1")
    await chat.supervisor.put("/agents/a1", {"capacity": 5, "groups": ["presale"]})
    await chat.add_agent("a2", groups=["aftersale"])

    await first.post(f"{path}/transfers", {"to_group_id": "aftersale"})

    found = await chat.assigned(accepted["conversation_id"], "a2")
    assert found["group_id"] == "aftersale"


async def test_transfer_keeps_the_place_in_the_queue(chat: Chat) -> None:
    first = await chat.add_agent("a1", capacity=1)
    oldest = (await chat.buyer("b1").write("我要退货"))["conversation_id"]
    await chat.assigned(oldest, "a1")
    chat.clock.advance(seconds=5)
    later = (await chat.buyer("b2").write("你好"))["conversation_id"]
    await chat.supervisor.put("/groups/default", {"name": "默认"})

    await first.post(f"/conversations/{oldest}/transfers", {"to_group_id": "default"})

    await chat.assigned(oldest)
    assert (await chat.conversation(later))["state"] == "queued"


@pytest.mark.parametrize("before", ["candidates", "queues"])
async def test_who_is_freed_while_the_router_reads_goes_to_the_oldest(
    chat: Chat, monkeypatch: pytest.MonkeyPatch, before: str
) -> None:
    """The router reads who is free, then who waits; meanwhile an agent hands on a buyer."""
    first = await chat.add_agent("a1", capacity=1)
    oldest = (await chat.buyer("b1").write("我要退货"))["conversation_id"]
    await chat.assigned(oldest, "a1")
    chat.clock.advance(seconds=5)
    await chat.supervisor.put("/groups/default", {"name": "默认"})
    read = getattr(routing_reads, before)
    handed_on = asyncio.Event()

    async def hand_on_first(*arguments: Any, **named: Any) -> Any:
        if not handed_on.is_set():
            path = f"/conversations/{oldest}/transfers"
            assert (await first.post(path, {"to_group_id": "default"})).is_success
            handed_on.set()
        return await read(*arguments, **named)

    monkeypatch.setattr(routing_reads, before, hand_on_first)
    later = (await chat.buyer("b2").write("你好"))["conversation_id"]
    async with asyncio.timeout(30):
        await handed_on.wait()
    await chat.assigned(oldest)
    assert (await chat.conversation(later))["state"] == "queued"


@pytest.mark.parametrize(
    "target, status, code",
    [
        ({"to_agent_id": "nobody"}, 404, "not_found"),
        ({"to_group_id": "nothing"}, 404, "not_found"),
        ({"to_agent_id": "gone"}, 409, "agent_not_there"),
        ({"to_agent_id": "a1"}, 422, "invalid_input"),
        ({}, 422, "invalid_input"),
    ],
)
async def test_transfer_to_nowhere_is_refused_and_changes_nothing(
    chat: Chat, target: dict[str, str], status: int, code: str
) -> None:
    first = await chat.add_agent("a1")
    await (await chat.add_agent("gone")).be("offline")
    accepted = await chat.buyer("b1").write("我要退货")
    await chat.assigned(accepted["conversation_id"], "a1")

    answer = await first.post(f"/conversations/{accepted['conversation_id']}/transfers", target)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert (await chat.conversation(accepted["conversation_id"]))["agent_id"] == "a1"


async def test_supervisor_may_transfer_what_is_not_theirs(chat: Chat) -> None:
    await chat.add_agent("a1")
    accepted = await chat.buyer("b1").write("我要投诉")
    await chat.assigned(accepted["conversation_id"], "a1")
    await chat.add_agent("a2")
    path = f"/conversations/{accepted['conversation_id']}/transfers"

    refused = await chat.agent("a2").post(path, {"to_agent_id": "a2"})
    done = await chat.supervisor.post(path, {"to_agent_id": "a2"})

    assert (refused.status_code, done.status_code) == (403, 201)
    await chat.assigned(accepted["conversation_id"], "a2")


# -- the queue ------------------------------------------------------------------------------


async def test_buyer_sees_position_and_expected_wait(chat: Chat) -> None:
    agent = await chat.add_agent("a1", capacity=1)
    for n in range(3):
        await chat.buyer(f"b{n}").write("你好")
        chat.clock.advance(seconds=10)

    async def place(buyer_id: str) -> tuple[int | None, float | None]:
        found = await chat.buyer(buyer_id).get("/queue")
        return found["position"], found["expected_wait_seconds"]

    served = await chat.open_of("b0")
    assert served is not None
    await chat.assigned(served["conversation_id"], "a1")
    assert await place("b0") == (None, None)
    assert await place("b1") == (1, 1800.0)
    assert await place("b2") == (2, 3600.0)

    await agent.post(f"/conversations/{served['conversation_id']}/close")

    async def moved_up() -> bool:
        return await place("b2") == (1, 900.0)

    await until(moved_up)

    async def told() -> bool:
        queued = [one for one in await chat.seen(ConversationQueued) if one.buyer_id == "b2"]
        return [one.position for one in queued] == [2, 1]

    await until(told)


async def test_vip_buyer_goes_first(chat: Chat) -> None:
    await chat.supervisor.put("/buyers/vip", {"priority": 5, "tags": ["VIP"]})
    agent = await chat.add_agent("a1", capacity=1)
    ids = {}
    for buyer_id in ("b0", "b1", "vip"):
        ids[buyer_id] = (await chat.buyer(buyer_id).write("你好"))["conversation_id"]
        chat.clock.advance(seconds=1)
    await chat.assigned(ids["b0"], "a1")

    await agent.post(f"/conversations/{ids['b0']}/close")

    await chat.assigned(ids["vip"], "a1")
    assert (await chat.conversation(ids["b1"]))["state"] == "queued"


async def test_buyer_who_is_no_vip_any_more_waits_in_turn(chat: Chat) -> None:
    await chat.supervisor.put("/groups/default", {"name": "默认", "priority": 1})
    await chat.supervisor.put("/buyers/vip", {"priority": 5})
    agent = await chat.add_agent("a1", capacity=1)
    ids = {}
    for buyer_id in ("b0", "b1", "vip"):
        ids[buyer_id] = (await chat.buyer(buyer_id).write("你好"))["conversation_id"]
        chat.clock.advance(seconds=1)
    await chat.assigned(ids["b0"], "a1")

    await chat.supervisor.put("/buyers/vip", {"priority": 0})
    await agent.post(f"/conversations/{ids['b0']}/close")

    await chat.assigned(ids["b1"], "a1")
    assert (await chat.conversation(ids["vip"]))["state"] == "queued"


async def test_buyer_handed_to_an_urgent_group_goes_first(chat: Chat) -> None:
    await chat.supervisor.put("/groups/default", {"name": "默认"})
    await chat.supervisor.put("/groups/complaints", {"name": "投诉", "priority": 5})
    agent = await chat.add_agent("a1", capacity=1)
    ids = {}
    for buyer_id in ("b0", "b1", "upset"):
        ids[buyer_id] = (await chat.buyer(buyer_id).write("你好"))["conversation_id"]
        chat.clock.advance(seconds=1)
    await chat.assigned(ids["b0"], "a1")

    path = f"/conversations/{ids['upset']}/transfers"
    await chat.supervisor.post(path, {"to_group_id": "complaints"})
    await agent.post(f"/conversations/{ids['b0']}/close")

    await chat.assigned(ids["upset"], "a1")
    assert (await chat.conversation(ids["b1"]))["state"] == "queued"


async def test_message_box_is_worked_through_oldest_first_after_opening(chat: Chat) -> None:
    hours = [{"weekday": day, "opens": "09:00", "closes": "22:00"} for day in range(7)]
    await chat.rules(hours=hours, closed_greeting_zh="现在打烊了")
    chat.clock.advance(hours=13)  # 23:00 shop time
    agent = await chat.add_agent("a1", capacity=1)
    ids = []
    for n in range(3):
        accepted = await chat.buyer(f"b{n}").write("有人吗?")
        ids.append(accepted["conversation_id"])
        chat.clock.advance(seconds=1)
    left = await chat.conversation(ids[0])
    assert left["state"] == "message_box"
    assert (await chat.messages(ids[0]))[1]["text"].startswith("现在打烊了")

    chat.clock.advance(hours=10, minutes=1)
    await agent.be("online")

    for one in ids:
        await chat.assigned(one, "a1")
        await agent.post(f"/conversations/{one}/close")
    assigned = await chat.until_seen(ConversationAssigned, 3)
    assert [one.conversation_id for one in assigned] == ids
    assert {one.reason for one in assigned} == {"message_box"}


async def test_queues_are_counted_per_group(chat: Chat) -> None:
    for n in range(3):
        await chat.buyer(f"b{n}").write("你好")

    found = await chat.supervisor.get("/queues")

    assert [(one["group_id"], one["state"], one["waiting"]) for one in found["items"]] == [
        ("default", "queued", 3)
    ]
