"""A service put together: its database, bus, loops and HTTP application."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa
import structlog

from common.bus import open_bus
from common.bus.port import Bus
from common.clock import Clock, utc_now
from common.contracts import Event
from common.db.binding import Binding
from common.db.database import Database, database_url
from common.db.migrate import migrate, pending_revision
from common.runtime.batch import BatchRunner
from common.runtime.consumer import Consumer
from common.runtime.feed import Feed
from common.runtime.gate import Gate
from common.runtime.gauges import Gauges
from common.runtime.handlers import Handlers
from common.runtime.items import Idempotency
from common.runtime.leader import Leader
from common.runtime.loops import Backoff, Loop
from common.runtime.meters import Meters
from common.runtime.relay import Relay
from common.runtime.replays import Replays
from common.runtime.retention import Retention
from common.runtime.timers import Timers
from common.settings import Settings

STALL_SECONDS = 60.0

log = structlog.get_logger(__name__)


class LoopEnded(RuntimeError):
    """A loop ended by itself, such as a consumer with too many dead letters."""


class NotRunning(RuntimeError):
    """The service is starting or stopping."""


@dataclass(frozen=True)
class BackgroundLoop:
    """Work of the elected replica: `step` runs when woken by name, and every `every` seconds."""

    name: str
    step: Callable[["Service"], Awaitable[None]]
    every: float = 1.0


@dataclass(frozen=True, kw_only=True)
class ServiceDefinition:
    """All that makes a service, as its `app.py` states it."""

    name: str
    title: str
    metadata: sa.MetaData
    migrations: Path
    bindings: Sequence[Binding[Any]]
    handlers: Handlers
    topics: Sequence[str]
    routers: Sequence[Any] = ()
    feed_topics: Sequence[str] = ()
    background: Sequence[BackgroundLoop] = ()
    count: Callable[[Event], None] | None = None
    """Counts a committed event in the service's own metrics."""
    retention: Sequence[tuple[str, str]] = field(default_factory=tuple)
    """(table, time column) of tables whose old rows are deleted after `retention_days`."""


