"""Alarms: one open spike per product and tag, and when the next one may be raised."""

from datetime import datetime, timedelta

import msgspec

from common.contracts import FeedbackSpiked, SpikeLevel
from feedback.days import day_after, day_start
from feedback.spikes import SpikeRules, Verdict


class Spike(msgspec.Struct, kw_only=True):
    """A stream that rose. `state`: open -> quiet (answered, may not ring again yet) -> past.

    There is at most one spike per stream that is not past. `window_start` and `window_end` are
    local days, both included.
    """

    shop_id: str
    spike_id: str
    product_id: str
    tag: str
    state: str
    level: SpikeLevel
    window_start: str
    window_end: str
    count: int
    expected: float
    exposure_orders: int
    baseline_hits: int
    baseline_orders: int
    p_value: float
    q_value: float
    task_id: str | None = None
    detected_at: datetime
    quiet_until: datetime | None = None
    ended_at: datetime | None = None
    version: int = 0


class SpikeWatch(msgspec.Struct, kw_only=True):
    """When a shop's streams were last judged, and how many: all products times all tags in use."""

    shop_id: str
    evaluated_at: datetime
    streams: int
    version: int = 0


def raised(
    shop_id: str, spike_id: str, verdict: Verdict, today: str, rules: SpikeRules, now: datetime
) -> Spike:
    """The spike that a verdict with a level opens."""
    spike = Spike(
        shop_id=shop_id,
        spike_id=spike_id,
        product_id=verdict.stream.product_id,
        tag=verdict.stream.tag,
        state="open",
        level=verdict.level or "digest",
        window_start=today,
        window_end=today,
        count=0,
        expected=0.0,
        exposure_orders=0,
        baseline_hits=0,
        baseline_orders=0,
        p_value=1.0,
        q_value=1.0,
        detected_at=now,
    )
    _measure(spike, verdict, today, rules)
    return spike


def follow(
    spike: Spike, verdict: Verdict | None, today: str, rules: SpikeRules, now: datetime
) -> bool:
    """What a new verdict means for a spike that is not past; True when it must page now.

    A digest spike that grows up to a page rings once more, with the new figures; one that is no
    longer unusual ends by itself. A paged spike waits for the answer of its task, then stays
    quiet until the complaints behind it have left the window.
    """
    if spike.state == "quiet":
        if spike.quiet_until is not None and now >= spike.quiet_until:
            _end(spike, now)
        return False
    if spike.level == "page":
        return False
    if verdict is None or verdict.level is None:
        _end(spike, now)
        return False
    if verdict.level == "page":
        spike.level = "page"
        _measure(spike, verdict, today, rules)
        return True
    return False


def hush(spike: Spike, rules: SpikeRules, now: datetime) -> None:
    """The spike was dealt with: the same complaints must not ring again."""
    if spike.state == "open":
        spike.state = "quiet"
        spike.quiet_until = now + timedelta(days=rules.window_days)


def spiked(spike: Spike) -> FeedbackSpiked:
    """The event that tells of a spike."""
    return FeedbackSpiked(
        shop_id=spike.shop_id,
        spike_id=spike.spike_id,
        product_id=spike.product_id,
        tag=spike.tag,
        window_start=day_start(spike.window_start),
        window_end=day_start(day_after(spike.window_end, 1)),
        count=spike.count,
        expected=spike.expected,
        exposure_orders=spike.exposure_orders,
        p_value=spike.p_value,
        q_value=spike.q_value,
        level=spike.level,
        detected_at=spike.detected_at,
    )


def _measure(spike: Spike, verdict: Verdict, today: str, rules: SpikeRules) -> None:
    spike.window_start = day_after(today, 1 - rules.window_days)
    spike.window_end = today
    spike.count = verdict.stream.window_hits
    spike.expected = verdict.expected
    spike.exposure_orders = verdict.exposure_orders
    spike.baseline_hits = verdict.stream.baseline_hits
    spike.baseline_orders = verdict.stream.exposure.baseline
    spike.p_value, spike.q_value = verdict.p_value, verdict.q_value


def _end(spike: Spike, now: datetime) -> None:
    spike.state, spike.ended_at = "past", now
