"""Spikes: is this more complaint than the orders explain? Pure statistics, no state.

Per stream (product and tag) complaints in the baseline follow a Poisson law whose rate per order
is uncertain (Gamma). What the window then shows follows the Gamma-Poisson predictive law, the
negative binomial, with the window's orders as exposure: a promotion raises the expectation with
the orders instead of raising an alarm. Over all streams of a shop Benjamini-Hochberg bounds the
share of false alarms among those that page somebody.

Only streams with complaints are handed in one by one. Those without, nearly all of them in a shop
of many products, count by their totals: they make a tag rare, and each is one more test.
"""

from collections.abc import Mapping, Sequence
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
    """Complaints per order assumed where a tag occurs, as long as nothing is known of it."""

    @property
    def history_days(self) -> int:
        """How many days back the test looks, today included."""
        return max(self.window_days + self.guard_days + self.baseline_days, self.lag_days)


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


class ShopTotals(msgspec.Struct, frozen=True, kw_only=True):
    """The whole shop that the streams with complaints are a part of.

    `products` had orders or complaints in the history, `tags` were complained of in it;
    `baseline_orders` are those of all products, whether anybody complained or not.
    """

    products: int
    tags: int
    baseline_orders: int

    @property
    def streams(self) -> int:
        """How many tests there are: any product may rise in any tag that is in use."""
        return self.products * self.tags


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What the test says about one stream. `level` None: nothing unusual."""

    stream: Stream
    expected: float
    exposure_orders: int
    p_value: float
    q_value: float
    level: SpikeLevel | None


def judge(streams: Sequence[Stream], totals: ShopTotals, rules: SpikeRules) -> list[Verdict]:
    """The verdict on each stream with complaints of one shop, in the order given.

    `totals` count these streams and all others, which get no verdict but are tests as well.
    """
    known = priors(streams, totals, rules)
    everywhere = _tested(streams, {tag: prior.everywhere for tag, prior in known.items()}, rules)
    there = _tested(streams, {tag: prior.where_it_occurs for tag, prior in known.items()}, rules)
    # What either can explain is no alarm.
    tested = [max(pair, key=_p_value) for pair in zip(everywhere, there, strict=True)]
    q_values = adjusted([p for p, _ in tested], totals.streams)
    return [
        Verdict(
            stream=stream,
            expected=law.shape * law.exposure / law.weight,
            exposure_orders=round(law.exposure),
            p_value=p,
            q_value=q,
            level=_level(p, q, rules),
        )
        for stream, (p, law), q in zip(streams, tested, q_values, strict=True)
    ]


class Prior(NamedTuple):
    """What is known of a stream before its own baseline: as good as `hits` among `orders`."""

    hits: float
    orders: float


class TagPriors(NamedTuple):
    """The two things that a tag's complaints in the whole shop say of any product.

    `everywhere`: the tag's rate over the orders of all products, as if all were alike.
    `where_it_occurs`: most tags belong to few products (a kettle does not pill). A product has
    the tag with the share of products that have it, and then at the rate found with those.
    """

    everywhere: Prior
    where_it_occurs: Prior


class _Law(NamedTuple):
    """Rate ~ Gamma(shape, weight orders); the window has `exposure` orders."""

    shape: float
    weight: float
    exposure: float


class _Tested(NamedTuple):
    p_value: float
    law: _Law


def _p_value(tested: _Tested) -> float:
    return tested.p_value


def _tested(
    streams: Sequence[Stream], known: Mapping[str, Prior], rules: SpikeRules
) -> list[_Tested]:
    laws = [_law(stream, known[stream.tag], rules) for stream in streams]
    return list(map(_Tested, _p_values(streams, laws, rules), laws))


def _law(stream: Stream, prior: Prior, rules: SpikeRules) -> _Law:
    return _Law(
        shape=prior.hits + stream.baseline_hits,
        weight=prior.orders + stream.exposure.baseline,
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


def priors(
    streams: Sequence[Stream], totals: ShopTotals, rules: SpikeRules
) -> dict[str, TagPriors]:
    """What the shop's baseline says of each tag that `streams` have.

    Complaints about a product whose orders are not known say nothing of a rate per order. They
    are left out: they would only make the others' complaints look usual.
    """
    found: dict[str, list[Stream]] = {stream.tag: [] for stream in streams}
    for stream in streams:
        if stream.baseline_hits > 0 and stream.exposure.baseline > 0:
            found[stream.tag].append(stream)
    return {tag: _tag_priors(of_tag, totals, rules) for tag, of_tag in found.items()}


def _tag_priors(complained: Sequence[Stream], totals: ShopTotals, rules: SpikeRules) -> TagPriors:
    unknown = rules.prior_hits / rules.prior_rate  # orders' worth of not knowing the rate
    hits = rules.prior_hits + sum(stream.baseline_hits for stream in complained)
    rate = hits / (unknown + totals.baseline_orders)
    # The rate of the others about the same product, as the average complaint finds it. A mean
    # over the products would sink with each that sells much and was complained of by chance.
    met = sum(
        stream.baseline_hits * (stream.baseline_hits - 1) / (unknown + stream.exposure.baseline)
        for stream in complained
    )
    # Most complaints are about the worst: they meet a Gamma rate's mean this many times over.
    above_mean = 1 + 1 / rules.prior_hits
    rate_there = (rules.prior_hits * rules.prior_rate + met / above_mean) / hits
    # Half a product more: a tag that no product had yet may be the next one's.
    share = (len(complained) + 0.5) / (totals.products + 1)
    return TagPriors(
        everywhere=Prior(rules.prior_hits, rules.prior_hits / rate),
        where_it_occurs=Prior(rules.prior_hits * share, rules.prior_hits / rate_there),
    )


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


def adjusted(p_values: Sequence[float], tests: int) -> list[float]:
    """Benjamini-Hochberg q-values: the false discovery rate at which each p would be found.

    `tests` is how many p-values there are in all; those not handed in are 1.
    """
    order = sorted(range(len(p_values)), key=p_values.__getitem__, reverse=True)
    q_values, least = [1.0] * len(p_values), 1.0
    for rank, position in zip(range(len(p_values), 0, -1), order, strict=True):
        least = min(least, p_values[position] * tests / rank)
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
