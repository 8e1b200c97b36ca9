"""The parts of chat_router that write, each run alone on a fixed load until nothing is left."""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

import asyncpg

from bench import backlog
from chat_router.app import SERVICE
from chat_router.intake import SendMessage
from chat_router.messages import incoming_from_platform
from common.bus.embedded import EmbeddedBus
from common.clock import utc_now
from common.db.database import Database, database_url
from common.db.migrate import migrate
from common.runtime import Idempotency, Service
from common.runtime.consumer import Consumer
from common.runtime.gate import Gate
from common.runtime.leader import Leader
from common.runtime.loops import Loop
from common.runtime.relay import Relay
from common.runtime.timers import Timers
from common.settings import Settings

SCHEMA = "chat_router"
BATCH = 500
EACH = 5
PATIENCE_SECONDS = 60.0

_MAKE_DUE = """
WITH due AS (
  UPDATE timers SET due_at = now() - interval '1 hour', run_at = now() - interval '1 hour'
  WHERE key IN (SELECT key FROM timers WHERE kind = 'UnansweredCheck' ORDER BY key LIMIT $1)
  RETURNING payload::json ->> 'conversation_id' AS conversation_id)
UPDATE conversations SET unanswered_since = now() - interval '1 hour'
WHERE conversation_id IN (SELECT conversation_id FROM due)
"""


class Always:
    """An election that is won."""

    async def wait_elected(self, timeout: float) -> bool:
        """At once."""
        return True


class Workload:
    """The service is not started. `beside` is a connection that looks on, so that looking does
    not count."""

    def __init__(self, service: Service, beside: "asyncpg.Connection[Any]") -> None:
        self.database = service.database
        self._beside = beside
        self._bus = cast(EmbeddedBus, service.bus)
        leader = cast(Leader, Always())
        common: dict[str, Any] = {"clock": utc_now, "meters": service.meters}
        woken: dict[str, Any] = {"batch_size": BATCH, "wake": _nobody}
        self._consumer = partial(
            Consumer,
            self._bus,
            service.runner,
            topics=SERVICE.topics,
            group="costs",
            dead_letter_limit=1,
            **common,
            **woken,
        )
        self._relay = partial(Relay, service.database, self._bus, leader, **common)
        self._timers = Timers(service.runner, SERVICE.handlers, leader, **common, **woken)
        self._gate = Gate(service.runner, meters=service.meters, **woken)

    async def take_in(self, buyers: range, *, first: int) -> int:
        """Messages off the bus, until all have taken effect."""
        found = list(backlog.messages(list(buyers), EACH, first=first))
        before = await self._count("inbox")
        await self._bus.publish([backlog.record_of(message) for message in found])
        await self._run(self._consumer(), "inbox", before + len(found))
        return len(found)

    async def submit(self, buyers: range, *, first: int) -> int:
        """Messages over HTTP, all at once, each with its Idempotency-Key."""
        found = list(backlog.messages(list(buyers), 1, first=first))
        await asyncio.gather(
            *(
                self._gate.submit(
                    SendMessage(incoming=incoming_from_platform(message)),
                    Idempotency("costs/im-adapter/post_message", message.message_id, "0" * 64),
                )
                for message in found
            )
        )
        return len(found)

    async def make_due(self, count: int) -> None:
        """The clocks of some buyers who wait are put back, so that their warnings are due."""
        await self._beside.execute(_MAKE_DUE, count)

    async def fire(self) -> int:
        """Every timer that is due."""
        total = 0
        while fired := (await self._timers.fire_due())[0]:
            total += fired
        return total

    async def relay(self) -> int:
        """Everything in the outbox."""
        pending = await self._count("outbox")
        await self._run(self._relay(), "outbox", 0)
        return pending

    async def _run(self, loop: Loop, table: str, goal: int) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        loop.start()
        try:
            while (count := await self._count(table)) != goal:
                if loop.failure or time.monotonic() > deadline:
                    raise RuntimeError(f"{table}: {count} rows, not {goal}; {loop.failure}")
                await asyncio.sleep(0.01)
        finally:
            await loop.stop(PATIENCE_SECONDS)

    async def _count(self, table: str) -> int:
        return int(await self._beside.fetchval(f"SELECT count(*) FROM {SCHEMA}.{table}"))


def _nobody(_loops: list[str]) -> None:
    """No loop is there to be woken."""


@asynccontextmanager
async def workload(url: str, beside_url: str) -> AsyncIterator[Workload]:
    """A workload on an empty database, behind whatever counts at `url`."""
    with tempfile.TemporaryDirectory(prefix="kefu-costs-") as folder:
        home = Path(folder)
        bus = EmbeddedBus(home / "bus.db")
        await bus.start()
        # One connection to write on: a second would prepare its statements whenever it came.
        database = Database(database_url(url, home, SCHEMA), SCHEMA, pool_size=1)
        service = Service(SERVICE, Settings(home=home), bus=bus, database=database)
        beside: asyncpg.Connection[Any] | None = None
        try:
            await migrate(database, SERVICE.migrations)
            server = {"search_path": SCHEMA}
            beside = await asyncpg.connect(beside_url, server_settings=server)
            yield Workload(service, beside)
        finally:
            if beside is not None:
                await beside.close()
            await database.close()
            await bus.close()
