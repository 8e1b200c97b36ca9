"""The database or the bus goes away while work arrives: refused clearly or done later, once."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Iterator
from pathlib import Path

import pytest
from aiokafka.errors import KafkaError

from common.bus.embedded import EmbeddedBus
from common.bus.kafka import KafkaBus
from common.contracts import FeedbackTagged, decode
from common.db import database as database_module
from common.db.faults import is_outage
from common.errors import Unavailable
from common.runtime import Idempotency, Service
from common.runtime.items import CommandItem
from tests.parts.errors import PartUnavailable
from tests.parts.kafka import QUICK_RETURN, KafkaNode
from tests.parts.node import Node
from tests.parts.postgres import PostgresNode
from tests.support.harness import idle, make, publish, published, running, until
from tests.support.tally.reading import count_of, counts_of, delivered, review, size_of
from tests.support.tally.service import TALLY, Add, Added

STATEMENT_SECONDS = 4


def started(node: Node) -> Iterator[Node]:
    try:
        with node:
            yield node
    except PartUnavailable as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresNode]:
    """A PostgreSQL of our own, to be stopped and paused."""
    for node in started(PostgresNode(own=True, fsync=False)):
        assert isinstance(node, PostgresNode)
        yield node


@pytest.fixture(scope="module")
def broker() -> Iterator[KafkaNode]:
    """A Kafka broker of our own, to be killed."""
    for node in started(KafkaNode(own=True, settings=QUICK_RETURN)):
        assert isinstance(node, KafkaNode)
        yield node


@pytest.fixture
async def service(
    server: PostgresNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Service]:
    monkeypatch.setattr(database_module, "STATEMENT_TIMEOUT_SECONDS", STATEMENT_SECONDS)
    async with running(TALLY, tmp_path, server.create_database()) as service:
        yield service
    assert isinstance(service.bus, EmbeddedBus)


async def refused_for_now(service: Service) -> float:
    """Submit until a command is refused because of the outage; how long that answer took."""
    while True:
        began = time.monotonic()
        answer = await _answer_of(service, Add("s1", "probe", 0))
        if isinstance(answer, Unavailable):
            assert answer.retry_after
            return time.monotonic() - began


async def _answer_of(service: Service, command: Add) -> Added | Unavailable:
    try:
        answer: Added = await service.submit(command)
    except Unavailable as refusal:
        return refusal
    return answer


async def accepted(service: Service, command: Add) -> Added:
    """Submit as a client that repeats what was refused, under one key."""
    key = Idempotency("scope", "once", "h")
    while True:
        try:
            answer: Added = await service.submit(command, key)
        except Unavailable:
            await asyncio.sleep(0.1)
        else:
            return answer


async def all_counted(service: Service, counts: dict[str, int]) -> None:
    async def done() -> bool:
        return {p: await count_of(service, p) for p in counts} == counts

    await until(done, seconds=60)
    await idle(service)


async def test_a_stopped_database_refuses_commands_and_delays_events(
    server: PostgresNode, service: Service
) -> None:
    await publish(service.bus, *(review(n, product=f"p{n % 3}") for n in range(30)))
    await asyncio.to_thread(server.stop)
    async with asyncio.timeout(30):
        await refused_for_now(service)
    await publish(service.bus, *(review(n, product=f"p{n % 3}") for n in range(30, 60)))
    with pytest.raises(Exception) as told:  # noqa: PT011 - a new connection or one from before
        await asyncio.wait_for(service.database.ping(), 30)
    assert is_outage(told.value)
    waiting = asyncio.create_task(accepted(service, Add("s1", "commanded", 5)))
    await asyncio.to_thread(server.start)
    async with asyncio.timeout(60):
        assert await waiting == Added(5)
    await all_counted(service, {"p0": 20, "p1": 20, "p2": 20, "commanded": 5})
    assert isinstance(service.bus, EmbeddedBus)
    events = await published(service.bus, "kefu.feedback")
    names = {event.item_id for event in events if isinstance(event, FeedbackTagged)}
    assert counts_of(names, products=3) == [list(range(1, 21))] * 3
    assert await size_of(service, "dead_letters") == 0
    assert service.stalled() == []


async def test_a_frozen_database_is_given_up_on_in_bounded_time(
    server: PostgresNode, service: Service
) -> None:
    """Connections stay open and nothing answers: the worst kind of outage."""
    await service.submit(Add("s1", "p0", 0))
    await asyncio.to_thread(server.pause)
    try:
        await publish(service.bus, *(review(n, product="p0") for n in range(20)))
        answers = await asyncio.wait_for(
            asyncio.gather(
                *(service.submit(Add("s1", f"x{n}", 1)) for n in range(5)), return_exceptions=True
            ),
            60,
        )
        assert all(isinstance(answer, Unavailable) for answer in answers)
        assert await refused_for_now(service) < 30
    finally:
        await asyncio.to_thread(server.resume)
    async with asyncio.timeout(60):
        assert await accepted(service, Add("s1", "commanded", 5)) == Added(5)
    await all_counted(service, {"p0": 20, "commanded": 5})
    assert await size_of(service, "dead_letters") == 0


async def test_what_a_frozen_database_left_unanswered_is_not_waited_for_again(
    server: PostgresNode, service: Service
) -> None:
    """To roll back would take a second time-out, and the caller longer than it waits."""
    await service.submit(Add("s1", "p0", 0))
    await service.database.ping()
    await asyncio.to_thread(server.pause)
    try:
        took = await asyncio.gather(
            _seconds_until_given_up(service.runner.run([CommandItem(Add("s1", "p0", 1))])),
            _seconds_until_given_up(service.database.ping()),
        )
    finally:
        await asyncio.to_thread(server.resume)
    assert max(took) < 1.9 * STATEMENT_SECONDS
    async with asyncio.timeout(60):
        assert await accepted(service, Add("s1", "p0", 5)) == Added(5)


async def _seconds_until_given_up(asking: Awaitable[object]) -> float:
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        await asking
    return time.monotonic() - began


async def test_events_wait_in_the_outbox_while_the_broker_is_dead(
    broker: KafkaNode, tmp_path: Path, sqlite_database: str
) -> None:
    bus = KafkaBus(broker.url, client_id="outage", session_timeout_ms=3_000)
    await bus.start()
    await bus.ensure_topics()
    service = await make(TALLY, tmp_path, sqlite_database, bus=bus)
    tail = await bus.tail(["kefu.feedback"])
    await service.start()
    await publish(bus, *(review(n, product=f"p{n % 2}") for n in range(10)))
    await _counted(service, {"p0": 5, "p1": 5})
    await asyncio.to_thread(broker.kill)
    for n in range(10, 20):
        await service.runner.run([delivered(review(n, product=f"p{n % 2}"), n)])
    service.wake(["relay"])
    with pytest.raises((OSError, KafkaError)):
        await asyncio.wait_for(bus.ping(), 30)
    assert await size_of(service, "outbox") >= 10
    await asyncio.to_thread(broker.start)

    async def relayed() -> bool:
        return not await size_of(service, "outbox")

    await until(relayed, seconds=90)
    # The consumer came back by itself, too.
    await publish(bus, *(review(n, product=f"p{n % 2}") for n in range(20, 30)))
    await _counted(service, {"p0": 15, "p1": 15})
    await until(relayed, seconds=60)
    seen: dict[str, None] = {}
    async with asyncio.timeout(60):
        while len(seen) < 30:
            for record in await tail.poll(100, 0.2):
                event = decode(record.topic, record.key, record.value, record.headers).event
                assert isinstance(event, FeedbackTagged)
                seen[event.item_id] = None
    assert counts_of(seen, products=2) == [list(range(1, 16))] * 2
    await tail.close()
    await service.stop()
    await bus.close()


async def _counted(service: Service, counts: dict[str, int]) -> None:
    async def done() -> bool:
        return {p: await count_of(service, p) for p in counts} == counts

    await until(done, seconds=90)
