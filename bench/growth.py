"""P11: more consumers on the same cores, and more rows under the same consumer.

*Consumers.* PostgreSQL and Kafka run on the same cores as the services, so k consumers cannot be
k times as fast as one where one alone keeps more than its share busy. What the cores allow is
worked out from the run with one consumer: processor time per event of everything together
(services, PostgreSQL, Kafka) says how many events a second all cores could do; k consumers are
held to the smaller of that and k times one.

*Rows.* The same backlog is taken in by one consumer on tables that hold 10 thousand rows and on
tables that hold 10 million (messages and inbox; a fifth as many conversations and buyers). Its
buyers are old customers of the shop in both; in the large tables they are spread over all of it.
"""

import asyncio
import itertools
import os
import random
import time
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any, NamedTuple

from bench import backlog, rows
from bench.measures import Finding, Series, ratio_at_least
from bench.programs import Program
from bench.screen import Effort, Screen
from bench.served import READY_SECONDS
from bench.stage import Stage, connection
from bench.throughput import EACH, finished
from bench.turns import in_turns
from common.contracts import Message

CONSUMERS = (1, 2, 4)
BUYERS = 6_000
FEW_ROWS, MANY_ROWS = 10_000, 10_000_000
MESSAGES_EACH = 5
SHARE_OF_POSSIBLE = 0.8
"""What must be reached of what the cores allow: two consumers also share locks and caches."""


class Speed(NamedTuple):
    """Events per second, and processor seconds per event of everything together."""

    events: float
    cost: float


async def run(stage: Stage, effort: Effort, screen: Screen) -> list[Finding]:
    """Findings for 2 and 4 consumers and for many rows."""
    return [
        *await more_consumers(stage, effort, screen),
        await more_rows(stage, effort, screen),
    ]


# -- consumers --------------------------------------------------------------------------------


async def more_consumers(stage: Stage, effort: Effort, screen: Screen) -> list[Finding]:
    """P11a (2 consumers) and P11b (4)."""
    buyers = list(range(effort.scaled(BUYERS)))
    screen.say(f"P11: {len(buyers) * EACH} events of {len(buyers)} buyers")
    costs: list[float] = []

    async def consumed(count: int) -> float:
        async with stage.database() as url:
            speed = await speed_of(stage, url, count, waiting(buyers))
        if count == 1:
            costs.append(speed.cost)
        return speed.events

    runs = {f"{count} consumers": _with(consumed, count) for count in CONSUMERS}
    series = await in_turns(runs, effort, screen, title="P11 events/s")
    one, *others = series.values()
    return [
        scaling(count, found, allowed(one, count, costs), Series.of(costs).median)
        for count, found in zip(CONSUMERS[1:], others, strict=True)
    ]


def _with(consumed: Any, count: int) -> Any:
    return lambda: consumed(count)


def possible(one: float, count: int, cost: float) -> float:
    """Events per second that `count` consumers can reach on the cores there are."""
    return min(count * one, (os.cpu_count() or 1) / cost)


def allowed(one: Series, count: int, costs: list[float]) -> Series:
    """The same for each round, by what one consumer did in it."""
    rounds = zip(one.values, costs, strict=True)
    return Series.of([possible(events, count, cost) for events, cost in rounds])


def scaling(count: int, found: Series, most: Series, cost: float) -> Finding:
    """P11a, P11b."""
    cores = os.cpu_count() or 1
    return Finding(
        id=f"P11-{count}",
        what=f"events with {count} consumers over 12 partitions",
        unit="events/s",
        ours=found,
        peer=most,
        peer_is=f"what {cores} shared cores allow",
        mark=ratio_at_least(SHARE_OF_POSSIBLE),
        note=f"one event costs {cost * 1e6:.0f} µs of processor time, all parts together",
    )


def waiting(buyers: list[int], first: int = 0) -> list[Message]:
    """A backlog, on no topic yet."""
    return [backlog.record_of(one) for one in backlog.messages(buyers, EACH, first=first)]


async def speed_of(stage: Stage, url: str, consumers: int, records: list[Message]) -> Speed:
    """One run of some consumers in one group on one database.

    They stand still while the backlog is put before them, so that all begin at the same moment:
    who comes first would have done half of it before the last one has its share of partitions.
    """
    await stage.empty_topic("shop.messages")
    settings = stage.settings(url)
    async with AsyncExitStack() as running:
        programs = [
            running.enter_context(
                Program(["kefu", "serve", "chat_router"], settings, stage.new_folder("consumer"))
            )
            for _ in range(consumers)
        ]
        await _joined(stage, f"{settings['KEFU_KAFKA_GROUP_PREFIX']}.chat_router", programs)
        for program in programs:
            program.pause()
        await backlog.publish(stage.kafka.url, records)
        async with connection(url) as db:
            used, since = _used(stage, programs), datetime.now(UTC)
            for program in programs:
                program.resume()
            ended = await finished(programs[0], db, since, len(records))
            used = _used(stage, programs) - used
    return Speed(len(records) / (ended - since.timestamp()), used / len(records))


async def _joined(stage: Stage, group: str, programs: list[Program]) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while await stage.members(group) != len(programs):
        for program in programs:
            program.require_running()
        if time.monotonic() > deadline:
            raise TimeoutError(f"{len(programs)} consumers did not all join {group}")
        await asyncio.sleep(0.2)


def _used(stage: Stage, programs: list[Program]) -> float:
    return stage.cpu_seconds() + sum(program.cpu_seconds() for program in programs)


# -- rows -------------------------------------------------------------------------------------


async def more_rows(stage: Stage, effort: Effort, screen: Screen) -> Finding:
    """P11-rows. The large tables are used in place: to copy them each time would take longer than
    all the rest; each run there has other buyers, so that each finds them as they were."""
    few = FEW_ROWS // MESSAGES_EACH
    many = max(few * effort.rounds, effort.scaled(MANY_ROWS) // MESSAGES_EACH)
    async with stage.database() as small, stage.database() as large:
        screen.say(f"P11: {many * MESSAGES_EACH:,} messages of {many:,} conversations")
        await rows.add_closed_history(small, few, MESSAGES_EACH)
        await rows.add_closed_history(large, many, MESSAGES_EACH)
        await rows.settle(large)
        strangers = list(range(1, many + 1))
        random.Random(3).shuffle(strangers)
        first = itertools.count(1, few * EACH)

        costs: dict[str, float] = {}

        async def on_small() -> float:
            async with stage.database(small) as copy:
                speed = await speed_of(stage, copy, 1, waiting(list(range(1, few + 1))))
            costs["few rows"] = speed.cost
            return speed.events

        async def on_large() -> float:
            buyers = [strangers.pop() for _ in range(few)]
            speed = await speed_of(stage, large, 1, waiting(buyers, next(first)))
            costs["many rows"] = speed.cost
            return speed.events

        runs = {f"{many * MESSAGES_EACH:,} rows": on_large, f"{FEW_ROWS:,} rows": on_small}
        series = await in_turns(runs, effort, screen, title="P11 events/s")
    big, little = series.values()
    return Finding(
        id="P11-rows",
        what=f"events on tables of {many * MESSAGES_EACH:,} rows",
        unit="events/s",
        ours=big,
        peer=little,
        peer_is=f"itself on {FEW_ROWS:,} rows",
        mark=ratio_at_least(0.9),
        note="processor time of one event, all parts together, in the last round: "
        + ", ".join(f"{name} {seconds * 1e6:.0f} µs" for name, seconds in costs.items()),
    )
