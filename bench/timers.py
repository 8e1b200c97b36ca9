"""P4: durable timers beside procrastinate, with a million pending.

Both do the same when a timer fires: a conversation whose buyer has waited too long is marked, its
agent and the board are told (feed and outbox rows). When each took effect is read from the commit
times that PostgreSQL keeps, the same way for both.

The peer is spared what it is bad at: its due jobs come first in the order in which it looks for
work, so that it never has to step over the million that are not due.
"""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from bench import rows
from bench.backlog import SHOP
from bench.measures import (
    Finding,
    Series,
    figure_at_most,
    percentile,
    ratio_at_least,
    ratio_at_most,
    used,
)
from bench.peers.procrastinate_jobs import TASK
from bench.programs import Program
from bench.screen import Effort, Screen
from bench.served import serving
from bench.stage import Stage, connection
from bench.turns import in_turns

PENDING = 1_000_000
FEW_PENDING = 10_000
DUE = 40_000
COMPARED = 8_000
"""Firings over which the cost with few and with many pending is compared."""
AGENTS = 500
WINDOW_SECONDS = 12.0
CONCURRENCY = 20
RATE = 1_000
PUNCTUAL_SECONDS = 20.0
LEAD_SECONDS = 4.0
PATIENCE_SECONDS = 120.0

FIRED = """
SELECT pg_xact_commit_timestamp(xmin), count(*) FROM conversations WHERE warned
GROUP BY xmin ORDER BY 1
"""
LATENESS = """
SELECT extract(epoch FROM pg_xact_commit_timestamp(xmin)
  - ($1::timestamptz + right(conversation_id, 12)::int * $2::interval))::float8
FROM conversations WHERE warned
"""
JOBS = f"""
INSERT INTO procrastinate.procrastinate_jobs (queue_name, task_name, args, scheduled_at)
SELECT 'default', '{TASK}', jsonb_build_object('shop_id', $1::text, 'conversation_id',
  {rows.CONVERSATION_ID}), $4
FROM generate_series($2::int, $3::int) AS n
"""


class Firing(NamedTuple):
    """Some timers that took effect in one transaction."""

    at: datetime
    timers: int


async def run(stage: Stage, effort: Effort, screen: Screen) -> list[Finding]:
    """Three findings."""
    due, pending = effort.scaled(DUE), effort.scaled(PENDING)
    few = effort.scaled(FEW_PENDING)
    screen.say(f"P4: {due} conversations, {pending} timers and as many jobs")
    async with stage.database() as base:
        await rows.add_open_conversations(base, due, AGENTS)
        async with (
            stage.database(base) as few_pending,
            stage.database(base) as many_pending,
            stage.database(base) as jobs,
        ):
            await fill(few_pending, few, 0)
            await fill(many_pending, due, pending - due)
            await fill_jobs(jobs, due, pending - due)
            fast: list[float] = []
            profile: list[str] = []
            compared = min(COMPARED, few)

            async def many() -> float:
                firings, cpu = await fired_by_us(stage, many_pending, due)
                profile[:] = [cost_of_one(firings, cpu)]
                fast.append(rate(firings))
                return rate(firings, compared)

            async def few_() -> float:
                firings, _ = await fired_by_us(stage, few_pending, few)
                return rate(firings, compared)

            async def peer() -> float:
                return rate(await fired_by_procrastinate(stage, jobs, effort))

            async def punctual() -> float:
                return await lateness(stage, many_pending, due, effort) * 1000

            runs = {
                f"{pending:,} pending": many,
                "procrastinate": peer,
                f"{few:,} pending": few_,
                f"lateness at {RATE}/s, p99 ms": punctual,
            }
            series = await in_turns(runs, effort, screen, title="P4")
    cost, other, cheap, late = series.values()
    firing = fired(Series.of(fast), other, tuple(profile))
    return [firing, *findings(cost, cheap, late)]


def fired(ours: Series, peer: Series, profile: tuple[str, ...]) -> Finding:
    """P4a."""
    return Finding(
        id="P4a",
        what="timers fired, 1,000,000 pending",
        unit="timers/s",
        ours=ours,
        peer=peer,
        peer_is=f"procrastinate, concurrency {CONCURRENCY}",
        mark=ratio_at_least(10),
        note="all that a warning does, its event relayed, on the same cores",
        profile=profile,
    )


def cost_of_one(found: list[Firing], cpu: dict[str, float]) -> str:
    """What a timer cost, all parts together."""
    count = sum(firing.timers for firing in found)
    each = {name: 1e6 * seconds / count for name, seconds in cpu.items()}
    parts = ", ".join(f"{name} {micros:.0f}" for name, micros in each.items())
    return f"one timer costs {sum(each.values()):.0f} µs of processor time ({parts})"


