"""OO2: recovered revenue against the holdout group."""

import random
from collections.abc import Sequence

import pytest
from scipy import stats

from order_ops.recovered import Arm, recovered_revenue


def arm(paid: Sequence[float]) -> Arm:
    return Arm(len(paid), sum(p > 0 for p in paid), sum(paid), sum(p * p for p in paid))


REMINDED = [0, 38500, 0, 12900, 38500, 0, 25900, 0, 0, 38500]
HOLDOUT = [0, 0, 38500, 0, 0, 12900]


def test_the_interval_is_welchs() -> None:
    found = recovered_revenue(arm(REMINDED), arm(HOLDOUT))
    test = stats.ttest_ind(REMINDED, HOLDOUT, equal_var=False)
    bounds = test.confidence_interval(0.95)
    assert found.low_fen == pytest.approx(bounds.low * len(REMINDED))
    assert found.high_fen == pytest.approx(bounds.high * len(REMINDED))


def test_the_estimate_is_the_difference_per_order_times_the_reminded_orders() -> None:
    found = recovered_revenue(arm([100, 0]), arm([0, 0]))
    assert (found.per_order_fen, found.total_fen) == (50, 100)


def test_an_empty_arm_says_nothing() -> None:
    found = recovered_revenue(arm(REMINDED), arm([]))
    assert (found.total_fen, found.low_fen) == (None, None)


def test_one_order_in_an_arm_gives_no_interval() -> None:
    found = recovered_revenue(arm(REMINDED), arm([0]))
    assert found.total_fen is not None
    assert found.low_fen is None


def test_equal_outcomes_have_no_spread() -> None:
    found = recovered_revenue(arm([100, 100]), arm([100, 100]))
    assert (found.low_fen, found.total_fen, found.high_fen) == (0, 0, 0)


def test_the_interval_holds_the_truth_about_95_times_in_100() -> None:
    generator = random.Random(20260302)

    def draw(share: float, orders: int) -> Arm:
        return arm([38500.0 if generator.random() < share else 0.0 for _ in range(orders)])

    truth, hits = 0.1 * 38500 * 400, 0
    for _ in range(400):
        found = recovered_revenue(draw(0.4, 400), draw(0.3, 200))
        assert found.low_fen is not None
        assert found.high_fen is not None
        hits += found.low_fen <= truth <= found.high_fen
    assert 365 <= hits <= 395
