"""Publishes what the outbox holds, in order per key, and deletes what the bus has.

Rows are found by their presence, not by a cursor: positions commit out of order, and a cursor
would skip the late ones. One replica relays. Several groups of rows may be on their way at once,
but never two of the same key: a later row of a key waits until the earlier one is acknowledged.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, NamedTuple

import structlog

from common.bus.port import Bus
from common.clock import Clock
from common.contracts.envelope import Message
from common.db.database import Database
from common.db.types import text_to_utc
from common.runtime.flush import headers_from_text
from common.runtime.leader import Leader
from common.runtime.loops import Backoff, Loop
from common.runtime.meters import Meters

POLL_SECONDS = 0.5
BATCH_ROWS = 1000
# Groups start at least so far apart: commits that follow one another closely share a group, and
# so the cost of a question, a publish and a deletion. Sockets here do not wait for the relay.
GATHER_SECONDS = 0.025
FLIGHTS = 4

_PG_PENDING = """
SELECT position, topic, key, value, headers, created_at FROM outbox
WHERE NOT (position = ANY($1::bigint[])) ORDER BY position LIMIT $2
"""
_SQLITE_PENDING = """
SELECT position, topic, key, value, headers, created_at FROM outbox
WHERE position NOT IN (SELECT value FROM json_each(?)) ORDER BY position LIMIT ?
"""
_PG_DONE = "DELETE FROM outbox WHERE position = ANY($1::bigint[])"
_SQLITE_DONE = "DELETE FROM outbox WHERE position = ?"

log = structlog.get_logger(__name__)


class Pending(NamedTuple):
    """An outbox row."""

    position: int
    topic: str
    key: bytes
    value: bytes
    headers: str
    created_at: Any

    @property
    def order_key(self) -> tuple[str, bytes]:
        """Rows with the same order key are published one after another."""
        return (self.topic, self.key)

    @property
    def message(self) -> Message:
        """What goes to the bus."""
        return Message(self.topic, self.key, self.value, headers_from_text(self.headers))


def may_fly(rows: Sequence[Pending], flying: set[tuple[str, bytes]]) -> list[Pending]:
    """The rows whose keys have nothing on its way; order per key is kept inside the group."""
    return [row for row in rows if row.order_key not in flying]


class Relay(Loop):
    """Moves committed events to the bus while this replica leads."""

    def __init__(
        self, database: Database, bus: Bus, leader: Leader, *, clock: Clock, meters: Meters
    ) -> None:
        super().__init__("relay")
        self._database = database
        self._bus = bus
        self._leader = leader
        self._clock = clock
        self._meters = meters
        self._flying: dict[asyncio.Task[Any], list[Pending]] = {}
        self._launch_at = 0.0

    async def run(self) -> None:
        """Relay until stopped; on stopping, publish what is pending first."""
        backoff = Backoff()
        while True:
            try:
                if not await self._leader.wait_elected(1.0):
                    self.beat()
                    if self.stopping:
                        break
                    continue
                await asyncio.sleep(self._launch_at - asyncio.get_running_loop().time())
                launched = await self._launch()
                self.beat()
                if not launched and self.stopping and not self._flying:
                    break
                await self._wait(launched)
                backoff.reset()
            except Exception as error:
                self._meters.relay_failed(type(error).__name__)
                log.warning("relay_failed", error=repr(error))
                await self._land_all()
                self.beat()
                if self.stopping:
                    break
                await self.pause(backoff.next())
        await self._land_all()

    async def _launch(self) -> bool:
        """Send off the next group of rows; False when there is nothing that may go."""
        if len(self._flying) >= FLIGHTS:
            return False
        aloft = [row for rows in self._flying.values() for row in rows]
        pending = await self._pending([row.position for row in aloft])
        group = may_fly(pending, {row.order_key for row in aloft})
        if not group:
            return False
        self._flying[asyncio.create_task(self._fly(group))] = group
        if len(pending) < BATCH_ROWS:
            self._launch_at = asyncio.get_running_loop().time() + GATHER_SECONDS
        return True

    async def _pending(self, aloft: list[int]) -> list[Pending]:
        sqlite = self._database.is_sqlite
        listed: Any = str(aloft) if sqlite else aloft
        sql = _SQLITE_PENDING if sqlite else _PG_PENDING
        async with self._database.quick_read() as tx:
            return [Pending._make(row) for row in await tx.fetch(sql, listed, BATCH_ROWS)]

    async def _fly(self, group: list[Pending]) -> None:
        await self._bus.publish([row.message for row in group])
        rows: list[tuple[Any, ...]] = [(row.position,) for row in group]
        async with self._database.quick_write() as tx:
            await tx.execute(_SQLITE_DONE if self._database.is_sqlite else _PG_DONE, rows)
        oldest = group[0].created_at
        oldest = text_to_utc(oldest) if isinstance(oldest, str) else oldest
        lag = (self._clock() - oldest).total_seconds()
        self._meters.relayed([row.topic for row in group], lag)

    async def _wait(self, launched: bool) -> None:
        """Until there may be more to send: a flight landed, a commit woke us, or time is up."""
        if launched and len(self._flying) < FLIGHTS and self._woken.is_set():
            self._woken.clear()
            return
        waker: asyncio.Task[Any] = asyncio.create_task(self._woken.wait())
        try:
            done, _ = await asyncio.wait(
                [waker, *self._flying], timeout=POLL_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            waker.cancel()
        self._woken.clear()
        for flight in done - {waker}:
            del self._flying[flight]
            flight.result()

    async def _land_all(self) -> None:
        """After a failure nothing new starts until everything on its way has ended."""
        if self._flying:
            await asyncio.wait(self._flying)
            for flight in self._flying:
                if not flight.cancelled() and flight.exception():
                    log.warning("relay_flight_failed", error=repr(flight.exception()))
        self._flying.clear()
