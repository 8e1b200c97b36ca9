"""Alarms: one at a time per stream, and again only when there is something new."""

from datetime import UTC, datetime, timedelta

from common.contracts import SpikeLevel
from feedback.alarms import Spike, follow, hush, raised, spiked
from feedback.spikes import Exposure, SpikeRules, Stream, Verdict

NOW = datetime(2026, 3, 2, 2, 0, tzinfo=UTC)
RULES = SpikeRules()
TODAY = "2026-03-02"


def verdict(level: SpikeLevel | None, hits: int = 9) -> Verdict:
    return Verdict(
        stream=Stream(
            product_id="coat",
            tag="quality.fading",
            window_hits=hits,
            baseline_hits=2,
            exposure=Exposure(window=100, lagged=400, baseline=900),
        ),
        expected=0.4,
        exposure_orders=100,
        p_value=1e-6,
        q_value=1e-4,
        level=level,
    )


def spike(level: SpikeLevel = "page") -> Spike:
    return raised("demo", "s1", verdict(level), TODAY, RULES, NOW)


def test_a_spike_names_its_window_and_figures() -> None:
    event = spiked(spike())
    assert (event.count, event.exposure_orders, event.level) == (9, 100, "page")
    assert event.window_start == datetime(2026, 2, 27, 16, 0, tzinfo=UTC)
    assert event.window_end == datetime(2026, 3, 2, 16, 0, tzinfo=UTC)


def test_an_open_page_does_not_ring_again() -> None:
    known = spike()
    assert not follow(known, verdict("page", hits=30), TODAY, RULES, NOW)
    assert (known.state, known.count) == ("open", 9)


def test_a_page_waits_for_its_answer_even_when_the_rise_is_over() -> None:
    known = spike()
    assert not follow(known, None, TODAY, RULES, NOW)
    assert known.state == "open"


def test_a_digest_that_grows_rings_once() -> None:
    known = spike("digest")
    assert not follow(known, verdict("digest"), TODAY, RULES, NOW)
    assert follow(known, verdict("page", hits=30), TODAY, RULES, NOW)
    assert (known.level, known.count) == ("page", 30)
    assert not follow(known, verdict("page", hits=31), TODAY, RULES, NOW)


def test_a_digest_that_is_over_ends_by_itself() -> None:
    known = spike("digest")
    follow(known, verdict(None), TODAY, RULES, NOW)
    assert (known.state, known.ended_at) == ("past", NOW)


def test_after_the_answer_the_stream_is_quiet_until_old_complaints_left_the_window() -> None:
    known = spike()
    hush(known, RULES, NOW)
    assert not follow(known, verdict("page"), TODAY, RULES, NOW + timedelta(days=2, hours=23))
    assert known.state == "quiet"
    follow(known, verdict("page"), "2026-03-05", RULES, NOW + timedelta(days=3))
    assert known.state == "past"
