"""The relay on a bus and a database of its own: order, failures, late rows, stopping."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.clock import utc_now
from common.contracts.envelope import Message
from common.db.database import Database
from common.runtime.leader import Leader
from common.runtime.meters import Meters
from common.runtime.relay import Pending, Relay, may_fly
from tests.support.harness import make, until
from tests.support.tally.service import TALLY

keys = st.sampled_from([b"a", b"b", b"c"])
topics = st.sampled_from(["t1", "t2"])


def pending(position: int, topic: str, key: bytes) -> Pending:
    return Pending(position, topic, key, b"", "[]", None)


@given(
    rows=st.lists(st.tuples(topics, keys), max_size=30),
    flying=st.sets(st.tuples(topics, keys)),
)
def test_no_row_starts_while_another_of_its_key_is_on_its_way(
    rows: list[tuple[str, bytes]], flying: set[tuple[str, bytes]]
) -> None:
    waiting = [pending(n, topic, key) for n, (topic, key) in enumerate(rows)]
    group = may_fly(waiting, flying)
    assert not {row.order_key for row in group} & flying
    # Of every key either all rows go, in order, or none: nothing overtakes.
    for key in {row.order_key for row in waiting} - flying:
        assert [r for r in group if r.order_key == key] == [
            r for r in waiting if r.order_key == key
        ]


class FakeBus:
    """Takes messages, slowly or not at all, and sees when two of a key overlap."""

    def __init__(self) -> None:
        self.published: list[bytes] = []
        self.failures = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.in_flight: list[tuple[str, bytes]] = []
        self.overlapping = False

    async def publish(self, messages: Sequence[Message]) -> None:
        held = [(m.topic, m.key) for m in messages]
        self.overlapping |= bool(set(held) & set(self.in_flight))
        self.in_flight += held
        try:
            await self.gate.wait()
            await asyncio.sleep(0)
            if self.failures:
                self.failures -= 1
                raise ConnectionError("the broker is out")
            self.published += [message.value for message in messages]
        finally:
            for one in held:
                self.in_flight.remove(one)


class Rig:
    """A relay with its outbox."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.bus = FakeBus()
        self.leader = Leader(database, lambda _loops: None)
        self.relay = Relay(
            database,
            self.bus,  # type: ignore[arg-type]
            self.leader,
            clock=utc_now,
            meters=Meters("tally"),
        )

    async def put(self, *values: str, key: bytes = b"k", position: int | None = None) -> None:
        moment = datetime(2026, 3, 1, tzinfo=UTC)
        stored: Any = moment if not self.database.is_sqlite else "2026-03-01 00:00:00.000000"
        columns = "topic, key, value, headers, created_at"
        rows = [("t", key, value.encode(), "[]", stored) for value in values]
        if position is not None:
            columns = "position, " + columns
            rows = [(position, *row) for row in rows]  # type: ignore[misc]
        marks = ", ".join(
            "?" if self.database.is_sqlite else f"${n + 1}" for n in range(len(rows[0]))
        )
        async with self.database.write() as conn:
            for row in rows:
                await conn.exec_driver_sql(f"INSERT INTO outbox ({columns}) VALUES ({marks})", row)
        self.relay.wake()

    async def left(self) -> int:
        async with self.database.read() as conn:
            return int((await conn.exec_driver_sql("SELECT count(*) FROM outbox")).scalar() or 0)

    async def emptied(self) -> None:
        async def empty() -> bool:
            return not await self.left() and not self.relay._flying

        await until(empty)


@pytest.fixture
async def rig(tmp_path: Path, database_url: str) -> Any:
    service = await make(TALLY, tmp_path, database_url)
    rig = Rig(service.database)
    rig.leader.start()
    yield rig
    await rig.relay.stop(5)
    await rig.leader.stop(5)
    await service.stop()
    await service.bus.close()


async def test_everything_is_published_in_order_and_deleted(rig: Rig) -> None:
    rig.relay.start()
    await rig.put(*(f"v{n:02}" for n in range(40)))
    await rig.emptied()
    assert rig.bus.published == [f"v{n:02}".encode() for n in range(40)]


async def test_failures_delay_but_never_reorder_or_lose(rig: Rig) -> None:
    rig.bus.failures = 3
    rig.relay.start()
    for n in range(12):
        await rig.put(f"a{n:02}", key=b"a")
        await rig.put(f"b{n:02}", key=b"b")
    await rig.emptied()
    seen = list(dict.fromkeys(rig.bus.published))
    for key in (b"a", b"b"):
        assert [v for v in seen if v.startswith(key)] == [b"%s%02d" % (key, n) for n in range(12)]
    assert not rig.bus.overlapping


async def test_a_key_on_its_way_holds_its_later_rows_back_and_no_others(rig: Rig) -> None:
    rig.bus.gate.clear()
    rig.relay.start()
    await rig.put("first", key=b"a")

    async def aloft() -> bool:
        return bool(rig.bus.in_flight)

    await until(aloft)
    await rig.put("second", key=b"a")
    await rig.put("other", key=b"b")

    async def both_keys() -> bool:
        return set(rig.bus.in_flight) == {("t", b"a"), ("t", b"b")}

    await until(both_keys)
    rig.bus.gate.set()
    await rig.emptied()
    assert not rig.bus.overlapping
    assert [v for v in rig.bus.published if v != b"other"] == [b"first", b"second"]


async def test_a_row_committed_late_with_a_lower_position_is_not_lost(rig: Rig) -> None:
    rig.relay.start()
    await rig.put("later", position=1_000)
    await rig.emptied()
    await rig.put("late", position=7)
    await rig.emptied()
    assert rig.bus.published == [b"later", b"late"]


async def test_stopping_publishes_what_is_pending_first(rig: Rig) -> None:
    await rig.put(*(f"v{n}" for n in range(5)))
    assert await rig.leader.wait_elected(10)
    rig.relay.start()
    await rig.relay.stop(10)
    assert len(rig.bus.published) == 5
    assert await rig.left() == 0


async def test_stopping_while_the_bus_is_out_keeps_the_rows(rig: Rig) -> None:
    await rig.put("kept")
    assert await rig.leader.wait_elected(10)
    rig.bus.failures = 1000
    rig.relay.start()

    async def tried() -> bool:
        return rig.bus.failures < 1000

    await until(tried)
    await rig.relay.stop(10)
    assert rig.relay._task is not None
    assert rig.relay._task.done()
    assert not rig.relay._task.cancelled()
    assert await rig.left() == 1
