"""P2: from a buyer's message to the agent's socket, beside a bare round trip through Kafka.

A shop system posts buyers' messages over HTTP at a steady rate, whether or not earlier ones were
answered; time counts from the moment at which a message was due, so a stall is not hidden. One
message in ten opens a conversation: it counts until the agent's socket shows that the conversation
was assigned to them. The others count until the socket shows the message; what a buyer adds while
still waiting comes to the agent with the assignment.
"""

import asyncio
import contextlib
import os
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

import msgspec
from websockets.asyncio.client import ClientConnection, connect

from bench import rows
from bench.backlog import SHOP
from bench.http import Lines
from bench.measures import Finding, Series, percentile, ratio_at_most, used
from bench.peers.bare_kafka import round_trips
from bench.screen import Effort, Screen
from bench.served import Served, serving
from bench.stage import SMALL_TOPIC, Stage
from bench.turns import in_turns
from common.auth.principal import Role
from common.contracts.topics import TOPICS
from common.ids import new_id

RATE = 300.0
SECONDS = 20.0
WARM_UP_SECONDS = 4.0
AGENTS = 20
ROOM = 1_000
"""Conversations that one agent may hold here: nobody waits for want of agents."""
EACH = 10
"""Messages of one conversation: the first opens it."""
LINES = 40
TEXT = "我昨天下的单,能改一下收货地址吗,新的地址发给你"


class Shown(msgspec.Struct):
    """What is looked at of an event's body."""

    buyer_id: str = ""
    client_message_id: str = ""


class Frame(msgspec.Struct):
    """What is looked at of a frame on the agent's socket."""

    frame: str
    type: str = ""
    body: Shown | None = None


decode_frame = msgspec.json.Decoder(Frame).decode


@dataclass
class Journal:
    """When each message was due, and when it was seen on the socket."""

    due: dict[str, float] = field(default_factory=dict)
    seen: dict[str, float] = field(default_factory=dict)
    refused: list[bytes] = field(default_factory=list)
    of_buyer: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def came_with(self, buyer: str, now: float) -> None:
        """A conversation was assigned: the agent has it now with all that was written so far.

        What is shown by a frame of its own after all counts by that frame.
        """
        for message_id in self.of_buyer[buyer]:
            self.seen.setdefault(message_id, now)


async def run(stage: Stage, effort: Effort, screen: Screen) -> list[Finding]:
    """The finding."""
    seconds = effort.seconds(SECONDS)
    partitions = TOPICS["shop.messages"].partitions

    profile: list[str] = []

    async def ours() -> float:
        journal, spent = await delivered(stage, seconds)
        profile[:] = profiled(journal, spent)
        return percentile(list(waits(journal).values()), 0.99) * 1000

    async def bare() -> float:
        found = await round_trips(
            stage.kafka.url,
            SMALL_TOPIC,
            partitions,
            rate=RATE,
            seconds=seconds,
            warm_up=WARM_UP_SECONDS,
        )
        return percentile(found, 0.99) * 1000

    runs = {"to the agent's socket": ours, "bare Kafka": bare}
    series = await in_turns(runs, effort, screen, title="P2 p99, ms")
    mine, theirs = series.values()
    return [finding(mine, theirs, tuple(profile))]


def finding(ours: Series, bare: Series, profile: tuple[str, ...]) -> Finding:
    """P2."""
    return Finding(
        id="P2",
        what=f"buyer's message to agent's socket at {RATE:g}/s, p99",
        unit="ms",
        ours=ours,
        peer=bare,
        peer_is="bare Kafka round trip at the same rate",
        mark=ratio_at_most(3),
        note=f"1 in {EACH} messages opens a conversation and is routed; "
        "docs/benchmarks.md says what limits it",
        profile=profile,
    )


@dataclass(frozen=True)
class Spent:
    """What a run took: seconds, processor time by process, and what the service's batches were."""

    seconds: float
    cpu: dict[str, float]
    batches: float
    batch_seconds: float
    batch_items: float


async def delivered(stage: Stage, seconds: float) -> tuple[Journal, Spent]:
    """One run: when each message was due and seen, and what that took."""
    journal = Journal()
    async with stage.database() as url:
        await rows.add_agents(url, AGENTS, ROOM, "offline")
        async with serving(stage, url) as served, agents_listening(served, journal):
            begun, before = time.perf_counter(), cpu_of(stage, served)
            await send_all(served, journal, seconds)
            await all_seen(journal)
            lasted, after = time.perf_counter() - begun, cpu_of(stage, served)
            spent = await _spent(served, lasted, used(before, after))
    if journal.refused:
        raise AssertionError(f"{len(journal.refused)} refused: {journal.refused[0]!r}")
    return journal, spent


def cpu_of(stage: Stage, served: Served) -> dict[str, float]:
    """Processor time so far of everything that shares the cores."""
    return served.processor_time(stage) | {"senders and sockets": time.process_time()}


async def _spent(served: Served, seconds: float, cpu: dict[str, float]) -> Spent:
    metrics = await served.metrics()

    def of_commands(name: str) -> float:
        return sum(
            v for key, v in metrics.items() if key.startswith(f"{name}{{") and "commands" in key
        )

    return Spent(
        seconds=seconds,
        cpu=cpu,
        batches=of_commands("kefu_batch_size_count"),
        batch_seconds=of_commands("kefu_batch_duration_seconds_sum"),
        batch_items=of_commands("kefu_batch_size_sum"),
    )


