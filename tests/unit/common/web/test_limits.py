"""The rate limiter: exact in the long run, bounded in memory."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import RateLimited
from common.web.limits import Limiter


class Hand:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@given(
    st.floats(0.1, 1000),
    st.integers(1, 50),
    st.lists(st.floats(0, 2), max_size=200),
)
def test_no_key_ever_gets_more_than_burst_plus_rate_times_time(
    rate: float, burst: int, gaps: list[float]
) -> None:
    clock = Hand()
    limiter = Limiter(rate, burst, clock=clock)
    passed = 0
    for gap in gaps:
        clock.now += gap
        passed += limiter.wait("a") == 0
        assert passed <= burst + rate * (clock.now - 1000.0) + 1e-6


@given(st.floats(0.1, 1000), st.integers(1, 50))
def test_a_burst_passes_whole_and_the_wait_that_is_told_is_enough(rate: float, burst: int) -> None:
    clock = Hand()
    limiter = Limiter(rate, burst, clock=clock)
    assert [limiter.wait("a") for _ in range(burst)] == [0.0] * burst
    seconds = limiter.wait("a")
    assert 0 < seconds <= 1 / rate + 1e-6
    clock.now += seconds + 1e-6
    assert limiter.wait("a") == 0


def test_keys_do_not_share_a_bucket() -> None:
    limiter = Limiter(1, 1, clock=Hand())
    assert limiter.wait("a") == 0
    assert limiter.wait("b") == 0
    with pytest.raises(RateLimited) as refused:
        limiter.take("a")
    assert refused.value.retry_after == pytest.approx(1.0)


def test_memory_is_bounded_and_the_least_recent_key_goes_first() -> None:
    limiter = Limiter(1, 1, size=3, clock=Hand())
    for key in ("a", "b", "c", "d"):
        limiter.take(key)
    assert len(limiter) == 3
    assert limiter.wait("a") == 0, "a was forgotten, which favours it"
    assert limiter.wait("d") > 0


def test_a_refused_try_costs_nothing() -> None:
    clock = Hand()
    limiter = Limiter(1, 1, clock=clock)
    limiter.take("a")
    for _ in range(100):
        assert limiter.wait("a") > 0
    clock.now += 1.0
    assert limiter.wait("a") == 0
