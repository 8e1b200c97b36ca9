"""The festival day: a pure function of its seed."""

from collections import defaultdict

import pytest

from kefu.load.curve import arrivals, peak_factor, rate
from kefu.load.festival import Festival, script_of
from kefu.load.figures import together
from kefu.replay.names import Names
from kefu.replay.plan import make_plan

DAY = Festival(buyers=400, minutes=4, seed=11, agents=("a1", "a2", "a3"))


def test_the_same_seed_is_the_same_day_and_another_seed_another() -> None:
    assert script_of(DAY) == script_of(DAY)
    other = Festival(buyers=400, minutes=4, seed=12, agents=DAY.agents)
    assert script_of(other).digest != script_of(DAY).digest


def test_the_peak_is_five_to_eight_times_the_average_and_around_eight_in_the_evening() -> None:
    assert 5 <= peak_factor() <= 8
    assert max(range(240), key=lambda tenth: rate(tenth / 10)) in range(195, 206)


def test_arrivals_follow_the_curve() -> None:
    import random

    hours = arrivals(4000, random.Random(1))
    assert list(hours) == sorted(hours)
    rush = sum(19.5 <= hour < 20.5 for hour in hours)
    assert 5 < rush / (len(hours) / 24) < 8
    assert all(0 <= hour <= 24 for hour in hours)


def test_everybody_comes_within_the_day_and_every_kind_of_story_is_told() -> None:
    lines = [one.line for one in script_of(DAY).lines]
    buyers = {line.buyer for line in lines if line.buyer}
    assert len(buyers) == DAY.buyers
    firsts = {line.buyer: line.at for line in reversed(lines) if line.buyer}
    assert max(firsts.values()) <= DAY.seconds + 1
    kinds = {one.action for one in script_of(DAY).lines}
    assert kinds >= {
        "policy", "turns", "order", "pay", "jumbled", "again", "refund", "returned", "case",
        "review", "presence",
    }  # fmt: skip


def test_some_buyers_write_twice_before_an_answer() -> None:
    dialogues = [line.turns for one in script_of(DAY).lines if (line := one.line).turns]
    twice = [t for t in dialogues if [u.sender for u in t][:2] == ["buyer", "buyer"]]
    assert 0.15 < len(twice) / len(dialogues) < 0.6


def test_staff_who_drop_off_come_back() -> None:
    moves: dict[str, list[str]] = defaultdict(list)
    for one in script_of(DAY).lines:
        if one.line.presence is not None:
            moves[str(one.line.agent)].append(one.line.presence)
    assert moves == {agent: ["dropped", "online"] for agent in DAY.agents}


def test_in_a_storm_many_orders_are_paid_around_the_time_of_their_reminder() -> None:
    by_buyer: dict[str, list[float]] = defaultdict(list)
    for one in script_of(DAY).lines:
        if one.line.buyer and one.line.buyer.startswith("s"):
            by_buyer[one.line.buyer].append(one.line.at)
    waits = [paid - made for made, paid in by_buyer.values()]
    assert len(waits) == pytest.approx(60, abs=1)
    assert all(3.4 < wait < 8.6 for wait in waits)


def test_the_plan_of_a_day_keeps_each_buyers_lines_in_order() -> None:
    plan = make_plan(script_of(DAY), Names("run"))
    assert len(plan.phases) == 1
    for steps in plan.phases[0].lanes.values():
        numbers = [int(step.id[1:]) for step in steps]
        assert numbers == sorted(numbers)


def test_figures_of_all_agents_are_weighted_by_what_they_are_means_of() -> None:
    def figures(agent: str | None, rounds: int, mean: float | None) -> dict[str, object]:
        return {
            "agent_id": agent, "rounds": rounds, "rounds_within_3min": rounds,
            "unanswered_rounds": 0, "average_response_seconds": mean,
            "average_first_response_seconds": mean, "buyers_received": rounds,
            "buyers_replied": rounds,
        }  # fmt: skip

    joined = together([figures("a1", 1, 10.0), figures("a2", 3, 2.0), figures(None, 2, None)])
    assert joined.rounds == 6
    assert joined.response_seconds == 4.0
    assert joined.rate_within_3min == 1.0
    assert together([]).rate_within_3min is None
