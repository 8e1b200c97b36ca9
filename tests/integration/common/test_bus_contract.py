"""The promises of the bus port, held by both engines.

Topics are shared with every other test of the session, so each test reads only its own keys.
"""

import asyncio
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import Protocol

import pytest

from common.bus import Bus, GroupInUse, Oversize, Record, Subscription
from common.bus.embedded import EmbeddedBus
from common.bus.kafka import KafkaBus
from common.contracts.envelope import Message
from common.contracts.topics import TOPICS

TOPIC = "shop.reviews"
WAIT_SECONDS = 40.0
PARTITIONS = TOPICS[TOPIC].partitions


class Engine(Protocol):
    """One engine of the bus, opened as often as processes would open it."""

    address: str

    async def open(self) -> Bus: ...


class _Embedded:
    def __init__(self, path: Path) -> None:
        self.address = str(path)

    async def open(self) -> Bus:
        bus = EmbeddedBus(Path(self.address))
        await bus.start()
        return bus


class _Kafka:
    def __init__(self, bootstrap: str) -> None:
        self.address = f"kafka://{bootstrap}"

    async def open(self) -> Bus:
        bus = kafka_bus(self.address.removeprefix("kafka://"))
        await bus.start()
        await bus.ensure_topics()
        return bus


def kafka_bus(bootstrap: str) -> KafkaBus:
    """A bus whose groups notice a dead member within seconds."""
    return KafkaBus(bootstrap, client_id="contract", session_timeout_ms=3_000)


