"""Elects, among the replicas of a service, the one that relays, fires timers and routes.

On PostgreSQL the leader holds a session advisory lock on a connection of its own; when it dies
the lock falls free with its connection. The same connection listens: replicas that commit
something for the leader notify it (a wake-up only: the leader's loops poll as well). On SQLite
there is one process and it leads.
"""

import asyncio
import contextlib
import zlib
from collections.abc import Callable
from typing import Any

import asyncpg
import structlog

from common.db.database import Database
from common.runtime.loops import Backoff, Loop

CHECK_SECONDS = 1.0
CHECK_TIMEOUT_SECONDS = 3.0
# First half of the lock's two keys: tells our locks from other users' of the database.
LOCK_CLASS = 0x6B656675

log = structlog.get_logger(__name__)

Wakes = Callable[[list[str]], None]


class Leader(Loop):
    """This replica's part in the election."""

    def __init__(self, database: Database, on_wake: Wakes) -> None:
        super().__init__("leader")
        self._database = database
        self._on_wake = on_wake
        self._channel = f"kefu_{database.service}"
        self._connection: asyncpg.Connection[Any] | None = None
        self._elected = asyncio.Event()
        self._announcing: set[str] = set()
        self._announcer: asyncio.Task[None] | None = None

    @property
    def elected(self) -> bool:
        """Whether this replica leads at present."""
        return self._elected.is_set()

    async def wait_elected(self, timeout: float) -> bool:
        """Wait until this replica leads, or the time is up."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._elected.wait()
        return self.elected

    async def run(self) -> None:
        """Campaign, and hold the office while the connection lives."""
        if self._database.is_sqlite:
            self._elected.set()
            while not self.stopping:
                self.beat()
                await self.pause(CHECK_SECONDS)
            return
        backoff = Backoff()
        while not self.stopping:
            try:
                await self._campaign()
                backoff.reset()
            except Exception as error:
                log.warning("leader_connection_lost", error=repr(error))
                await self._step_down()
                await self.pause(backoff.next())
            self.beat()
        await self._step_down()

    async def _campaign(self) -> None:
        if self._connection is None:
            self._connection = await self._connect()
        connection = self._connection
        if not self.elected:
            key = zlib.crc32(self._database.service.encode()) & 0x7FFFFFFF
            won = await connection.fetchval("SELECT pg_try_advisory_lock($1, $2)", LOCK_CLASS, key)
            if won:
                await connection.add_listener(self._channel, self._heard)
                self._elected.set()
                log.info("leader_elected", service=self._database.service)
        else:
            await connection.fetchval("SELECT 1", timeout=CHECK_TIMEOUT_SECONDS)
        await self.pause(CHECK_SECONDS)

    async def _connect(self) -> "asyncpg.Connection[Any]":
        connection: asyncpg.Connection[Any] = await asyncpg.connect(
            self._database.dsn,
            timeout=5,
            command_timeout=CHECK_TIMEOUT_SECONDS,
            server_settings={
                "application_name": f"kefu-{self._database.service}-leader",
                "tcp_keepalives_idle": "5",
                "tcp_keepalives_interval": "2",
                "tcp_keepalives_count": "3",
            },
        )
        return connection

    async def _step_down(self) -> None:
        self._elected.clear()
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(Exception):
                await connection.close(timeout=2)

    def _heard(self, _connection: Any, _pid: int, _channel: str, payload: object) -> None:
        self._on_wake(str(payload).split(","))

    def announce(self, loops: list[str]) -> None:
        """Wake loops of the leader: here if it is us, else by a notification, many in one."""
        if self.elected or self._database.is_sqlite:
            self._on_wake(loops)
            return
        self._announcing.update(loops)
        if self._announcer is None or self._announcer.done():
            self._announcer = asyncio.create_task(self._notify())

    async def _notify(self) -> None:
        while self._announcing:
            loops, self._announcing = sorted(self._announcing), set()
            # A lost notification costs a poll interval, never an event.
            with contextlib.suppress(Exception):
                async with self._database.quick_write() as tx:
                    await tx.fetch("SELECT pg_notify($1, $2)", self._channel, ",".join(loops))
