"""What chat_router costs the database, in counts that are the same on every machine.

A fixed load on a server of its own: messages off the bus, messages over HTTP, due timers, and the
relay of what they published. Counted after a warm-up: SQL statements, round trips and bytes of
write-ahead log per piece of work, and pieces of work per transaction. The counts are kept in
costs.json; a test fails when one of them gets worse by more than 5 %.

    python -m bench --write-costs

writes them anew, when a change is meant to cost more.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import asyncpg

from bench.counting import RoundTrips, Statements, counted_link, counted_statements
from bench.workload import Workload, workload
from tests.parts import PostgresNode

BASELINE = Path(__file__).parent / "costs.json"
TOLERANCE = 0.05
WARM_UP = 100
BUYERS = 1_500
COMMANDS = 1_000
TIMERS = 1_400

# Nothing writes to the log but what is counted: no vacuum, no checkpoint, and so no images of
# whole pages, whose number depends on when the last checkpoint was.
QUIET = {
    "autovacuum": "off",
    "full_page_writes": "off",
    "wal_compression": "off",
    "checkpoint_timeout": "1h",
    "max_wal_size": "4GB",
}
# Every transaction that writes takes a number, and nobody else writes here.
_POSITION = """
SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint,
  pg_snapshot_xmax(pg_current_snapshot())::text::bigint
"""

Counts = dict[str, float]
Costs = dict[str, Counts]
"""By kind of work, the counts per piece."""


class Counters:
    """The counts of one database so far."""

    def __init__(
        self, statements: Statements, trips: RoundTrips, beside: "asyncpg.Connection[Any]"
    ) -> None:
        self._statements = statements
        self._trips = trips
        self._beside = beside

    async def now(self) -> tuple[int, int, int, int]:
        """Statements, round trips, bytes of log, and transactions that wrote."""
        at, transactions = await self._beside.fetchrow(_POSITION) or (0, 0)
        return self._statements.count, self._trips.count, at, transactions

    async def cost_of(self, work: Callable[[], Awaitable[int]]) -> Counts:
        """The cost per piece of what `work` does; it answers how many pieces that was."""
        before = await self.now()
        done = await work()
        after = await self.now()
        spent = [later - earlier for later, earlier in zip(after, before, strict=True)]
        statements, trips, log, transactions = spent
        return {
            "statements": statements / done,
            "round_trips": trips / done,
            "wal_bytes": log / done,
            "per_transaction": done / transactions,
        }


async def measured() -> tuple[str, Costs]:
    """The server's major version, and the costs."""
    with PostgresNode(own=True, fsync=False, settings=QUIET) as postgres:
        url = await asyncio.to_thread(postgres.create_database)
        beside: asyncpg.Connection[Any] = await asyncpg.connect(url)
        try:
            version = str(beside.get_server_version().major)
            async with counted_link(url) as (link, trips), workload(link, url) as load:
                with counted_statements(load.database) as statements:
                    return version, await _costs(load, Counters(statements, trips, beside))
        finally:
            await beside.close()


async def _costs(load: Workload, counters: Counters) -> Costs:
    # The warm-up: connections open, statements are prepared, tables have their first pages.
    await load.take_in(range(WARM_UP), first=0)
    await load.submit(range(WARM_UP), first=1_000_000)
    await load.relay()
    buyers = range(WARM_UP, WARM_UP + BUYERS)
    events = await counters.cost_of(lambda: load.take_in(buyers, first=10_000))
    relayed = await counters.cost_of(load.relay)
    commands = await counters.cost_of(lambda: load.submit(buyers[:COMMANDS], first=2_000_000))
    await load.make_due(WARM_UP)
    await load.fire()
    await load.make_due(TIMERS)
    timers = await counters.cost_of(load.fire)
    return {
        "event": events,
        "command": commands,
        "timer": timers,
        # How often the relay looks depends on how quick everything is; what it logs does not.
        "relayed": {"wal_bytes": relayed["wal_bytes"]},
    }


def grown(found: Costs, kept: Mapping[str, Mapping[str, float]]) -> list[str]:
    """What got worse by more than the tolerance, in words; empty when nothing did."""
    worse: list[str] = []
    for work, counts in kept.items():
        for name, before in counts.items():
            now = found[work][name]
            limit = before * (1 - TOLERANCE if name == "per_transaction" else 1 + TOLERANCE)
            if now < limit if name == "per_transaction" else now > limit:
                worse.append(f"{work}: {name} {now:.4g}, was {before:.4g}")
    return worse


def baseline(version: str, path: Path = BASELINE) -> Costs:
    """The kept costs for a server's major version, or for the nearest that was ever measured."""
    kept: dict[str, Costs] = json.loads(path.read_text())
    nearest = min(kept, key=lambda known: abs(int(known) - int(version)))
    return kept[nearest]


def write(version: str, found: Costs, path: Path = BASELINE) -> None:
    """Keep these costs for this version."""
    kept: dict[str, Costs] = json.loads(path.read_text()) if path.exists() else {}
    kept[version] = {
        work: {name: round(count, 4) for name, count in counts.items()}
        for work, counts in found.items()
    }
    path.write_text(json.dumps(dict(sorted(kept.items())), indent=2) + "\n")
