"""Measures, now and then, what only grows or shrinks: backlogs, loops, connections."""

from collections import Counter as Tally
from collections.abc import Callable, Mapping

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from common.bus.port import Bus
from common.db.database import Database
from common.runtime.dead_letters import parked_keys
from common.runtime.leader import Leader
from common.runtime.loops import Loop
from common.telemetry import metrics

EVERY_SECONDS = 15.0

log = structlog.get_logger(__name__)


class Gauges(Loop):
    """Sets the gauges of a service: its own in every replica, the backlogs in the elected one."""

    def __init__(
        self,
        database: Database,
        bus: Bus,
        leader: Leader,
        *,
        group: str,
        loops: Callable[[], Mapping[str, float]],
    ) -> None:
        super().__init__("gauges")
        self._database = database
        self._bus = bus
        self._leader = leader
        self._group = group
        self._loops = loops
        self._service = database.service

    async def run(self) -> None:
        """Measure until stopped; what cannot be measured now is measured next time."""
        while not self.stopping:
            self.beat()
            self._measure_process()
            if self._leader.elected:
                try:
                    await self._measure_backlogs()
                except Exception as error:
                    log.info("not_measured", error=repr(error))
            await self.pause(EVERY_SECONDS)

    def _measure_process(self) -> None:
        for name, age in self._loops().items():
            metrics.LOOP_AGE_SECONDS.set(age, service=self._service, loop=name)
        for state, count in self._database.connections().items():
            metrics.DB_CONNECTIONS.set(count, service=self._service, state=state)

    async def _measure_backlogs(self) -> None:
        service = self._service
        async with self._database.read() as conn:
            metrics.OUTBOX_PENDING.set(await _count(conn, "outbox"), service=service)
            metrics.TIMERS_PENDING.set(await _count(conn, "timers"), service=service)
            for topic, keys in Tally(topic for topic, _ in await parked_keys(conn)).items():
                metrics.KEYS_PARKED.set(keys, service=service, topic=topic)
        behind: dict[str, int] = {}
        for lag in await self._bus.lag(self._group):
            behind[lag.topic] = behind.get(lag.topic, 0) + lag.behind
        for topic, count in behind.items():
            metrics.CONSUMER_LAG.set(count, service=service, topic=topic)


async def _count(conn: AsyncConnection, table: str) -> int:
    """How many rows; on PostgreSQL the planner's estimate, for a count would read them all."""
    if conn.dialect.name == "postgresql":
        sql = f"SELECT greatest(reltuples, 0)::bigint FROM pg_class WHERE oid = '{table}'::regclass"
    else:
        sql = f"SELECT count(*) FROM {table}"
    return int((await conn.exec_driver_sql(sql)).scalar() or 0)