def waits(journal: Journal) -> dict[str, float]:
    """Seconds that each message after the warm-up took."""
    counted = list(journal.due)[int(RATE * WARM_UP_SECONDS) :]
    return {key: journal.seen[key] - journal.due[key] for key in counted}


def profiled(journal: Journal, spent: Spent) -> list[str]:
    """Where the time of a run went."""
    found = waits(journal)
    opening = [wait for key, wait in found.items() if key.endswith("-1")]
    others = [wait for key, wait in found.items() if not key.endswith("-1")]
    cores = {name: seconds / spent.seconds for name, seconds in spent.cpu.items()}
    return [
        f"openings (two batches and the router between them): {_percentiles(opening)}",
        f"other messages (one batch): {_percentiles(others)}",
        f"batches: {spent.batches / spent.seconds:.0f} a second, "
        f"{1000 * spent.batch_seconds / spent.batches:.1f} ms each, "
        f"{spent.batch_items / spent.batches:.1f} commands",
        f"cores busy, of {os.cpu_count()}: {sum(cores.values()):.2f} ("
        + ", ".join(f"{name} {share:.2f}" for name, share in cores.items())
        + ")",
    ]


def _percentiles(seconds: list[float]) -> str:
    p50, p99 = (1000 * percentile(seconds, share) for share in (0.5, 0.99))
    return f"p50 {p50:.0f} ms, p99 {p99:.0f} ms"


@contextlib.asynccontextmanager
async def agents_listening(served: Served, journal: Journal) -> AsyncIterator[None]:
    """Agents with room for everybody, each on a socket."""
    async with contextlib.AsyncExitStack() as open_sockets:
        sockets = []
        for number in range(AGENTS):
            name = f"agent-{number}"
            headers = {"Authorization": f"Bearer {served.token(name, Role.AGENT)}"}
            url = f"ws{served.base_url.removeprefix('http')}/v1/socket"
            socket = await open_sockets.enter_async_context(
                connect(url, additional_headers=headers, proxy=None, compression=None)
            )
            await socket.send('{"frame":"hello"}')
            await socket.recv()
            sockets.append(socket)
        readers = [asyncio.create_task(_read(socket, journal)) for socket in sockets]
        try:
            yield
        finally:
            for reader in readers:
                reader.cancel()
            await asyncio.gather(*readers, return_exceptions=True)


async def _read(socket: ClientConnection, journal: Journal) -> None:
    async for text in socket:
        now = time.perf_counter()
        frame = decode_frame(text)
        if frame.body is None:
            continue
        if frame.type == "conversation.assigned":
            journal.came_with(frame.body.buyer_id, now)
        elif frame.type == "message.received":
            journal.seen[frame.body.client_message_id] = now


@dataclass
class Place:
    """One buyer who is writing, taken by another when they have written all they will."""

    buyer: str
    writes: int
    written: int = 0


def plan(count: int) -> Iterator[tuple[str, str]]:
    """(buyer, message id) in order of sending; a buyer's first message has an id ending in -1.

    As many places as messages in a second and a half, so each buyer writes once in that time. The
    places' first buyers write less than the others, each another number of messages: else all
    places would open a conversation at the same moment, again and again.
    """
    places: list[Place] = []
    width = int(RATE * 1.5)
    for number in range(count):
        if number < width:
            places.append(Place(f"b{number:06d}", EACH - number % EACH))
        place = places[number % width]
        if place.written == place.writes:
            place = places[number % width] = Place(f"b{number:06d}", EACH)
        place.written += 1
        yield place.buyer, f"{place.buyer}-{place.written}"


async def send_all(served: Served, journal: Journal, seconds: float) -> None:
    """Post at the rate; answers are waited for beside."""
    headers = {"Authorization": f"Bearer {served.token('im-adapter', Role.SYSTEM)}"}
    count = int(RATE * (seconds + WARM_UP_SECONDS))
    async with Lines(served.base_url, LINES) as lines, asyncio.TaskGroup() as posting:
        started = time.perf_counter()
        for number, (buyer, message_id) in enumerate(plan(count)):
            at = started + number / RATE
            await asyncio.sleep(max(0.0, at - time.perf_counter()))
            journal.due[message_id] = at
            journal.of_buyer[buyer].append(message_id)
            posting.create_task(_post(lines, headers, buyer, message_id, journal))


async def _post(
    lines: Lines, headers: dict[str, str], buyer: str, message_id: str, journal: Journal
) -> None:
    body = {
        "shop_id": SHOP,
        "buyer_id": buyer,
        "platform": "taobao",
        "message_id": message_id,
        "text": TEXT,
    }
    status, answer = await lines.post("/v1/messages", body, headers | {"Idempotency-Key": new_id()})
    if status != 201:
        journal.refused.append(answer)


async def all_seen(journal: Journal, seconds: float = 30.0) -> None:
    """Wait for the last frames."""
    deadline = time.monotonic() + seconds
    while len(journal.seen) < len(journal.due) and not journal.refused:
        if time.monotonic() > deadline:
            missing = sorted(set(journal.due) - set(journal.seen))
            raise TimeoutError(f"{len(missing)} messages were never shown, such as {missing[:3]}")
        await asyncio.sleep(0.02)
