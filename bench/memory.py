"""P9: memory of one service process, idle and with 100,000 open conversations.

Resident memory of the process as the kernel counts it, with PostgreSQL and Kafka: idle a while
after it is ready; and at work on a shop whose agents hold 100,000 open conversations, while
messages of their buyers arrive: the highest that was seen.
"""

import asyncio
import random

from bench import backlog, rows
from bench.measures import Finding, Series, figure_at_most
from bench.screen import Effort, Screen
from bench.served import Served, serving
from bench.stage import Stage
from bench.turns import in_turns

OPEN = 100_000
AGENTS = 2_000
IDLE_SECONDS = 10.0
BUSY_SECONDS = 20.0
RATE = 300
LOOK_SECONDS = 0.25


async def run(stage: Stage, effort: Effort, screen: Screen) -> list[Finding]:
    """Both findings."""
    count = effort.scaled(OPEN)
    screen.say(f"P9: {count} open conversations")
    async with stage.database() as filled:
        await rows.add_open_conversations(filled, count, effort.scaled(AGENTS))
        series = await in_turns(
            {
                "idle": lambda: idle(stage, effort.seconds(IDLE_SECONDS)),
                f"{count} open": lambda: busy(stage, filled, count, effort.seconds(BUSY_SECONDS)),
            },
            effort,
            screen,
            title="P9 MiB",
        )
    idle_, busy_ = series.values()
    return findings(idle_, busy_, count)


def findings(idle_: Series, busy_: Series, count: int) -> list[Finding]:
    """P9a and P9b."""
    return [
        Finding(
            id="P9a",
            what="memory of chat_router, idle",
            unit="MiB",
            ours=idle_,
            mark=figure_at_most(120, "MiB"),
        ),
        Finding(
            id="P9b",
            what=f"memory of chat_router, {count:,} open conversations, {RATE} messages/s",
            unit="MiB",
            ours=busy_,
            mark=figure_at_most(400, "MiB"),
        ),
    ]


async def idle(stage: Stage, seconds: float) -> float:
    """After a while of nothing."""
    async with stage.database() as url, serving(stage, url) as served:
        return await highest(served, seconds)


async def busy(stage: Stage, url: str, count: int, seconds: float) -> float:
    """While buyers of open conversations write."""
    async with serving(stage, url) as served:
        writing = asyncio.create_task(write(stage, count, seconds))
        found = await highest(served, seconds)
        await writing
        served.program.require_running()
    return found


async def write(stage: Stage, count: int, seconds: float) -> None:
    """Messages of random buyers, once a second as many as come in a second."""
    numbers = random.Random(7)
    for second in range(int(seconds)):
        buyers = [numbers.randint(1, count) for _ in range(RATE)]
        found = backlog.messages(buyers, 1, first=second * RATE)
        records = [backlog.record_of(message) for message in found]
        await asyncio.gather(backlog.publish(stage.kafka.url, records), asyncio.sleep(1.0))


async def highest(served: Served, seconds: float) -> float:
    """The highest resident memory over a time, in MiB."""
    top = 0.0
    for _ in range(int(seconds / LOOK_SECONDS)):
        await asyncio.sleep(LOOK_SECONDS)
        top = max(top, served.program.resident_mebibytes())
    return top