class Service:
    """One running service. Start it, use `submit` and the database, stop it."""

    def __init__(
        self,
        definition: ServiceDefinition,
        settings: Settings,
        *,
        bus: Bus | None = None,
        database: Database | None = None,
        clock: Clock = utc_now,
    ) -> None:
        self.definition = definition
        self.settings = settings
        self.name = definition.name
        self.clock = clock
        self._owns_bus = bus is None
        self.bus = bus or open_bus(settings, self.name)
        self.database = database or _open_database(settings, self.name)
        self.meters = Meters(self.name)
        self.feed = Feed(self.database, self.bus, definition.feed_topics)
        self.runner = BatchRunner(
            self.database,
            definition.bindings,
            definition.handlers,
            source=f"kefu/{self.name}",
            clock=clock,
            count=definition.count,
            show=self.feed.show,
        )
        self.leader = Leader(self.database, self._wake_here)
        self.gate = Gate(
            self.runner, meters=self.meters, batch_size=settings.batch_size, wake=self.wake
        )
        self._loops = {loop.name: loop for loop in self._make_loops()}
        self._started = False

    def _make_loops(self) -> list[Loop]:
        settings = self.settings
        common: dict[str, Any] = {"clock": self.clock, "meters": self.meters}
        relay = Relay(self.database, self.bus, self.leader, **common)
        timers = Timers(
            self.runner,
            self.definition.handlers,
            self.leader,
            batch_size=settings.batch_size,
            wake=self.wake,
            **common,
        )
        replays = Replays(
            self.runner, self.leader, wake=self.wake, after=self._after_replay, **common
        )
        retention = Retention(
            self.database, self.leader, settings, self.definition.retention, self.clock
        )
        background = [_Background(self, one) for one in self.definition.background]
        gauges = Gauges(self.database, self.bus, self.leader, group=self.group, loops=self.liveness)
        loops: list[Loop] = [
            self.leader,
            gauges,
            relay,
            timers,
            replays,
            retention,
            self.feed,
            *background,
        ]
        if self.definition.topics:
            loops.append(self._make_consumer())
        return loops

    def _make_consumer(self) -> Consumer:
        return Consumer(
            self.bus,
            self.runner,
            topics=self.definition.topics,
            group=self.group,
            clock=self.clock,
            meters=self.meters,
            batch_size=self.settings.batch_size,
            dead_letter_limit=self.settings.dead_letter_limit,
            wake=self.wake,
        )

    @property
    def group(self) -> str:
        """The consumer group of this service."""
        return f"{self.settings.kafka_group_prefix}.{self.name}"

    # -- life ---------------------------------------------------------------------------------

    async def migrate(self) -> None:
        """Bring the schema to what this code expects."""
        await migrate(self.database, self.definition.migrations)

    async def start(self) -> None:
        """Connect and start every loop; ready when the feed is tailing."""
        pending = await pending_revision(self.database, self.definition.migrations)
        if pending:
            raise RuntimeError(
                f"the schema of {self.name} is not at {pending}; run `kefu migrate` first"
            )
        await self.bus.start()
        for loop in self._loops.values():
            loop.start()
        await self.feed.ready.wait()
        self._started = True
        log.info("service_started", service=self.name)

    async def stop(self) -> None:
        """Finish the work in hand, hand over, close. Takes at most the grace time."""
        self._started = False
        grace = self.settings.shutdown_grace_seconds
        first = [loop for name, loop in self._loops.items() if name not in _LAST]
        # Each step gets its share, so that one that hangs leaves time for those after it.
        await self.gate.drained(grace / 4)
        await asyncio.gather(*(loop.stop(grace / 4) for loop in first))
        for name in _LAST:  # what the others committed last is still published
            await self._loops[name].stop(grace / 4)
        if self._owns_bus:
            await self.bus.close()
        await self.database.close()
        log.info("service_stopped", service=self.name)

    def liveness(self) -> dict[str, float]:
        """Seconds since each loop last moved, without those that ended by a stated reason."""
        return {name: loop.silent_seconds for name, loop in self._loops.items()}

    def stalled(self) -> list[str]:
        """Loops that have not moved for too long: the process should be restarted."""
        return [
            name
            for name, loop in self._loops.items()
            if loop.failure is None and loop.silent_seconds > STALL_SECONDS
        ]

    async def check_loops(self) -> None:
        """Raises when a loop has ended by itself, or the service is not running."""
        ended = [f"{n}: {loop.failure}" for n, loop in self._loops.items() if loop.failure]
        if ended:
            raise LoopEnded("; ".join(ended))
        if not self._started:
            raise NotRunning("starting or stopping")

    # -- work ---------------------------------------------------------------------------------

    async def submit(self, command: msgspec.Struct, idempotency: Idempotency | None = None) -> Any:
        """Run a command in the next batch; its handler's answer."""
        return await self.gate.submit(command, idempotency)

    def wake(self, loops: list[str]) -> None:
        """After a commit: there is something for these loops of the leader."""
        if loops:
            self.leader.announce(loops)

    def _wake_here(self, loops: list[str]) -> None:
        for name in loops:
            if name in self._loops:
                self._loops[name].wake()

    def _after_replay(self) -> None:
        consumer = self._loops.get("consumer")
        if isinstance(consumer, Consumer):
            consumer.parked_changed()


_LAST = ("relay", "leader")


class _Background(Loop):
    """Runs a service's own background step while this replica leads."""

    def __init__(self, service: Service, definition: BackgroundLoop) -> None:
        super().__init__(definition.name)
        self._service = service
        self._definition = definition

    async def run(self) -> None:
        backoff = Backoff()
        while not self.stopping:
            self.beat()
            try:
                if not await self._service.leader.wait_elected(1.0):
                    continue
                await self._definition.step(self._service)
                backoff.reset()
                await self.pause(self._definition.every)
            except Exception as error:
                log.warning("background_failed", loop=self.name, error=repr(error))
                await self.pause(backoff.next())


def _open_database(settings: Settings, service: str) -> Database:
    configured = settings.database_url.get_secret_value() if settings.database_url else None
    url = database_url(configured, settings.home, service)
    return Database(url, service, pool_size=settings.db_pool_size)
