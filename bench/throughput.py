"""P1: events through one consumer with all their effects, beside two peers on the same tables.

Measured from the first record taken off the bus to the moment when every event has its rows in
the database and every outgoing event is on the bus and off the outbox. All three start from the
same backlog, into copies of the same empty database; the rows they leave are compared.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bench import backlog
from bench.measures import Finding, Series, ratio_at_least
from bench.programs import Program
from bench.screen import Effort, Screen
from bench.stage import SMALL_TOPIC, Stage, connection
from bench.turns import in_turns

EACH = 5
BATCH = 500
NEAR_SECONDS, FAR_SECONDS = 0.01, 0.1
PATIENCE_SECONDS = 300.0

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
TAKEN_IN = "SELECT count(*) FROM inbox WHERE received_at >= $1"
COUNTS = {
    "inbox": "SELECT count(*) FROM inbox",
    "conversations": "SELECT count(*) FROM conversations",
    "buyers": "SELECT count(*) FROM buyers",
    "messages": "SELECT count(*) FROM messages",
    "numbered": "SELECT sum(last_seq) FROM conversations",
    "timers": "SELECT count(*) FROM timers",
    # What the router tells those who wait is chat_router's alone.
    "feed": "SELECT count(*) FROM feed WHERE type <> 'kefu.conversation.queued.v1'",
    "outbox": "SELECT count(*) FROM outbox",
}


@dataclass(frozen=True)
class Backlog:
    """What waits on a topic."""

    topic: str
    buyers: int

    @property
    def events(self) -> int:
        """How many events."""
        return self.buyers * EACH

    @property
    def effects(self) -> dict[str, int]:
        """The rows that all its events leave."""
        return {
            "inbox": self.events,
            "conversations": self.buyers,
            "buyers": self.buyers,
            "messages": self.events + self.buyers,
            "numbered": self.events + self.buyers,
            "timers": 2 * self.buyers,
            "feed": self.events + 3 * self.buyers,
            "outbox": 0,
        }


async def run(stage: Stage, effort: Effort, screen: Screen) -> list[Finding]:
    """Both findings."""
    full = Backlog("shop.messages", effort.scaled(4000))
    small = Backlog(SMALL_TOPIC, effort.scaled(200))
    await stage.empty_topic(full.topic)
    for one in (full, small):
        screen.say(f"P1: {one.events} events onto {one.topic}")
        found = backlog.messages(list(range(one.buyers)), EACH)
        records = [backlog.record_of(message, one.topic) for message in found]
        await backlog.publish(stage.kafka.url, records)
    series = await in_turns(
        {
            "chat_router": lambda: ours(stage, full),
            "FastStream + SQLModel": lambda: faststream(stage, small),
            "hand-written unnest loop": lambda: unnest_loop(stage, full),
        },
        effort,
        screen,
        title="P1 events/s",
    )
    return findings(series)


def findings(series: Mapping[str, Series]) -> list[Finding]:
    """P1a and P1b of the three series."""
    rate, user, limit = series.values()
    common: dict[str, Any] = {"what": "events through one consumer", "unit": "events/s"}
    return [
        Finding(
            id="P1a",
            **common,
            ours=rate,
            peer=user,
            peer_is="FastStream + SQLModel, a transaction per message",
            mark=ratio_at_least(30),
        ),
        Finding(
            id="P1b",
            **common,
            ours=rate,
            peer=limit,
            peer_is=f"hand-written unnest loop, batches of {BATCH}",
            mark=ratio_at_least(0.6),
        ),
    ]


async def ours(stage: Stage, waiting: Backlog) -> float:
    """chat_router as it is served, one process."""
    async with stage.database() as url:
        settings = stage.settings(url, KEFU_BATCH_SIZE=str(BATCH))
        program = Program(["kefu", "serve", "chat_router"], settings, stage.new_folder("ours"))
        with program:
            return await events_per_second(program, url, waiting)


async def unnest_loop(stage: Stage, waiting: Backlog) -> float:
    """The hand-written loop."""
    async with stage.database() as url:
        settings = peer_settings(stage, url, waiting)
        program = Program(["bench.peers.unnest_loop"], settings, stage.new_folder("unnest"))
        with program:
            return await events_per_second(program, url, waiting)


async def faststream(stage: Stage, waiting: Backlog) -> float:
    """FastStream with SQLModel."""
    async with stage.database() as url:
        settings = peer_settings(stage, url, waiting)
        program = Program(["bench.peers.faststream_app"], settings, stage.new_folder("faststream"))
        with program:
            return await events_per_second(program, url, waiting)


def peer_settings(stage: Stage, url: str, waiting: Backlog) -> dict[str, str]:
    """What a peer is told."""
    return {
        "BENCH_DATABASE_URL": url,
        "BENCH_KAFKA": stage.kafka.url,
        "BENCH_GROUP": stage.new_name("bench-peer"),
        "BENCH_TOPIC": waiting.topic,
        "BENCH_BATCH": str(BATCH),
    }


async def events_per_second(program: Program, url: str, waiting: Backlog) -> float:
    """Wait for the backlog's end; the rate, once all effects are seen to be there."""
    async with connection(url) as db:
        ended = await finished(program, db, LONG_AGO, waiting.events)
        began: datetime = await db.fetchval("SELECT min(received_at) FROM inbox")
        found = {name: await db.fetchval(query) for name, query in COUNTS.items()}
    if found != waiting.effects:
        raise AssertionError(f"effects differ: {found}, expected {waiting.effects}")
    return waiting.events / (ended - began.timestamp())


async def finished(program: Program, db: Any, since: datetime, events: int) -> float:
    """The moment at which so many events are in since then and nothing is left to publish."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        done = await db.fetchval(TAKEN_IN, since)
        if done == events and not await db.fetchval("SELECT EXISTS (SELECT FROM outbox)"):
            return time.time()
        program.require_running()
        if time.monotonic() > deadline:
            raise TimeoutError(f"{done} of {events} events after {PATIENCE_SECONDS:g} s")
        await asyncio.sleep(NEAR_SECONDS if done > 0.9 * events else FAR_SECONDS)
