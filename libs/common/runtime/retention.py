"""Deletes what has outlived its use: inbox, answers, feed, and tables a service names."""

from collections.abc import Sequence
from datetime import timedelta

import structlog

from common.clock import Clock
from common.db.database import Database
from common.db.types import utc_to_text
from common.runtime.leader import Leader
from common.runtime.loops import Loop
from common.settings import Settings

EVERY_SECONDS = 30.0
CHUNK = 5000

log = structlog.get_logger(__name__)


class Retention(Loop):
    """Prunes in small chunks, so that no transaction is long and no lock is held for long."""

    def __init__(
        self,
        database: Database,
        leader: Leader,
        settings: Settings,
        tables: Sequence[tuple[str, str]],
        clock: Clock,
    ) -> None:
        super().__init__("retention")
        self._database = database
        self._leader = leader
        self._clock = clock
        inbox = settings.inbox_retention_days
        self._rules = [
            ("inbox", "received_at", inbox),
            ("idempotency", "created_at", inbox),
            ("feed", "created_at", settings.retention_days),
            *((table, column, settings.retention_days) for table, column in tables),
        ]

    async def run(self) -> None:
        """Prune now and then until stopped."""
        while not self.stopping:
            self.beat()
            try:
                if await self._leader.wait_elected(1.0):
                    more = [await self._prune(*rule) for rule in self._rules]
                    await self.pause(1.0 if any(more) else EVERY_SECONDS)
            except Exception as error:
                log.warning("retention_failed", error=repr(error))
                await self.pause(5.0)

    async def _prune(self, table: str, column: str, days: int) -> bool:
        """Delete one chunk; whether there may be more."""
        limit = self._clock() - timedelta(days=days)
        row = "rowid" if self._database.is_sqlite else "ctid"
        marks = ("?", "?") if self._database.is_sqlite else ("$1", "$2")
        sql = (
            f"DELETE FROM {table} WHERE {row} IN "
            f"(SELECT {row} FROM {table} WHERE {column} < {marks[0]} LIMIT {marks[1]})"
        )
        moment = utc_to_text(limit) if self._database.is_sqlite else limit
        async with self._database.write() as conn:
            result = await conn.exec_driver_sql(sql, (moment, CHUNK))
            return result.rowcount >= CHUNK
