"""What a benchmark's figures are held to."""

import pytest

from bench.measures import Finding, Series, figure_at_most, ratio_at_least


def finding(ours: list[float], peer: list[float]) -> Finding:
    return Finding(
        id="X",
        what="x",
        unit="x/s",
        ours=Series.of(ours),
        peer=Series.of(peer),
        mark=ratio_at_least(2),
    )


def test_what_is_compared_is_what_ran_in_the_same_round() -> None:
    """The machine was quick in one round and slow in the next: that is nobody's doing."""
    found = finding([200.0, 100.0, 100.0], [90.0, 49.0, 60.0])
    assert found.ratio == pytest.approx(100 / 49)
    assert found.reached


def test_a_run_without_a_partner_is_no_ratio() -> None:
    with pytest.raises(ValueError, match="zip"):
        _ = finding([1.0, 2.0], [1.0]).ratio


def test_a_mark_on_a_figure_needs_no_peer() -> None:
    held = figure_at_most(5, "s")
    found = Finding(id="X", what="x", unit="s", ours=Series.of([4.0, 6.0, 4.5]), mark=held)
    assert (found.ratio, found.reached) == (None, True)
