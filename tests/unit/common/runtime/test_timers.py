"""When a failed timer is tried again."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from common.runtime.timers import FIRST_RETRY_SECONDS, MAX_ATTEMPTS, retry_at

moments = st.datetimes(timezones=st.just(UTC), max_value=datetime(2200, 1, 1))  # noqa: DTZ001


@given(now=moments, attempts=st.integers(1, MAX_ATTEMPTS))
def test_each_pause_is_longer_than_the_one_before_and_starts_short(
    now: datetime, attempts: int
) -> None:
    pause = retry_at(attempts, now) - now
    assert pause >= timedelta(seconds=FIRST_RETRY_SECONDS)
    if attempts > 1:
        assert pause > retry_at(attempts - 1, now) - now


@given(now=moments)
def test_all_attempts_together_take_minutes_not_days(now: datetime) -> None:
    pauses = [retry_at(n, now) - now for n in range(1, MAX_ATTEMPTS)]
    assert timedelta(minutes=1) < sum(pauses, timedelta()) < timedelta(hours=1)
