"""Runs one service for a test, on an embedded bus or a given one, and waits for what it does."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

from common.bus.embedded import EmbeddedBus
from common.bus.port import Bus
from common.clock import Clock, utc_now
from common.contracts import Envelope, Event, decode, encode
from common.db.database import Database, database_url
from common.ids import new_id
from common.runtime import Service, ServiceDefinition
from common.settings import Settings

T = TypeVar("T")
WAIT_SECONDS = 30.0


class MovableClock:
    """A clock that stands still until it is moved."""

    def __init__(self, now: datetime | None = None) -> None:
        self.now = now or datetime(2026, 3, 2, 2, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **step: float) -> None:
        self.now += timedelta(**step)


@contextlib.asynccontextmanager
async def running(
    definition: ServiceDefinition,
    tmp_path: Path,
    url: str,
    *,
    bus: Bus | None = None,
    clock: Clock = utc_now,
    start: bool = True,
    **settings: object,
) -> AsyncIterator[Service]:
    """A migrated and started service; it stops when the block ends."""
    service = await make(definition, tmp_path, url, bus=bus, clock=clock, **settings)
    if start:
        await service.start()
    try:
        yield service
    finally:
        await service.stop()
        if bus is None:
            await service.bus.close()


async def make(
    definition: ServiceDefinition,
    tmp_path: Path,
    url: str,
    *,
    bus: Bus | None = None,
    clock: Clock = utc_now,
    **settings: object,
) -> Service:
    """A migrated service that is not started."""
    own = bus or EmbeddedBus(tmp_path / "bus.db")
    await own.start()
    database = Database(database_url(url, tmp_path, definition.name), definition.name, pool_size=5)
    service = Service(
        definition,
        Settings(home=tmp_path, **settings),  # type: ignore[arg-type]
        bus=own,
        database=database,
        clock=clock,
    )
    await service.migrate()
    return service


async def publish(bus: Bus, *events: Event, source: str = "test", ids: Sequence[str] = ()) -> None:
    """Put events on the bus as another system would; `ids` fixes their CloudEvents ids."""
    names = list(ids) or [new_id() for _ in events]
    await bus.publish(
        [
            encode(Envelope.of(event, id=id_, source=source, time=utc_now()))
            for event, id_ in zip(events, names, strict=True)
        ]
    )


async def until(condition: Callable[[], Awaitable[T]], *, seconds: float = WAIT_SECONDS) -> T:
    """Wait for a condition; its first true value. `AssertionError` when the time is up."""
    deadline = time.monotonic() + seconds
    while True:
        value = await condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"still {value!r} after {seconds} s"
        await asyncio.sleep(0.02)


async def idle(service: Service) -> None:
    """Wait until the service has read everything of its topics and published its outbox."""

    async def nothing_left() -> bool:
        async with service.database.read() as conn:
            pending = (await conn.exec_driver_sql("SELECT count(*) FROM outbox")).scalar()
        ends = await _ends(service)
        return not pending and ends

    await until(nothing_left)


async def _ends(service: Service) -> bool:
    bus = service.bus
    assert isinstance(bus, EmbeddedBus)
    found = await bus.reader.execute_fetchall("SELECT topic, partition, next FROM ends")
    committed = await bus.positions(service.group)
    return all(
        committed.get((topic, partition), 0) >= end
        for topic, partition, end in found
        if topic in service.definition.topics
    )


async def published(bus: EmbeddedBus, *topics: str) -> list[Event]:
    """Every event on these topics so far, in log order per partition."""
    found = await bus.reader.execute_fetchall(
        "SELECT topic, key, value, headers FROM log ORDER BY at, topic, partition, offset"
    )
    import json

    events: list[Event] = []
    for topic, key, value, headers in found:
        if topic in topics:
            pairs = [(name, text.encode()) for name, text in json.loads(headers)]
            events.append(decode(topic, bytes(key), bytes(value), pairs).event)
    return events
