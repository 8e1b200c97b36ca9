"""Two replicas of a service on one PostgreSQL database: one leads, the other takes over."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from common.bus.embedded import EmbeddedBus
from common.contracts import FeedbackTagged
from common.runtime import Service
from tests.support.harness import MovableClock, idle, make, publish, published, until
from tests.support.tally.reading import count_of, counts_of, review, rows, size_of
from tests.support.tally.service import TALLY, Add, ArmExpiry

LEADER_SESSIONS = "application_name = 'kefu-tally-leader' AND datname = current_database()"
LEADING = f"""
SELECT a.pid FROM pg_stat_activity AS a JOIN pg_locks AS l ON l.pid = a.pid
WHERE l.locktype = 'advisory' AND l.granted AND {LEADER_SESSIONS}
"""


class Pair:
    """Two replicas and the clock that both go by."""

    def __init__(self, replicas: list[Service], clock: MovableClock) -> None:
        self.replicas = replicas
        self.clock = clock

    @property
    def leaders(self) -> list[Service]:
        return [replica for replica in self.replicas if replica.leader.elected]

    async def leader(self) -> Service:
        async def elected() -> bool:
            return len(self.leaders) == 1

        await until(elected)
        return self.leaders[0]

    async def follower(self) -> Service:
        leader = await self.leader()
        return next(replica for replica in self.replicas if replica is not leader)


@pytest.fixture
async def pair(tmp_path: Path, pg_database: str) -> AsyncIterator[Pair]:
    clock = MovableClock()
    bus = EmbeddedBus(tmp_path / "bus.db")
    async with contextlib.AsyncExitStack() as stack:
        await bus.start()
        stack.push_async_callback(bus.close)
        replicas = []
        for _ in range(2):
            replica = await make(TALLY, tmp_path, pg_database, bus=bus, clock=clock)
            await replica.start()
            stack.push_async_callback(replica.stop)
            replicas.append(replica)
        yield Pair(replicas, clock)


async def test_only_one_replica_leads(pair: Pair) -> None:
    leader = await pair.leader()
    async with leader.database.read() as conn:
        found = (await conn.exec_driver_sql(LEADING)).all()
    assert len(found) == 1
    assert not (await pair.follower()).leader.elected


async def test_what_a_follower_commits_wakes_the_leaders_loops(pair: Pair) -> None:
    leader, follower = await pair.leader(), await pair.follower()
    heard: asyncio.Queue[str] = asyncio.Queue()
    wake = leader.leader._on_wake

    def note(loops: list[str]) -> None:
        for loop in loops:
            heard.put_nowait(loop)
        wake(loops)

    leader.leader._on_wake = note
    await follower.submit(ArmExpiry("s1", "p1", 0))
    async with asyncio.timeout(20):
        assert await heard.get() == "timers"


async def test_another_replica_takes_over_when_the_leaders_connection_dies(pair: Pair) -> None:
    """Events flow and timers are due while the office changes hands: each takes effect once."""
    old = await pair.leader()
    other = await pair.follower()
    await old.submit(Add("s1", "timed", 5))
    await old.submit(ArmExpiry("s1", "timed", 60))
    await publish(old.bus, *(review(n, product=f"p{n % 3}") for n in range(30)))
    # Held away from the office for a while, so that the other one gets it.
    old.leader._connect = _refused  # type: ignore[method-assign,assignment]
    await rows(other, f"SELECT pg_terminate_backend(pid) FROM ({LEADING}) AS held")

    async def changed() -> bool:
        return pair.leaders == [other]

    await until(changed)
    await publish(old.bus, *(review(n, product=f"p{n % 3}") for n in range(30, 60)))
    pair.clock.advance(seconds=61)

    async def fired() -> bool:
        return await count_of(other, "timed") == 0

    await until(fired)
    await idle(other)
    await _all_counted(other)
    assert await size_of(other, "timers") == 0
    assert await rows(other, "SELECT texts FROM tallies WHERE product_id = 'timed'") == [
        (["expired"],)
    ]
    assert isinstance(old.bus, EmbeddedBus)
    events = await published(old.bus, "kefu.feedback")
    names = {event.item_id for event in events if isinstance(event, FeedbackTagged)}
    assert counts_of(names, products=3) == [list(range(1, 21))] * 3


async def _all_counted(service: Service) -> None:
    async def counted() -> bool:
        return [await count_of(service, f"p{n}") for n in range(3)] == [20] * 3

    await until(counted)
    await idle(service)


async def _refused() -> None:
    raise ConnectionRefusedError("held away by the test")


async def test_both_replicas_take_their_share_of_the_events(pair: Pair) -> None:
    await publish(pair.replicas[0].bus, *(review(n, product=f"p{n}") for n in range(200)))
    await idle(pair.replicas[0])
    assert await size_of(pair.replicas[0], "tallies") == 200
    members: list[set[Any]] = [
        set(consumer._subscription._positions)  # type: ignore[attr-defined]
        for replica in pair.replicas
        for consumer in replica._loops.values()
        if consumer.name == "consumer"
    ]
    assert all(members)
    assert not members[0] & members[1]
