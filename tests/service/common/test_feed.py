"""Feeds end to end: numbered in the transaction, pushed live, resumed from the database."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from common.bus.embedded import EmbeddedTail
from common.contracts import Message
from common.db.database import Database
from common.runtime import Service
from common.runtime.feed import Follower, Overrun
from tests.support.harness import idle, publish, running, until
from tests.support.tally.reading import delivered, review, rows
from tests.support.tally.service import TALLY


async def test_a_socket_gets_what_it_missed_and_then_what_happens_once_each(
    tmp_path: Path, database_url: str
) -> None:
    async with running(TALLY, tmp_path, database_url) as service:
        await publish(service.bus, *(review(n, product=f"p{n % 4}") for n in range(20)))
        await idle(service)
        with service.feed.listen("s1", ["shop", "product:p1"]) as listener:
            follower = Follower(service.feed, listener, {"shop": 5, "product:p1": 0})
            await publish(service.bus, *(review(n, product=f"p{n % 4}") for n in range(20, 40)))
            found = [item async for item in follower.catch_up(page=3)]
            async with asyncio.timeout(30):
                while len(found) < 35 + 10:
                    found += await follower.next()
        assert [i.seq for i in found if i.receiver == "shop"] == list(range(6, 41))
        assert [i.seq for i in found if i.receiver == "product:p1"] == list(range(1, 11))
        assert await service.feed.heads("s1", ["shop", "agent:new"]) == {
            "shop": 40,
            "agent:new": 0,
        }


async def test_numbers_of_a_receiver_have_no_gaps_though_replicas_write_at_once(
    tmp_path: Path, database_url: str
) -> None:
    async with running(TALLY, tmp_path, database_url, start=False) as service:
        batches = [[delivered(review(n, product=f"p{n}"), n)] for n in range(30)]
        await asyncio.gather(*(service.runner.run(batch) for batch in batches))
        numbers = await rows(service, "SELECT seq FROM feed WHERE receiver = 'shop' ORDER BY seq")
        assert [seq for (seq,) in numbers] == list(range(1, 31))


async def test_what_is_committed_here_is_shown_before_the_bus_has_it(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(TALLY, tmp_path, database_url) as service:
        opened = asyncio.Event()
        publish_now = service.bus.publish

        async def publish_when_open(messages: Sequence[Message]) -> None:
            await opened.wait()
            await publish_now(messages)

        with service.feed.listen("s1", ["shop"]) as listener:
            follower = Follower(service.feed, listener, {})
            monkeypatch.setattr(service.bus, "publish", publish_when_open)
            await service.runner.run([delivered(review(n), n) for n in range(3)])
            async with asyncio.timeout(30):
                found = [item for _ in range(3) for item in await follower.next()]
            assert [item.seq for item in found] == [1, 2, 3]
            opened.set()
            service.wake(["relay"])
            await idle(service)
            assert listener.waiting() == []  # it came back over the bus and is not shown again


async def test_what_another_replica_commits_is_shown_here_over_the_bus(
    tmp_path: Path, pg_database: str
) -> None:
    async with running(TALLY, tmp_path, pg_database) as here:
        database = Database(here.database.url, TALLY.name, pool_size=1)
        elsewhere = Service(TALLY, here.settings, bus=here.bus, database=database)
        with here.feed.listen("s1", ["shop"]) as listener:
            follower = Follower(here.feed, listener, {})
            _, wakes = await elsewhere.runner.run([delivered(review(1), 1)])
            here.wake(wakes)
            async with asyncio.timeout(30):
                assert [item.seq for item in await follower.next()] == [1]
        await database.close()


async def test_another_shops_receiver_hears_nothing(tmp_path: Path, database_url: str) -> None:
    async with running(TALLY, tmp_path, database_url) as service:
        with (
            service.feed.listen("s2", ["shop"]) as foreign,
            service.feed.listen("s1", ["shop"]) as ours,
        ):
            await publish(service.bus, review(1))
            async with asyncio.timeout(30):
                await ours.next()
            assert foreign.waiting() == []
            assert await service.feed.since("s2", "shop", 0, 10) == []


async def test_a_lost_tail_makes_every_socket_resume(
    tmp_path: Path, sqlite_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was published while nobody tailed is in the database; the sockets are told to look."""
    async with running(TALLY, tmp_path, sqlite_database) as service:
        with service.feed.listen("s1", ["shop"]) as listener:
            poll = EmbeddedTail.poll
            broken = asyncio.Event()

            async def fail_once(tail: EmbeddedTail, *arguments: float) -> object:
                if not broken.is_set():
                    broken.set()
                    raise ConnectionError("the broker is out")
                return await poll(tail, *arguments)  # type: ignore[arg-type]

            monkeypatch.setattr(EmbeddedTail, "poll", fail_once)
            with pytest.raises(Overrun):
                async with asyncio.timeout(30):
                    await listener.next()
        with service.feed.listen("s1", ["shop"]) as listener:
            follower = Follower(service.feed, listener, {})
            await publish(service.bus, review(1))

            async def arrived() -> bool:
                return bool(await service.feed.since("s1", "shop", 0, 1))

            await until(arrived)
            async with asyncio.timeout(30):
                assert [item.seq for item in await follower.next()] == [1]
