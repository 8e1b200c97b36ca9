"""What only the embedded engine has: shares, eviction, sweeping, interrupted transactions."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.bus import embedded
from common.bus.embedded import EmbeddedBus, EmbeddedMember, partition_of, share_out
from common.contracts.envelope import Message
from common.contracts.topics import TOPICS

positions = st.sets(st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 11)), max_size=24)
members = st.sets(st.text("xyz", min_size=1, max_size=3), min_size=1, max_size=6)


@given(partitions=positions, living=members)
def test_every_partition_has_one_owner_and_shares_differ_by_one(
    partitions: set[tuple[str, int]], living: set[str]
) -> None:
    shares = [share_out(sorted(partitions), sorted(living), member) for member in living]
    assert sorted(p for share in shares for p in share) == sorted(partitions)
    sizes = [len(share) for share in shares]
    assert max(sizes) - min(sizes) <= 1
    assert share_out(sorted(partitions), sorted(living), "nobody") == set()


@given(key=st.binary(max_size=20), count=st.integers(1, 64))
def test_a_key_always_has_the_same_partition(key: bytes, count: int) -> None:
    assert partition_of(key, count) == partition_of(bytes(bytearray(key)), count)
    assert 0 <= partition_of(key, count) < count


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[EmbeddedBus]:
    bus = EmbeddedBus(tmp_path / "bus.db")
    await bus.start()
    yield bus
    await bus.close()


def message(value: str, topic: str = "shop.reviews") -> Message:
    return Message(topic, b"k", value.encode(), [])


async def test_a_bus_that_is_not_started_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConnectionError, match="not started"):
        await EmbeddedBus(tmp_path / "bus.db").publish([message("x")])


async def test_an_interrupted_publish_does_not_hold_up_the_next(bus: EmbeddedBus) -> None:
    """Cancelled at any point, the file's one writer is free again."""
    for turns in range(12):
        task = asyncio.create_task(bus.publish([message(f"interrupted {turns}")]))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        async with asyncio.timeout(20):
            await bus.publish([message(f"next {turns}")])
    tail = await bus.reader.execute_fetchall("SELECT offset FROM log ORDER BY offset")
    offsets = [row[0] for row in tail]
    assert offsets == list(range(len(offsets)))
    assert len(offsets) >= 12


async def test_a_member_taken_for_dead_starts_over_from_what_was_committed(
    bus: EmbeddedBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    revoked: list[bool] = []

    async def note() -> None:
        revoked.append(True)

    await bus.publish([message("a"), message("b")])
    member = await bus.subscribe(["shop.reviews"], "g", on_revoked=note)
    [first, _] = await member.poll(10, 0)
    await member.commit({(first.topic, first.partition): first.offset + 1})
    monkeypatch.setattr(embedded, "MEMBER_TIMEOUT_SECONDS", -1.0)
    other = await bus.subscribe(["shop.reviews"], "g")
    await other.close()
    monkeypatch.undo()
    assert [record.value for record in await member.poll(10, 0)] == [b"b"]
    assert revoked
    assert isinstance(member, EmbeddedMember)


async def test_what_is_older_than_the_topics_retention_is_swept_out(
    bus: EmbeddedBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Retention of `kefu.typing` is a minute; readers of swept offsets go on with what is left."""
    monkeypatch.setattr(embedded, "SWEEP_EVERY", 8)
    await bus.publish([message(f"old {n}", "kefu.typing") for n in range(20)])
    retention = TOPICS["kefu.typing"].retention.total_seconds()
    await bus.writer.execute("UPDATE log SET at = at - ?", (retention + 1,))
    await bus.publish([message(f"new {n}", "kefu.typing") for n in range(8)])
    await bus.publish([message(f"newer {n}", "kefu.typing") for n in range(8)])
    left = [row[0] for row in await bus.reader.execute_fetchall("SELECT value FROM log")]
    assert left == [f"new {n}".encode() for n in range(8)] + [
        f"newer {n}".encode() for n in range(8)
    ]
    member = await bus.subscribe(["kefu.typing"], "g")
    assert [record.value for record in await member.poll(100, 0)] == left
    await member.close()


async def test_the_only_process_reads_on_at_once_where_a_killed_one_stopped(
    bus: EmbeddedBus,
) -> None:
    """A member that died is missed after ten seconds; whoever is alone need not wait for that."""
    await bus.publish([message("x")._replace(key=b"%d" % n) for n in range(40)])
    await bus.members("g", "killed")
    await bus.dismiss_members()
    member = await bus.subscribe(["shop.reviews"], "g")
    assert len(await member.poll(100, 0)) == 40
    await member.close()
