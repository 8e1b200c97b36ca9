"""The shipped demo: its day can be played as it stands, its shop is complete in both languages."""

from typing import Any

import pytest

from kefu.demo import DAY
from kefu.demo.day import text
from kefu.replay.names import Names
from kefu.replay.plan import make_plan
from kefu.replay.policy import AREAS, scaled
from kefu.replay.reading import read_script
from kefu.seed import catalogue, people, seed_file

FILES = ("shop", "staff", "products", "faq", "scripts")


def test_the_day_is_what_its_script_writes() -> None:
    assert DAY.read_text("utf-8") == text()


def test_the_day_has_every_kind_of_thing_in_it() -> None:
    plan = make_plan(read_script(DAY), Names("r1"))
    actions = {step.action for step in plan.steps}
    assert actions >= {
        "turns", "order", "pay", "ship", "sign", "cancel", "refund", "returned", "case", "review",
        "rate", "transfer", "tags", "memo", "presence", "wait",
    }  # fmt: skip
    presences = {step.line.presence for step in plan.steps if step.line.presence}
    assert presences >= {"dropped", "suspended", "online"}
    moves = {step.line.case.do for step in plan.steps if step.line.case}
    assert moves == {"agree", "refuse", "ship_back", "receive", "withdraw"}
    assert set(plan.policy) <= set(AREAS)


def test_the_day_sells_only_what_the_shop_has_and_moves_only_orders_that_were_made() -> None:
    plan = make_plan(read_script(DAY), Names("r1"))
    lines = [step.line for step in plan.steps]
    made = {line.order.id for line in lines if line.order}
    sold = {item.product for line in lines if line.order for item in line.order.items}
    assert sold <= set(catalogue())
    named = {line.pay or line.sign for line in lines if line.pay or line.sign}
    named |= {line.ship.order for line in lines if line.ship}
    named |= {line.case.order for line in lines if line.case}
    assert named <= made


@pytest.mark.parametrize("name", FILES)
def test_every_chinese_text_of_the_shop_has_english_beside_it(name: str) -> None:
    assert _pairs(seed_file(name)) > 0


def _pairs(node: Any) -> int:
    """How many texts there are; fails on one that lacks a language."""
    if isinstance(node, dict):
        if "zh" in node or "en" in node:
            assert node["zh"].strip(), node
            assert node["en"].strip(), node
            return 1
        return sum(_pairs(value) for value in node.values())
    return sum(map(_pairs, node)) if isinstance(node, list) else 0


def test_every_role_of_the_staff_has_somebody_and_every_group_agents() -> None:
    for role in ("agent", "senior_agent", "supervisor", "operations", "admin"):
        assert people(role)
    groups = {group["group_id"] for group in seed_file("staff")["groups"]}
    assert {group for one in people() for group in one["groups"]} == groups


def test_seconds_of_a_policy_shrink_with_speed_but_never_to_nothing() -> None:
    stages = [{"stage": 1, "earliest_seconds": 20, "text": "亲"}, {"latest_seconds": 3}]
    policy = {"stages": stages, "max_per_day": 3, "quiet_from": "00:00", "gap_seconds": 0}
    assert scaled(policy, 0.1) == {
        "stages": [{"stage": 1, "earliest_seconds": 2, "text": "亲"}, {"latest_seconds": 1}],
        "max_per_day": 3,
        "quiet_from": "00:00",
        "gap_seconds": 0,
    }
