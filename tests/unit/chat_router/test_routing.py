"""CR3: never over capacity, never two agents, work-conserving, oldest first."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chat_router.routing import (
    Assignment,
    Candidate,
    Tiers,
    Waiting,
    assign,
    expected_wait,
    queue_order,
)

NOW = datetime(2026, 3, 2, 2, 0, tzinfo=UTC)
GROUPS = ("presale", "aftersale", "default")
AGENT_IDS = tuple(f"a{n}" for n in range(6))


def ago(**span: float) -> datetime:
    return NOW - timedelta(**span)


def waiting(name: str, **fields: Any) -> Waiting:
    known: dict[str, Any] = {
        "conversation_id": name,
        "group_id": "presale",
        "queued_at": ago(seconds=10),
        "waiting_since": ago(seconds=10),
    }
    return Waiting(**known | fields)


def agent(name: str, **fields: Any) -> Candidate:
    known: dict[str, Any] = {
        "agent_id": name,
        "presence": "online",
        "capacity": 5,
        "groups": ("presale",),
        "idle_since": ago(minutes=1),
    }
    return Candidate(**known | fields)


def routed(waiting: Sequence[Waiting], agents: Sequence[Candidate], **tiers: Any) -> dict[str, str]:
    decided = assign(waiting, agents, NOW, Tiers(**tiers))
    return {one.conversation_id: one.agent_id for one in decided}


def reason_of(waiting: Waiting, agents: Sequence[Candidate]) -> str | None:
    decided = assign([waiting], agents, NOW, Tiers())
    return decided[0].reason if decided else None


# -- properties -----------------------------------------------------------------------------

moments = st.integers(0, 10_000).map(lambda seconds: ago(seconds=seconds))
maybe_agent = st.none() | st.sampled_from(AGENT_IDS)


@st.composite
def some_waiting(draw: st.DrawFn) -> list[Waiting]:
    count = draw(st.integers(0, 12))
    return [
        Waiting(
            conversation_id=f"c{n}",
            group_id=draw(st.sampled_from(GROUPS)),
            rank=draw(st.integers(-2, 0)),
            queued_at=draw(moments),
            waiting_since=draw(moments),
            is_unanswered=draw(st.booleans()),
            wanted_agent_id=draw(maybe_agent) if draw(st.integers(0, 4)) == 0 else None,
            affinity_agent_id=draw(maybe_agent),
            affinity_at=draw(st.none() | st.integers(0, 100).map(lambda h: ago(hours=h))),
            dedicated_agent_id=draw(maybe_agent),
        )
        for n in range(count)
    ]


@st.composite
def some_agents(draw: st.DrawFn) -> list[Candidate]:
    chosen = draw(st.lists(st.sampled_from(AGENT_IDS), unique=True))
    return [
        Candidate(
            agent_id=name,
            presence=draw(st.sampled_from(["online", "suspended"])),
            capacity=draw(st.integers(0, 4)),
            weight=draw(st.sampled_from([0.5, 1.0, 2.0])),
            groups=tuple(draw(st.lists(st.sampled_from(GROUPS), unique=True))),
            open=(held := draw(st.integers(0, 5))),
            unanswered=draw(st.integers(0, held)),
            idle_since=draw(moments),
        )
        for name in chosen
    ]


def serves(one: Candidate, group_id: str) -> bool:
    return not one.groups or group_id in one.groups


@settings(max_examples=100)
@given(some_waiting(), some_agents())
def test_nobody_is_given_more_than_their_capacity(
    queue: list[Waiting], agents: list[Candidate]
) -> None:
    before = {one.agent_id: one.open for one in agents}
    given_to = Counter(one.agent_id for one in assign(queue, agents, NOW, Tiers()))
    for one in agents:
        room = max(0, one.capacity - before[one.agent_id])
        assert given_to[one.agent_id] <= room


@settings(max_examples=100)
@given(some_waiting(), some_agents())
def test_no_conversation_goes_to_two_agents_and_every_agent_is_there(
    queue: list[Waiting], agents: list[Candidate]
) -> None:
    decided = assign(queue, agents, NOW, Tiers())
    assert len({one.conversation_id for one in decided}) == len(decided)
    assert {one.conversation_id for one in decided} <= {one.conversation_id for one in queue}
    assert {one.agent_id for one in decided} <= {one.agent_id for one in agents}


@settings(max_examples=100)
@given(some_waiting(), some_agents())
def test_nobody_waits_in_a_group_in_which_somebody_is_free(
    queue: list[Waiting], agents: list[Candidate]
) -> None:
    assigned = {one.conversation_id for one in assign(queue, agents, NOW, Tiers())}
    there = {one.agent_id for one in agents}
    free = [one for one in agents if one.presence == "online" and one.open < one.capacity]
    for left in queue:
        if left.conversation_id in assigned:
            continue
        waits_for_target = (
            left.wanted_agent_id in there and NOW - left.waiting_since < Tiers().transfer_wait
        )
        assert waits_for_target or not any(serves(one, left.group_id) for one in free)


@settings(max_examples=100)
@given(some_waiting(), some_agents())
def test_older_ones_go_first_within_a_priority(
    queue: list[Waiting], agents: list[Candidate]
) -> None:
    plain = [
        Waiting(
            conversation_id=one.conversation_id,
            group_id=one.group_id,
            rank=one.rank,
            queued_at=one.queued_at,
            waiting_since=one.waiting_since,
        )
        for one in queue
    ]
    assigned = {one.conversation_id for one in assign(plain, agents, NOW, Tiers())}
    for group_id in GROUPS:
        ordered = sorted((o for o in plain if o.group_id == group_id), key=queue_order)
        placed = [one.conversation_id in assigned for one in ordered]
        assert placed == sorted(placed, reverse=True)


@settings(max_examples=60)
@given(some_waiting(), some_agents(), st.randoms())
def test_decision_does_not_depend_on_the_order_of_what_was_read(
    queue: list[Waiting], agents: list[Candidate], random: Any
) -> None:
    import copy

    shuffled = random.sample(queue, len(queue))
    others = random.sample(copy.deepcopy(agents), len(agents))
    assert assign(queue, agents, NOW, Tiers()) == assign(shuffled, others, NOW, Tiers())


@settings(max_examples=60)
@given(some_waiting(), some_agents())
def test_heaps_choose_as_a_plain_search_does(queue: list[Waiting], agents: list[Candidate]) -> None:
    import copy

    plain = [
        Waiting(
            conversation_id=one.conversation_id,
            group_id=one.group_id,
            queued_at=one.queued_at,
            waiting_since=one.waiting_since,
            is_unanswered=one.is_unanswered,
        )
        for one in queue
    ]
    expected = plain_search(plain, copy.deepcopy(agents))
    assert assign(plain, agents, NOW, Tiers()) == expected


def plain_search(queue: list[Waiting], agents: list[Candidate]) -> list[Assignment]:
    decided = []
    for one in sorted(queue, key=queue_order):
        fit = [
            a
            for a in agents
            if a.presence == "online" and a.open < a.capacity and serves(a, one.group_id)
        ]
        if fit:
            best = min(
                fit,
                key=lambda a: (
                    a.unanswered / a.weight,
                    a.open / a.weight,
                    a.idle_since,
                    a.agent_id,
                ),
            )
            best.open += 1
            best.unanswered += one.is_unanswered
            best.idle_since = NOW
            decided.append(
                Assignment(
                    conversation_id=one.conversation_id, agent_id=best.agent_id, reason="group"
                )
            )
    return decided


# -- rules ----------------------------------------------------------------------------------


def test_last_agent_within_24_hours_is_chosen_even_when_suspended() -> None:
    one = waiting("c1", affinity_agent_id="a1", affinity_at=ago(hours=23))
    agents = [agent("a1", presence="suspended", open=3), agent("a2")]

    assert routed([one], agents) == {"c1": "a1"}


@pytest.mark.parametrize(
    "hours, presence, chosen",
    [
        (23.9, "suspended", "a1"),
        (24.1, "suspended", "a2"),
        (24.1, "online", "a1"),
        (71.9, "online", "a1"),
        (72.1, "online", "a2"),
    ],
)
def test_tiers_of_last_agent_affinity(hours: float, presence: str, chosen: str) -> None:
    one = waiting("c1", affinity_agent_id="a1", affinity_at=ago(hours=hours))
    agents = [agent("a1", presence=presence, open=3, unanswered=3), agent("a2")]

    assert routed([one], agents) == {"c1": chosen}


def test_last_agent_who_is_offline_is_passed_over() -> None:
    one = waiting("c1", affinity_agent_id="gone", affinity_at=ago(hours=1))

    assert routed([one], [agent("a2")]) == {"c1": "a2"}


def test_last_agent_who_is_full_is_passed_over_and_not_waited_for() -> None:
    one = waiting("c1", affinity_agent_id="a1", affinity_at=ago(hours=1))

    assert routed([one], [agent("a1", capacity=2, open=2), agent("a2")]) == {"c1": "a2"}


def test_last_agent_goes_before_the_dedicated_one() -> None:
    one = waiting("c1", affinity_agent_id="a1", affinity_at=ago(hours=1), dedicated_agent_id="a2")

    assert routed([one], [agent("a1"), agent("a2")]) == {"c1": "a1"}
    assert reason_of(one, [agent("a2")]) == "dedicated"


def test_dedicated_agent_is_not_bothered_when_suspended() -> None:
    one = waiting("c1", dedicated_agent_id="a1")

    assert routed([one], [agent("a1", presence="suspended"), agent("a2")]) == {"c1": "a2"}


def test_dedicated_agent_of_another_group_serves_the_buyer() -> None:
    one = waiting("c1", dedicated_agent_id="a1")

    assert routed([one], [agent("a1", groups=("aftersale",)), agent("a2")]) == {"c1": "a1"}


def test_fewest_unanswered_buyers_go_before_fewest_conversations() -> None:
    agents = [agent("a1", open=4, unanswered=0), agent("a2", open=2, unanswered=2)]

    assert routed([waiting("c1")], agents) == {"c1": "a1"}


def test_longest_idle_of_equals_is_chosen() -> None:
    agents = [agent("a1", idle_since=ago(minutes=1)), agent("a2", idle_since=ago(minutes=9))]

    assert routed([waiting("c1")], agents) == {"c1": "a2"}


def test_weight_two_takes_twice_the_buyers() -> None:
    agents = [agent("a1", weight=2.0, capacity=20), agent("a2", capacity=20)]

    shares = Counter(routed([waiting(f"c{n}") for n in range(12)], agents).values())

    assert shares == {"a1": 8, "a2": 4}


def test_suspended_agent_gets_no_new_buyers() -> None:
    assert routed([waiting("c1")], [agent("a1", presence="suspended")]) == {}


def test_agent_of_another_group_is_not_used() -> None:
    assert routed([waiting("c1")], [agent("a1", groups=("aftersale",))]) == {}


def test_agent_without_groups_serves_every_group() -> None:
    assert routed([waiting("c1", group_id="anything")], [agent("a1", groups=())]) == {"c1": "a1"}


def test_priority_goes_before_age() -> None:
    queue = [waiting("old", queued_at=ago(hours=1)), waiting("vip", rank=-5)]

    assert routed(queue, [agent("a1", capacity=1)]) == {"vip": "a1"}


def test_backlog_is_drained_oldest_first_when_an_agent_frees_up() -> None:
    queue = [waiting(f"c{n}", queued_at=ago(seconds=n)) for n in range(10)]

    assert routed(queue, [agent("a1", capacity=3)]) == {"c9": "a1", "c8": "a1", "c7": "a1"}


def test_full_group_does_not_hold_up_another_group() -> None:
    queue = [
        waiting("c1", queued_at=ago(hours=1)),
        waiting("c2", group_id="aftersale", queued_at=ago(seconds=1)),
    ]
    agents = [agent("a1", capacity=0), agent("a2", groups=("aftersale",))]

    assert routed(queue, agents) == {"c2": "a2"}


def test_transfer_goes_to_its_target_even_when_suspended() -> None:
    one = waiting("c1", wanted_agent_id="a2", wait_reason="transfer")
    agents = [agent("a1"), agent("a2", presence="suspended", groups=("aftersale",))]

    assert routed([one], agents) == {"c1": "a2"}
    assert reason_of(one, agents) == "transfer"


def test_transfer_waits_for_a_full_target_but_not_for_ever() -> None:
    agents = [agent("a1"), agent("a2", capacity=1, open=1)]
    fresh = waiting("c1", wanted_agent_id="a2", waiting_since=ago(seconds=119))
    stale = waiting("c1", wanted_agent_id="a2", waiting_since=ago(seconds=121))

    assert routed([fresh], agents) == {}
    assert routed([stale], agents) == {"c1": "a1"}


def test_transfer_to_somebody_who_left_goes_to_the_group() -> None:
    assert routed([waiting("c1", wanted_agent_id="gone")], [agent("a1")]) == {"c1": "a1"}


def test_dropped_conversation_keeps_its_reason() -> None:
    one = waiting("c1", wait_reason="agent_left")

    assert reason_of(one, [agent("a1")]) == "agent_left"


def test_expected_wait_follows_what_was_served_lately() -> None:
    half_an_hour = timedelta(minutes=30)

    assert expected_wait(3, 60, half_an_hour) == 90.0
    assert expected_wait(3, 0, half_an_hour) is None
