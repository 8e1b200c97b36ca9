"""The spike test: right tail, few false alarms, and real rises found."""

import math
import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feedback.spikes import Exposure, SpikeRules, Stream, Verdict, adjusted, judge

RULES = SpikeRules()
STREAMS = 1500
TRIPLED = 75


def stream(hits: int, baseline: int, exposure: tuple[int, int, int], tag: str = "t.a") -> Stream:
    window, lagged, before = exposure
    return Stream(
        product_id="p1",
        tag=tag,
        window_hits=hits,
        baseline_hits=baseline,
        exposure=Exposure(window=window, lagged=lagged, baseline=before),
    )


def verdict(hits: int, baseline: int, exposure: tuple[int, int, int]) -> Verdict:
    return judge([stream(hits, baseline, exposure)], RULES)[0]


def negative_binomial_tail(count: int, shape: float, share: float) -> float:
    """P(X >= count), by adding up what lies below."""
    below = sum(
        math.exp(
            math.lgamma(shape + k)
            - math.lgamma(shape)
            - math.lgamma(k + 1)
            + shape * math.log1p(-share)
            + k * math.log(share)
        )
        for k in range(count)
    )
    return 1.0 - below


@pytest.mark.parametrize(
    "hits,baseline,orders", [(3, 0, 100), (5, 10, 300), (12, 40, 900), (40, 200, 2000)]
)
def test_p_value_is_the_tail_of_the_predictive_law(hits: int, baseline: int, orders: int) -> None:
    found = verdict(hits, baseline, (orders, orders, 10 * orders))
    prior_rate = (baseline + 0.5) / (10 * orders + 50)
    weight = 0.5 / prior_rate + 10 * orders
    expected = negative_binomial_tail(hits, 0.5 + baseline, orders / (weight + orders))
    assert found.p_value == pytest.approx(expected, rel=1e-6)


def test_two_hits_never_raise_an_alarm_however_unlikely() -> None:
    assert verdict(2, 0, (5000, 5000, 50_000)).level is None


def test_one_buyer_who_complains_ten_times_is_one_complaint() -> None:
    loud = Stream(
        product_id="p1",
        tag="t.a",
        window_hits=10,
        baseline_hits=1,
        exposure=Exposure(window=100, lagged=400, baseline=1000),
        buyers=1,
    )
    assert judge([loud], RULES)[0].level is None


def test_ten_buyers_about_a_quiet_product_page() -> None:
    assert verdict(10, 2, (100, 400, 1000)).level == "page"


def test_the_same_rate_at_ten_times_the_orders_is_no_spike() -> None:
    assert verdict(30, 30, (1000, 1500, 1000)).level is None


def test_complaints_about_earlier_orders_count_against_those_orders() -> None:
    """The rush is over, its reviews arrive: 14 days of 4,000 orders explain them."""
    assert verdict(9, 30, (50, 4000, 9000)).level is None


def test_no_orders_at_all_is_an_exposure_of_one_not_a_certain_alarm() -> None:
    found = verdict(3, 0, (0, 0, 0))
    assert 0.0 < found.p_value < 1.0
    assert found.exposure_orders == 1


def test_no_streams_have_no_verdicts() -> None:
    assert judge([], RULES) == []


def test_a_page_is_never_weaker_than_a_digest() -> None:
    """Alone in its shop a stream has q = p: 1 % must not be enough to wake somebody."""
    found = verdict(3, 0, (20, 20, 0))
    assert found.q_value <= RULES.page_fdr
    assert found.p_value > RULES.digest_p
    assert found.level is None


def test_q_values_of_the_textbook_example() -> None:
    assert adjusted([0.01, 0.04, 0.03, 0.5]) == pytest.approx([0.04, 0.16 / 3, 0.16 / 3, 0.5])


@given(st.lists(st.floats(0, 1), max_size=40))
def test_q_values_are_never_below_their_p_values_and_keep_their_order(p: list[float]) -> None:
    q = adjusted(p)
    assert all(a >= b * (1 - 1e-12) for a, b in zip(q, p, strict=True))
    ranked = [q[n] for n in sorted(range(len(p)), key=p.__getitem__)]
    assert ranked == sorted(ranked)


def poisson(rng: random.Random, mean: float) -> int:
    if mean > 50:
        return max(0, round(rng.gauss(mean, math.sqrt(mean))))
    limit, product, count = math.exp(-mean), rng.random(), 0
    while product > limit:
        product *= rng.random()
        count += 1
    return count


class Shop:
    """A shop of many products, day by day, with its own random numbers."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.rates = [self.rng.lognormvariate(math.log(0.01), 0.8) for _ in range(STREAMS)]
        self.volumes = [self.rng.lognormvariate(math.log(60), 1.0) for _ in range(STREAMS)]

    def judged(self, *, volume: float = 1.0, tripled: int = 0) -> list[Verdict]:
        """One evaluation; `volume` multiplies the window's orders, `tripled` streams' rates."""
        return judge(
            [self._stream(n, volume, 3.0 if n < tripled else 1.0) for n in range(STREAMS)], RULES
        )

    def _stream(self, n: int, volume: float, factor: float) -> Stream:
        orders = [poisson(self.rng, self.volumes[n]) for _ in range(31)]
        window = [round(day * volume) for day in orders[:3]]
        return Stream(
            product_id=f"p{n}",
            tag="quality.pilling",
            window_hits=poisson(self.rng, factor * self.rates[n] * sum(window)),
            baseline_hits=poisson(self.rng, self.rates[n] * sum(orders[3:])),
            exposure=Exposure(
                window=sum(window),
                lagged=sum(window) + sum(orders[3:14]),
                baseline=sum(orders[3:]),
            ),
        )


def alarms(verdicts: Sequence[Verdict]) -> int:
    return sum(found.level == "page" for found in verdicts)


def naive_alarms(verdicts: Sequence[Verdict]) -> int:
    """What counting without exposure would ring: more than the mean plus three deviations."""
    rung = 0
    for found in verdicts:
        mean = found.stream.baseline_hits * 3 / 28
        rung += found.stream.window_hits > max(2.0, mean + 3 * math.sqrt(mean))
    return rung


def test_quiet_days_and_promotions_do_not_page() -> None:
    shop = Shop(seed=20250611)
    quiet = [shop.judged() for _ in range(5)]
    promotion = [shop.judged(volume=4.0) for _ in range(5)]
    assert sum(map(alarms, quiet)) <= 3
    assert sum(map(alarms, promotion)) <= 4
    assert sum(map(naive_alarms, promotion)) > 50 * max(1, sum(map(alarms, promotion)))


def test_tripled_rates_are_found_and_seldom_anything_else() -> None:
    shop = Shop(seed=42)
    days = [shop.judged(tripled=TRIPLED) for _ in range(10)]
    paged = {found.stream.product_id for day in days for found in day if found.level == "page"}
    tripled = {f"p{n}" for n in range(TRIPLED)}
    assert len(paged & tripled) >= 20
    assert len(paged - tripled) <= 3
