"""Background loops: heartbeat, pauses, orderly stop; and the consumer's own limits."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.runtime.consumer import DeadLetterLimit, TooManyDeadLetters
from common.runtime.loops import Backoff, Loop


class Waiting(Loop):
    """Pauses for an hour, again and again."""

    def __init__(self) -> None:
        super().__init__("waiting")
        self.turns = 0

    async def run(self) -> None:
        while not self.stopping:
            self.turns += 1
            await self.pause(3600)


class Failing(Loop):
    async def run(self) -> None:
        raise RuntimeError("broken")


class Stubborn(Loop):
    async def run(self) -> None:
        await asyncio.sleep(3600)


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_wake_ends_the_present_pause_or_the_next_one() -> None:
    loop = Waiting()
    loop.wake()
    loop.start()
    await settled()
    assert loop.turns == 2  # woken before its first pause
    loop.wake()
    await settled()
    assert loop.turns == 3
    async with asyncio.timeout(10):
        await loop.stop(5)
    assert loop.turns == 3


async def test_a_loop_that_ends_by_itself_says_why() -> None:
    loop = Failing("failing")
    loop.start()
    await settled()
    assert loop.failure == "RuntimeError('broken')"
    await loop.stop(1)


async def test_a_loop_that_does_not_heed_is_cancelled_after_its_grace() -> None:
    loop = Stubborn("stubborn")
    loop.start()
    await settled()
    async with asyncio.timeout(10):
        await loop.stop(0.01)
    assert loop._task is not None
    assert loop._task.cancelled()


@given(first=st.floats(0.01, 1), limit=st.floats(1, 10))
def test_pauses_grow_up_to_the_limit_and_start_short_again(first: float, limit: float) -> None:
    backoff = Backoff(first, limit)
    pauses = [backoff.next() for _ in range(20)]
    assert all(0.5 * first <= pause <= limit for pause in pauses)
    assert all(pause >= limit / 2 for pause in pauses[-3:])
    backoff.reset()
    assert backoff.next() <= first


@given(bursts=st.lists(st.tuples(st.integers(0, 5), st.floats(0, 4000)), max_size=20))
def test_the_limit_counts_the_letters_of_one_hour(bursts: list[tuple[int, float]]) -> None:
    limit, now, written = DeadLetterLimit(10), 0.0, []
    for count, pause in bursts:
        now += pause
        written += [now] * count
        if sum(1 for at in written if at >= now - 3600) > 10:
            with pytest.raises(TooManyDeadLetters):
                limit.add(count, now)
            return
        limit.add(count, now)
