"""Spikes: is this more complaint than the orders explain? Pure statistics, no state.

Per stream (product and tag) complaints in the baseline follow a Poisson law whose rate per order
is uncertain (Gamma). What the window then shows follows the Gamma-Poisson predictive law, the
negative binomial, with the window's orders as exposure: a promotion raises the expectation with
the orders instead of raising an alarm. Over all streams of a shop Benjamini-Hochberg bounds the
share of false alarms among those that page somebody.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from common.contracts import SpikeLevel


class SpikeRules(msgspec.Struct, frozen=True, kw_only=True):
    """The shape of the test; per shop, with defaults that suit a shop of any size.

    Days are the shop's local days. Between baseline and window lies a guard gap, so that the
    beginning of a slow rise does not hide the rest of it.
    """

    window_days: int = 3
    guard_days: int = 4
    baseline_days: int = 28
    lag_days: int = 14
    """Complaints trail orders: a quiet window still has the complaints of earlier orders."""
    min_hits: int = 3
    page_fdr: float = 0.01
    digest_p: float = 0.001
    prior_hits: float = 0.5
    """Weight of the prior, in complaints' worth of knowledge."""
    prior_rate: float = 0.01
    """Complaints per order assumed of a tag nobody has used yet."""

    @property
    def history_days(self) -> int:
        """How many days back the test looks, today included."""
        return self.window_days + self.guard_days + self.baseline_days


class Exposure(msgspec.Struct, frozen=True, kw_only=True):
    """Orders of one product in the parts of the test's history."""

    window: int = 0
    lagged: int = 0
    baseline: int = 0


class Stream(msgspec.Struct, frozen=True, kw_only=True):
    """Complaints of one kind about one product, and the orders behind them.

    `buyers` is how many different buyers the window's hits come from, None when not looked up.
    """

    product_id: str
    tag: str
    window_hits: int
    baseline_hits: int
    exposure: Exposure
    buyers: int | None = None

    @property
    def hits(self) -> int:
        """The hits that count as evidence: one angry buyer is one, however often they write."""
        return self.window_hits if self.buyers is None else min(self.window_hits, self.buyers)


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What the test says about one stream. `level` None: nothing unusual."""

    stream: Stream
    expected: float
    exposure_orders: int
    p_value: float
    q_value: float
    level: SpikeLevel | None


def judge(streams: Sequence[Stream], rules: SpikeRules) -> list[Verdict]:
    """The verdict on every stream of one shop, in the order given."""
    rates = prior_rates(streams, rules)
    laws = [_law(stream, rates[stream.tag], rules) for stream in streams]
    p_values = _p_values(streams, laws, rules)
    return [
        Verdict(
            stream=stream,
            expected=law.shape * law.exposure / law.weight,
            exposure_orders=round(law.exposure),
            p_value=p,
            q_value=q,
            level=_level(p, q, rules),
        )
        for stream, law, p, q in zip(streams, laws, p_values, adjusted(p_values), strict=True)
    ]


class _Law(NamedTuple):
    """Rate ~ Gamma(shape, weight orders); the window has `exposure` orders."""

    shape: float
    weight: float
    exposure: float


def _law(stream: Stream, prior_rate: float, rules: SpikeRules) -> _Law:
    return _Law(
        shape=rules.prior_hits + stream.baseline_hits,
        weight=rules.prior_hits / prior_rate + stream.exposure.baseline,
        exposure=_window_orders(stream.exposure, rules),
    )


def _p_values(streams: Sequence[Stream], laws: Sequence[_Law], rules: SpikeRules) -> list[float]:
    """1 for a stream with too few hits to say anything: it still counts among those tested."""
    p_values = [1.0] * len(streams)
    tested = [n for n, stream in enumerate(streams) if stream.hits >= rules.min_hits]
    if tested:
        found = tail([streams[n].hits for n in tested], [laws[n] for n in tested])
        for n, p_value in zip(tested, found, strict=True):
            p_values[n] = p_value
    return p_values


def prior_rates(streams: Iterable[Stream], rules: SpikeRules) -> dict[str, float]:
    """Complaints per order of each tag over its streams: what to expect of a new product."""
    hits: dict[str, float] = {}
    orders: dict[str, float] = {}
    for stream in streams:
        hits[stream.tag] = hits.get(stream.tag, 0.0) + stream.baseline_hits
        orders[stream.tag] = orders.get(stream.tag, 0.0) + stream.exposure.baseline
    prior_orders = rules.prior_hits / rules.prior_rate
    return {tag: (hits[tag] + rules.prior_hits) / (orders[tag] + prior_orders) for tag in hits}


def tail(counts: Sequence[int], laws: Sequence[_Law]) -> list[float]:
    """P(X >= count) of the Gamma-Poisson predictive law, stream by stream; counts from 1.

    The tail of this negative binomial is the regularised incomplete beta function
    I_x(count, shape) with x = exposure / (weight + exposure).
    """
    # Loaded when first needed: most replicas never judge, and scipy is their largest import.
    from scipy.special import betainc

    shapes = [law.shape for law in laws]
    shares = [law.exposure / (law.weight + law.exposure) for law in laws]
    found: list[float] = betainc(counts, shapes, shares).tolist()
    return [min(1.0, max(0.0, p_value)) for p_value in found]


def adjusted(p_values: Sequence[float]) -> list[float]:
    """Benjamini-Hochberg q-values: the false discovery rate at which each p would be found."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__, reverse=True)
    q_values, least, total = [1.0] * len(p_values), 1.0, len(p_values)
    for rank, position in zip(range(total, 0, -1), order, strict=True):
        least = min(least, p_values[position] * total / rank)
        q_values[position] = least
    return q_values


def _level(p_value: float, q_value: float, rules: SpikeRules) -> SpikeLevel | None:
    if p_value >= rules.digest_p:
        return None
    # In a shop of few streams q alone would wake people for less than a digest mentions.
    return "page" if q_value <= rules.page_fdr else "digest"


def _window_orders(exposure: Exposure, rules: SpikeRules) -> float:
    """Orders that the window's complaints can be about: its own, or its share of recent ones.

    The larger of both, so that neither a promotion's rush nor the calm after it looks like a
    fault of the product; never less than one, as somebody did complain.
    """
    trailing = exposure.lagged * rules.window_days / rules.lag_days
    return max(float(exposure.window), trailing, 1.0)