@pytest.fixture(params=["embedded", "kafka"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Engine:
    if request.param == "embedded":
        return _Embedded(tmp_path / "bus.db")
    return _Kafka(str(request.getfixturevalue("kafka_bootstrap")))


@pytest.fixture
async def bus(engine: Engine) -> AsyncIterator[Bus]:
    bus = await engine.open()
    yield bus
    await bus.close()


class Reader:
    """What one subscription was handed of this test's keys, in order."""

    def __init__(self, subscription: Subscription, mark: str) -> None:
        self.subscription = subscription
        self.mark = mark.encode()
        self.records: list[Record] = []

    @property
    def values(self) -> list[bytes]:
        return [record.value for record in self.records]

    async def step(self, *, commit: bool = True) -> list[Record]:
        found = await self.subscription.poll(100, 0.2)
        mine = [record for record in found if record.key.startswith(self.mark)]
        self.records.extend(mine)
        if commit and found:
            await self.subscription.commit({(r.topic, r.partition): r.offset + 1 for r in found})
        return mine

    async def until(self, count: int, *, commit: bool = True) -> list[bytes]:
        async with asyncio.timeout(WAIT_SECONDS):
            while len(self.records) < count:
                await self.step(commit=commit)
        return self.values


class Script:
    """Names of a test's own, and its messages."""

    def __init__(self) -> None:
        self.mark = uuid.uuid4().hex[:10]
        self.group = f"contract.{self.mark}"

    def messages(self, values: Iterable[str], *, keys: int = 1) -> list[Message]:
        return [
            Message(TOPIC, f"{self.mark}:{n % keys}".encode(), value.encode(), [("n", b"\xff\x00")])
            for n, value in enumerate(values)
        ]

    async def join(
        self, bus: Bus, on_revoked: Callable[[], Awaitable[None]] | None = None
    ) -> Reader:
        subscription = await bus.subscribe([TOPIC], self.group, on_revoked=on_revoked)
        return Reader(subscription, self.mark)


@pytest.fixture
def script() -> Script:
    return Script()


def first_seen(records: Sequence[Record]) -> dict[bytes, list[bytes]]:
    """Values per key in the order in which they were first delivered."""
    seen: dict[bytes, dict[bytes, None]] = {}
    for record in records:
        seen.setdefault(record.key, {})[record.value] = None
    return {key: list(values) for key, values in seen.items()}


async def test_messages_of_a_key_arrive_whole_and_in_order(bus: Bus, script: Script) -> None:
    sent = script.messages([f"v{n}" for n in range(60)], keys=5)
    await bus.publish(sent[:31])
    await bus.publish(sent[31:])
    reader = await script.join(bus)
    await reader.until(60)
    await reader.subscription.close()
    by_key = first_seen(reader.records)
    for key in {message.key for message in sent}:
        assert by_key[key] == [m.value for m in sent if m.key == key]
    assert all(record.headers == [("n", b"\xff\x00")] for record in reader.records)
    assert len({(r.topic, r.partition) for r in reader.records if r.key == sent[0].key}) == 1


async def test_every_group_gets_every_message(bus: Bus, script: Script) -> None:
    await bus.publish(script.messages(["a", "b"]))
    for name in ("one", "two"):
        subscription = await bus.subscribe([TOPIC], f"{script.group}.{name}")
        assert await Reader(subscription, script.mark).until(2) == [b"a", b"b"]
        await subscription.close()


async def test_a_member_goes_on_from_what_its_group_committed(bus: Bus, script: Script) -> None:
    await bus.publish(script.messages(["a", "b", "c"]))
    first = await script.join(bus)
    await first.until(3)
    await first.subscription.close()
    await bus.publish(script.messages(["d"]))
    second = await script.join(bus)
    assert await second.until(1) == [b"d"]
    await second.subscription.close()


async def test_what_was_not_committed_is_delivered_again(bus: Bus, script: Script) -> None:
    await bus.publish(script.messages(["a", "b", "c"]))
    first = await script.join(bus)
    await first.until(3, commit=False)
    at = first.records[0]
    await first.subscription.commit({(at.topic, at.partition): at.offset + 1})
    await first.subscription.close()
    second = await script.join(bus)
    assert await second.until(2) == [b"b", b"c"]
    await second.subscription.close()


async def test_two_members_share_the_partitions(bus: Bus, engine: Engine, script: Script) -> None:
    other = await engine.open()
    readers = [await script.join(bus), await script.join(other)]
    rounds = 0

    async def play() -> list[set[bytes]]:
        """Publish to many keys; which keys each member was handed."""
        nonlocal rounds
        rounds += 1
        value = f"round {rounds}"
        await bus.publish(script.messages([value] * 96, keys=96))
        for reader in readers:
            reader.records.clear()
        async with asyncio.timeout(WAIT_SECONDS):
            while (
                len({r.key for x in readers for r in x.records if r.value == value.encode()}) < 96
            ):
                await asyncio.gather(*(reader.step() for reader in readers))
        return [{r.key for r in x.records if r.value == value.encode()} for x in readers]

    async with asyncio.timeout(WAIT_SECONDS):
        while not all(await play()):
            pass
    first, second = await play()
    assert first
    assert second
    assert not first & second
    for reader in readers:
        await reader.subscription.close()
    await other.close()


async def test_a_leaving_member_hands_its_partitions_over(
    bus: Bus, engine: Engine, script: Script
) -> None:
    """Members come and go while messages flow: nothing is lost, keys stay in order."""
    sent = script.messages([f"v{n:03}" for n in range(300)], keys=30)
    other = await engine.open()
    revoked = asyncio.Event()

    async def note() -> None:
        revoked.set()

    readers = [await script.join(bus, note)]
    log: list[Record] = []

    async def step() -> None:
        for found in await asyncio.gather(*(reader.step() for reader in readers)):
            log.extend(found)

    await bus.publish(sent[:100])
    await step()
    readers.append(await script.join(other))
    async with asyncio.timeout(WAIT_SECONDS):
        while not revoked.is_set():
            await step()
    await bus.publish(sent[100:200])
    await step()
    await readers.pop().subscription.close()
    await bus.publish(sent[200:])
    async with asyncio.timeout(WAIT_SECONDS):
        while len({record.value for record in log}) < len(sent):
            await step()
    by_key = first_seen(log)
    for key in {message.key for message in sent}:
        assert by_key[key] == [m.value for m in sent if m.key == key]
    await readers.pop().subscription.close()
    await other.close()


async def test_what_a_killed_member_had_in_hand_goes_to_another(
    bus: Bus, engine: Engine, script: Script
) -> None:
    await bus.publish(script.messages([f"v{n}" for n in range(20)], keys=7))
    member = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.integration.common.member"),
        *(engine.address, TOPIC, script.group, script.mark),
        stdout=asyncio.subprocess.PIPE,
    )
    assert member.stdout is not None
    async with asyncio.timeout(WAIT_SECONDS):
        taken = [await member.stdout.readline() for _ in range(20)]
    assert len(set(taken)) == 20
    member.kill()
    await member.wait()
    survivor = await script.join(bus)
    assert sorted(await survivor.until(20)) == sorted(f"v{n}".encode() for n in range(20))
    await survivor.subscription.close()


async def test_a_group_can_be_read_again_from_a_position(bus: Bus, script: Script) -> None:
    await bus.publish(script.messages(["a", "b", "c"]))
    first = await script.join(bus)
    await first.until(3)
    at = first.records[1]
    with pytest.raises(GroupInUse):
        await bus.rewind(script.group, {(at.topic, at.partition): at.offset})
    await first.subscription.close()
    await bus.rewind(script.group, {(at.topic, at.partition): at.offset})
    second = await script.join(bus)
    assert await second.until(2) == [b"b", b"c"]
    await second.subscription.close()


async def test_every_tail_sees_all_that_is_published_after_it_was_opened(
    bus: Bus, engine: Engine, script: Script
) -> None:
    other = await engine.open()
    await bus.publish(script.messages(["before"] * 24, keys=24))
    tails = [Reader(await b.tail([TOPIC]), script.mark) for b in (bus, other)]
    await bus.publish(script.messages([f"after {n}" for n in range(24)], keys=24))
    for tail in tails:
        assert sorted(await tail.until(24)) == sorted(f"after {n}".encode() for n in range(24))
        await tail.subscription.close()
    await other.close()


async def test_what_was_published_is_there_after_reopening(engine: Engine, script: Script) -> None:
    bus = await engine.open()
    await bus.publish(script.messages(["kept"]))
    await bus.close()
    again = await engine.open()
    reader = await script.join(again)
    assert await reader.until(1) == [b"kept"]
    await reader.subscription.close()
    await again.close()


async def test_a_message_too_large_for_its_topic_refuses_its_whole_batch(
    bus: Bus, script: Script
) -> None:
    limit = TOPICS[TOPIC].max_message_bytes
    small, large = script.messages(["small", "x" * limit])
    with pytest.raises(Oversize):
        await bus.publish([small, large])
    just_fits = large._replace(value=b"y" * (limit - 400))
    await bus.publish([just_fits])
    reader = await script.join(bus)
    assert await reader.until(1) == [just_fits.value]
    await reader.subscription.close()


async def test_lag_counts_what_a_group_has_not_finished(bus: Bus, script: Script) -> None:
    await bus.publish(script.messages(["a", "b", "c"]))
    reader = await script.join(bus)
    await reader.until(3)
    at = reader.records[0]
    position = (at.topic, at.partition)
    await reader.subscription.commit({position: at.offset + 1})
    await reader.subscription.close()
    behind = {(lag.topic, lag.partition): lag.behind for lag in await bus.lag(script.group)}
    assert behind[position] == 2
    before = sum(lag.behind for lag in await bus.lag(script.group))
    await bus.publish(script.messages(["d"] * 48, keys=48))
    assert sum(lag.behind for lag in await bus.lag(script.group)) == before + 48
    assert await bus.lag(f"{script.group}.unknown") == []


async def test_an_idle_member_keeps_its_partitions_and_takes_nothing(
    bus: Bus, script: Script
) -> None:
    reader = await script.join(bus)
    await bus.publish(script.messages(["a"]))
    await reader.until(1)
    await bus.publish(script.messages(["b"]))
    for _ in range(3):
        await reader.subscription.idle()
    assert await reader.until(2) == [b"a", b"b"]
    await reader.subscription.close()


async def polled_for_ever(subscription: Subscription) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            await subscription.poll(1, 0.2)


async def test_a_member_or_tail_whose_client_stopped_fetching_says_so(
    kafka_bootstrap: str, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    """uvloop answers a write to a connection that was cut with an error of its own, at which the
    client gives up fetching without a word."""

    async def cut(*_: object, **__: object) -> None:
        raise RuntimeError("unable to perform operation on <TCPTransport closed=True>")

    bus = kafka_bus(kafka_bootstrap)
    await bus.ensure_topics()
    member = (await script.join(bus)).subscription
    for subscription in (member, await bus.tail([TOPIC])):
        await subscription.poll(1, 0.5)
        monkeypatch.setattr(subscription._consumer._client, "send", cut)  # type: ignore[attr-defined]
        with pytest.raises(ConnectionError):
            await polled_for_ever(subscription)
        await subscription.close()
    await bus.close()
