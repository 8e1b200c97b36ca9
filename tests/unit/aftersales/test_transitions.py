"""The state machines as data, and that nothing leaves an end."""

from typing import Any, get_args

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from aftersales.cases import TERMINAL, ActionNotAllowed, Actor, Case
from aftersales.transitions import (
    MACHINES,
    STATE_OF_STATUS,
    STATUS_RANK,
    agreeing,
    allowed,
    check,
)
from common.contracts import CaseState, RefundKind, RefundStatus
from common.errors import Forbidden, KefuError

from .shop import AGENT, BUYER_SELF, SENIOR, START, Shop, paid_order, snapshot


def a_case(kind: str = "return_and_refund", state: str = "wait_seller_agree", **other: Any) -> Case:
    fields: dict[str, Any] = {
        "shop_id": "demo",
        "case_id": "k1",
        "order_id": "o1",
        "line_id": None,
        "buyer_id": "b1",
        "platform": "taobao",
        "origin": "chat",
        "kind": kind,
        "phase": "onsale",
        "state": state,
        "state_since": START,
        "amount_fen": 100,
        "reason": "质量问题",
        "opened_at": START,
        "updated_at": START,
    }
    return Case(**(fields | other))


def test_all_six_platform_statuses_have_a_state_and_a_rank() -> None:
    assert set(STATE_OF_STATUS) == set(STATUS_RANK) == set(get_args(RefundStatus))
    assert set(STATE_OF_STATUS.values()) | {"refunding"} == set(get_args(CaseState))


@pytest.mark.parametrize("kind", get_args(RefundKind))
def test_nothing_leads_out_of_an_end_and_every_state_leads_to_one(kind: RefundKind) -> None:
    rows = MACHINES[kind]
    assert not [row for row in rows if row.source in TERMINAL]
    own = [row for row in rows if row.action != "mirror"]
    for state in {row.source for row in own} | {row.target for row in own}:
        reached, frontier = {state}, {state}
        while frontier:
            frontier = {r.target for r in own if r.source in frontier} - reached
            reached |= frontier
        assert reached & TERMINAL, state


@pytest.mark.parametrize("kind", get_args(RefundKind))
def test_an_action_leads_to_one_state_only(kind: RefundKind) -> None:
    steps = [(r.source, r.action) for r in MACHINES[kind] if r.action != "mirror"]
    assert len(steps) == len(set(steps))


def test_refunding_is_entered_by_an_agreement_and_left_by_the_platforms_word_only() -> None:
    for rows in MACHINES.values():
        assert {r.action for r in rows if r.target == "refunding"} == {"refund"}
        leaving = {r.action for r in rows if r.source == "refunding"}
        assert leaving == {"refunded", "refund_failed", "mirror"}


@pytest.mark.parametrize(
    "actor, actions",
    [
        (AGENT, ["agree_return"]),
        (SENIOR, ["agree_return", "refuse"]),
        (BUYER_SELF, ["withdraw"]),
        (Actor("o", "operations"), []),
    ],
)
def test_each_role_has_its_actions(actor: Actor, actions: list[str]) -> None:
    assert allowed(a_case(), actor) == actions


def test_a_wrong_role_is_forbidden_and_a_wrong_state_is_a_conflict() -> None:
    with pytest.raises(Forbidden):
        check(a_case(), "refuse", AGENT)
    with pytest.raises(ActionNotAllowed) as refusal:
        check(a_case(state="success"), "withdraw", BUYER_SELF)
    assert refusal.value.extra == {"state": "success", "allowed": []}


def test_agreeing_takes_goods_back_before_it_pays() -> None:
    assert agreeing(a_case("refund_only")) == "refund"
    assert agreeing(a_case()) == "agree_return"
    assert agreeing(a_case(state="wait_seller_confirm_goods")) == "refund"
    assert agreeing(a_case(state="seller_refuse_buyer")) == "agree_return"
    assert agreeing(a_case(state="seller_refuse_buyer", return_tracking_no="SF1")) == "refund"


class CaseLife(RuleBasedStateMachine):
    """Everybody does anything at any time; an end stays an end, and refunds never exceed."""

    def __init__(self) -> None:
        super().__init__()
        self.shop = Shop()
        self.shop.tell(paid_order())
        self.shop.tell(snapshot(kind="return_and_refund"))
        self.ended: str | None = None

    def attempt(self, name: str, *args: object) -> None:
        try:
            getattr(self.shop, name)(*args)
        except KefuError:
            return

    @rule(name=st.sampled_from(["agree", "refuse", "ship_return", "receive", "withdraw"]))
    def answer(self, name: str) -> None:
        self.attempt(name)

    @rule(intact=st.booleans())
    def receipt(self, intact: bool) -> None:
        self.attempt("receive", intact)

    @rule(good=st.booleans(), retryable=st.booleans(), which=st.integers(0, 9))
    def platform_answers(self, good: bool, retryable: bool, which: int) -> None:
        if commands := self.shop.commands:
            command = commands[which % len(commands)]
            if good:
                self.shop.succeed(command)
            else:
                self.shop.fail(command, retryable)

    @rule(
        status=st.sampled_from(get_args(RefundStatus)),
        minute=st.integers(0, 5),
        version=st.integers(1, 3),
    )
    def platform_says(self, status: str, minute: int, version: int) -> None:
        self.shop.tell(
            snapshot(status, minute=minute, refund_version=version, kind="return_and_refund")
        )

    @rule(hours=st.integers(1, 300))
    def time_passes(self, hours: int) -> None:
        self.shop.wait(hours=hours)

    @invariant()
    def an_end_stays_an_end(self) -> None:
        case = self.shop.case
        if self.ended is not None:
            assert case.state == self.ended
        if case.state in TERMINAL:
            self.ended = case.state
            assert case.closed_at is not None
            assert case.outcome is not None
            assert case.deadline_at is None

    @invariant()
    def history_is_complete_and_numbered(self) -> None:
        revisions = [entry.revision for entry in self.shop.history()]
        assert revisions == list(range(1, self.shop.case.revision + 1))

    @invariant()
    def paid_at_most_once(self) -> None:
        counted = [hold.amount_fen for hold in self.shop.holds if hold.counts]
        assert sum(counted) <= 10_000


TestCaseLife = CaseLife.TestCase
TestCaseLife.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
