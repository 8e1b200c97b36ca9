"""The plan: lanes, order, names that no other run shares."""

import json

from kefu.replay.names import Names
from kefu.replay.plan import Plan, make_plan
from kefu.replay.reading import parse_lines
from kefu.replay.script import Script


def _plan(*objects: object, run: str = "r1") -> Plan:
    lines = tuple(parse_lines(json.dumps(one).encode() for one in objects))
    return make_plan(Script("digest", lines), Names(run))


DIALOGUE = {"turns": [{"from": "buyer", "text": "在吗"}]}


def test_every_bare_dialogue_has_a_buyer_of_its_own() -> None:
    plan = _plan(DIALOGUE, DIALOGUE)
    assert plan.buyers == ["b00001.r1", "b00002.r1"]
    assert all(step.bare for step in plan.steps)


def test_what_one_buyer_does_stays_in_the_file_s_order_in_one_lane() -> None:
    plan = _plan(
        {"at": 9, "buyer": "li", "pay": "o1"},
        {"at": 1, "buyer": "wu", "pay": "o2"},
        {"at": 2, "buyer": "li", "sign": "o1"},
    )
    [phase] = plan.phases
    assert [step.action for step in phase.lanes["buyer:li.r1"]] == ["pay", "sign"]
    assert [step.action for step in phase.lanes["buyer:wu.r1"]] == ["pay"]


def test_a_barrier_begins_a_new_phase_and_policies_hold_from_the_start() -> None:
    plan = _plan(
        {"buyer": "li", "pay": "o1"},
        {"barrier": True},
        {"policy": {"reminders": {"stages": []}}},
        {"buyer": "li", "sign": "o1"},
        {"barrier": True},
    )
    assert [list(phase.lanes) for phase in plan.phases] == [["buyer:li.r1"], ["buyer:li.r1"]]
    assert plan.policy == {"reminders": {"stages": []}}


def test_the_same_file_and_run_give_the_same_plan_and_another_run_shares_no_name() -> None:
    first, again, other = _plan(DIALOGUE), _plan(DIALOGUE), _plan(DIALOGUE, run="r2")
    assert first == again
    assert not set(first.buyers) & set(other.buyers)
    assert Names("r1").action("L1", 2) != Names("r2").action("L1", 2)


def test_presence_is_the_agent_s_own_lane() -> None:
    plan = _plan({"agent": "xiaomei", "presence": "dropped"})
    assert list(plan.phases[0].lanes) == ["agent:xiaomei"]
    assert plan.buyers == []
