"""The sum guard: held and refunded never exceed what was paid, whatever races."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from aftersales.cases import LineNotInOrder, OverPaid
from aftersales.holds import (
    Hold,
    Part,
    Parts,
    parts_of_fact,
    reach,
    refundable,
    release,
    settle,
    split,
)
from aftersales.orders import FREIGHT, PaidLine, PaidOrder, paid_shares

from .shop import START

LINES = ("l1", "l2", "l3")


def an_order(paid: dict[str, int], freight: int = 0, paid_fen: int | None = None) -> PaidOrder:
    return PaidOrder(
        shop_id="demo",
        order_id="o1",
        known=True,
        buyer_id="b1",
        status="paid",
        paid_fen=sum(paid.values()) + freight if paid_fen is None else paid_fen,
        postage_fen=freight,
        lines=tuple(
            PaidLine(line_id=name, product_id="p", paid_fen=fen) for name, fen in paid.items()
        ),
        updated_at=START,
    )


def a_hold(parts: Parts, number: int = 1) -> Hold:
    return Hold(
        shop_id="demo",
        hold_id=f"h{number}",
        order_id="o1",
        case_id=f"k{number}",
        amount_fen=sum(part.fen for part in parts),
        parts=parts,
        state="held",
        held_at=START,
    )


class Racing(RuleBasedStateMachine):
    """Callers hold, the platform pays or refuses, in any order."""

    @initialize(
        paid=st.fixed_dictionaries({name: st.integers(0, 5_000) for name in LINES}),
        freight=st.integers(0, 1_000),
        deposit=st.none() | st.integers(0, 16_000),
    )
    def order_is_paid(self, paid: dict[str, int], freight: int, deposit: int | None) -> None:
        self.order = an_order(paid, freight, deposit)
        self.holds: list[Hold] = []

    @rule(line=st.none() | st.sampled_from(LINES), amount=st.integers(0, 8_000))
    def hold(self, line: str | None, amount: int) -> None:
        fits = amount <= reach(refundable(self.order, self.holds), line)
        try:
            parts = split(amount, line, self.order, self.holds)
        except OverPaid:
            assert not fits
            return
        assert fits
        assert sum(part.fen for part in parts) == amount
        assert {part.line_id for part in parts} <= {*LINES, FREIGHT}
        self.holds.append(a_hold(parts, len(self.holds)))

    @rule(which=st.integers(0, 50), paid=st.booleans(), less=st.integers(0, 100))
    def platform_answers(self, which: int, paid: bool, less: int) -> None:
        held = [hold for hold in self.holds if hold.state == "held"]
        if not held:
            return
        hold = held[which % len(held)]
        if not paid:
            release(hold, START)
            return
        others = [other for other in self.holds if other is not hold]
        settle(hold, max(0, hold.amount_fen - less), None, self.order, others, START)

    @invariant()
    def never_more_than_paid(self) -> None:
        if not hasattr(self, "order"):
            return
        shares = paid_shares(self.order)
        assert sum(shares.values()) == self.order.paid_fen
        for key, paid in shares.items():
            parts = (p for h in self.holds if h.counts for p in h.parts if p.line_id == key)
            assert sum(part.fen for part in parts) <= paid
        counted = sum(hold.amount_fen for hold in self.holds if hold.counts)
        assert counted <= self.order.paid_fen


TestRacing = Racing.TestCase
TestRacing.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)


@given(st.integers(0, 40_000), st.none() | st.sampled_from(LINES))
def test_money_that_has_gone_back_is_booked_to_the_last_fen(amount: int, line: str | None) -> None:
    order = an_order({"l1": 10_000, "l2": 5_000, "l3": 1}, 600)
    parts = parts_of_fact(amount, line, order, [])
    assert sum(part.fen for part in parts) == amount


def test_a_line_is_refunded_before_freight() -> None:
    order = an_order({"l1": 1_000, "l2": 500}, 300)
    assert split(900, "l1", order, []) == (Part("l1", 900),)
    assert split(1_200, "l1", order, []) == (Part("l1", 1_000), Part(None, 200))
    with pytest.raises(OverPaid) as refusal:
        split(1_301, "l1", order, [])
    assert refusal.value.extra["refundable_fen"] == 1_300


def test_a_whole_order_is_refunded_by_what_is_left_of_its_lines() -> None:
    order = an_order({"l1": 1_000, "l2": 500}, 300)
    first = a_hold((Part("l1", 700),))
    parts = split(1_100, None, order, [first])
    assert parts == (Part("l1", 300), Part("l2", 500), Part(None, 300))
    assert split(400, None, order, [first]) == (Part("l1", 150), Part("l2", 250))


def test_released_money_can_be_refunded_again() -> None:
    order = an_order({"l1": 1_000})
    hold = a_hold((Part("l1", 1_000),))
    with pytest.raises(OverPaid):
        split(1, "l1", order, [hold])
    release(hold, START)
    assert split(1_000, "l1", order, [hold]) == (Part("l1", 1_000),)


def test_a_deposit_is_all_that_a_step_order_can_give_back() -> None:
    order = an_order({"l1": 900, "l2": 100}, 0, paid_fen=101)
    assert paid_shares(order) == {"l1": 91, "l2": 10, FREIGHT: 0}
    with pytest.raises(OverPaid):
        split(102, None, order, [])


def test_a_line_that_the_order_does_not_have_is_refused() -> None:
    with pytest.raises(LineNotInOrder):
        split(1, "other", an_order({"l1": 10}), [])


def test_more_than_was_paid_leaves_nothing_for_others() -> None:
    order = an_order({"l1": 1_000, "l2": 500}, 0)
    fact = a_hold(parts_of_fact(1_400, "l1", order, []))
    assert reach(refundable(order, [fact]), "l2") == 100