def findings(many: Series, few: Series, late: Series) -> list[Finding]:
    """P4b and P4c."""
    return [
        Finding(
            id="P4b",
            what=f"lateness at {RATE:,} due a second, 1,000,000 pending, p99",
            unit="ms",
            ours=late,
            mark=figure_at_most(250, "ms"),
        ),
        Finding(
            id="P4c",
            what="cost of a firing, 1,000,000 pending",
            unit="µs",
            ours=per_firing(many),
            peer=per_firing(few),
            peer_is="itself with 10,000 pending",
            mark=ratio_at_most(1.2),
        ),
    ]


def per_firing(rates: Series) -> Series:
    """Microseconds each, of a series of rates."""
    return Series.of([1_000_000 / value for value in rates.values])


async def fill(url: str, due: int, later: int) -> None:
    """So many timers that are due, and so many that are not for a day."""
    now = datetime.now(UTC)
    await rows.add_timers(url, 1, due, now - timedelta(hours=1))
    if later:
        await rows.add_timers(url, due + 1, due + later, now + timedelta(days=1), 0.01)
    await rows.settle(url)


async def fill_jobs(url: str, due: int, later: int) -> None:
    """The same as procrastinate jobs."""
    from procrastinate.schema import SchemaManager

    now = datetime.now(UTC)
    async with connection(url) as db:
        await db.execute("CREATE SCHEMA procrastinate")
        await db.execute("SET search_path = procrastinate")
        await db.execute(SchemaManager.get_schema())
        # Its triggers would notify a worker of each of a million jobs.
        await db.execute("SET session_replication_role = replica")
        await db.execute("SET synchronous_commit = off")
        for first, last in rows.slices(1, due):
            moment = now - timedelta(hours=1)
            await db.execute(JOBS, SHOP, first, last, moment, timeout=None)
        for first, last in rows.slices(due + 1, due + later):
            moment = now + timedelta(days=1)
            await db.execute(JOBS, SHOP, first, last, moment, timeout=None)
    await rows.settle(url)


async def fired_by_us(stage: Stage, filled: str, due: int) -> tuple[list[Firing], dict[str, float]]:
    """What chat_router fires of the due ones, until all are fired or the time is up; and the
    processor time of each part in that time."""
    async with (
        stage.database(filled) as url,
        serving(stage, url) as served,
        connection(url) as db,
    ):
        before = served.processor_time(stage)
        await past_window(db, due)
        after = served.processor_time(stage)
        return await firings(db), used(before, after)


async def fired_by_procrastinate(stage: Stage, filled: str, effort: Effort) -> list[Firing]:
    """What a worker of procrastinate fires in the time."""
    async with stage.database(filled) as url, connection(url) as db:
        given = {"BENCH_DATABASE_URL": url, "BENCH_CONCURRENCY": str(CONCURRENCY)}
        folder = stage.new_folder("procrastinate")
        with Program(["bench.peers.procrastinate_jobs"], given, folder) as program:
            await past_window(db, effort.scaled(DUE), program)
            return await firings(db)


async def past_window(db: Any, due: int, program: Program | None = None) -> None:
    """Until the window after the first firing is over, or nothing is left."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not await db.fetchval("SELECT EXISTS (SELECT FROM conversations WHERE warned)"):
        if program is not None:
            program.require_running()
        if time.monotonic() > deadline:
            raise TimeoutError("nothing fired")
        await asyncio.sleep(0.1)
    over = time.monotonic() + WINDOW_SECONDS
    while time.monotonic() < over:
        if await db.fetchval("SELECT count(*) FROM conversations WHERE warned") == due:
            return
        await asyncio.sleep(0.25)


async def firings(db: Any) -> list[Firing]:
    """What took effect so far, in order."""
    return [Firing(at, timers) for at, timers in await db.fetch(FIRED)]


def rate(found: list[Firing], most: int | None = None) -> float:
    """Firings per second from the first commit on; over the first `most` of them, if given.

    The first commit itself only starts the clock: when its work began is not known.
    """
    start, total, ended = found[0].at, 0, found[0].at
    for firing in found[1:]:
        if most is not None and total >= most:
            break
        total, ended = total + firing.timers, firing.at
    return total / (ended - start).total_seconds()


async def lateness(stage: Stage, filled: str, due: int, effort: Effort) -> float:
    """Seconds from due to committed, p99, of timers that fall due at a steady rate."""
    count = min(due, int(RATE * effort.seconds(PUNCTUAL_SECONDS)))
    step = timedelta(seconds=1 / RATE)
    async with stage.database(filled) as url, connection(url) as db:
        await db.execute("DELETE FROM timers WHERE run_at < now()")
        async with serving(stage, url):
            start = datetime.now(UTC) + timedelta(seconds=LEAD_SECONDS)
            await rows.add_timers(url, 1, count, start, 1 / RATE)
            await asyncio.sleep(LEAD_SECONDS + count / RATE + 2.0)
            found = [late for (late,) in await db.fetch(LATENESS, start, step)]
    if len(found) != count:
        raise AssertionError(f"{len(found)} of {count} timers fired")
    return percentile(found, 0.99)
