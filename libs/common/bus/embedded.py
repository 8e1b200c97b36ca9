"""The embedded engine: a durable log in one SQLite file, for one machine.

Partitions, groups, membership and committed positions are rows; whoever opens the file takes
part, so several processes may share it. Members prove that they live by polling; one that falls
silent loses its partitions to the others. Publishing wakes the readers of this process at once,
readers of other processes look again after `FOREIGN_POLL_SECONDS`. Whoever appends also sweeps
out what is older than the topic's retention.
"""

import asyncio
import contextlib
import json
import sqlite3
import time
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import aiosqlite

from common.bus.port import GroupInUse, Lag, OnRevoked, Position, Record, require_fit
from common.contracts.envelope import Message
from common.contracts.topics import TOPICS
from common.ids import new_id

MEMBER_TIMEOUT_SECONDS = 10.0
HEARTBEAT_SECONDS = 2.0
FOREIGN_POLL_SECONDS = 0.1
# One sweep per so many records of a partition removes up to twice as many expired ones.
SWEEP_EVERY = 512

_SCHEMA = """
CREATE TABLE IF NOT EXISTS log (
  topic TEXT NOT NULL, partition INTEGER NOT NULL, offset INTEGER NOT NULL,
  key BLOB NOT NULL, value BLOB NOT NULL, headers TEXT NOT NULL, at REAL NOT NULL,
  PRIMARY KEY (topic, partition, offset)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS ends (
  topic TEXT NOT NULL, partition INTEGER NOT NULL, next INTEGER NOT NULL,
  PRIMARY KEY (topic, partition)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS positions (
  group_name TEXT NOT NULL, topic TEXT NOT NULL, partition INTEGER NOT NULL, next INTEGER NOT NULL,
  PRIMARY KEY (group_name, topic, partition)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS members (
  group_name TEXT NOT NULL, member TEXT NOT NULL, seen_at REAL NOT NULL,
  PRIMARY KEY (group_name, member)) WITHOUT ROWID;
"""


def partition_of(key: bytes, partitions: int) -> int:
    """The partition of a key: the same key always, keys spread evenly."""
    return zlib.crc32(key) % partitions


def share_out(partitions: Sequence[Position], members: Sequence[str], member: str) -> set[Position]:
    """The partitions of one member: every one has exactly one owner, shares differ by one."""
    if member not in members:
        return set()
    place = sorted(members).index(member)
    return {p for n, p in enumerate(sorted(partitions)) if n % len(members) == place}


class EmbeddedBus:
    """The bus of one machine, in the file at `path`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: aiosqlite.Connection | None = None
        self._reader: aiosqlite.Connection | None = None
        self._write = asyncio.Lock()
        self._published = asyncio.Condition()
        self.publishes = 0

    @property
    def writer(self) -> aiosqlite.Connection:
        """The connection that writes; `ConnectionError` before `start`."""
        if self._writer is None:
            raise ConnectionError("the embedded bus is not started")
        return self._writer

    @property
    def reader(self) -> aiosqlite.Connection:
        """A connection of its own for reading: the writer's would show what may be rolled back."""
        if self._reader is None:
            raise ConnectionError("the embedded bus is not started")
        return self._reader

    async def start(self) -> None:
        """Open the file, making it if it is missing."""
        if self._writer is not None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._writer = await _connection(self._path)
        await self._writer.executescript(_SCHEMA)
        self._reader = await _connection(self._path)

    async def close(self) -> None:
        """Close the file."""
        connections = (self._writer, self._reader)
        self._writer = self._reader = None
        for connection in connections:
            if connection is not None:
                await connection.close()

    async def ping(self) -> None:
        """Raises when the file cannot be read."""
        await self.reader.execute_fetchall("SELECT 1")

    async def ensure_topics(self) -> list[str]:
        """Topics need no making here."""
        return []

    async def publish(self, messages: Sequence[Message]) -> None:
        """Append all messages in one transaction."""
        if not messages:
            return
        require_fit(messages)
        async with self._write, _transaction(self.writer) as db:
            ends = await self._ends({m.topic for m in messages})
            rows = [_log_row(message, ends) for message in messages]
            await db.executemany("INSERT INTO log VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
            await db.executemany(
                "INSERT OR REPLACE INTO ends VALUES (?, ?, ?)",
                [(topic, partition, end) for (topic, partition), end in ends.items()],
            )
            await self._sweep(db, {(row[0], row[1]) for row in rows if row[2] % SWEEP_EVERY == 0})
        async with self._published:
            self.publishes += 1
            self._published.notify_all()

    async def _sweep(self, db: aiosqlite.Connection, positions: Iterable[Position]) -> None:
        for topic, partition in positions:
            before = time.time() - TOPICS[topic].retention.total_seconds()
            await db.execute(
                "DELETE FROM log WHERE topic = ?1 AND partition = ?2 AND at < ?3 AND offset IN "
                "(SELECT offset FROM log WHERE topic = ?1 AND partition = ?2 "
                "ORDER BY offset LIMIT ?4)",
                (topic, partition, before, 2 * SWEEP_EVERY),
            )

    async def _ends(self, topics: Iterable[str]) -> dict[Position, int]:
        listed = json.dumps(sorted(topics))
        found = await self.reader.execute_fetchall(
            "SELECT topic, partition, next FROM ends "
            "WHERE topic IN (SELECT value FROM json_each(?))",
            (listed,),
        )
        return {(topic, partition): end for topic, partition, end in found}

    async def wait_for_more(self, timeout: float, *, seen: int) -> None:
        """Until this process publishes more than `seen` times, or the time is up."""
        try:
            async with asyncio.timeout(timeout), self._published:
                await self._published.wait_for(lambda: self.publishes > seen)
        except TimeoutError:
            return

    async def read(self, positions: Mapping[Position, int], max_records: int) -> list[Record]:
        """Records from these offsets on, at most `max_records`, fair among partitions."""
        if not positions:
            return []
        ends = await self._ends({topic for topic, _ in positions})
        behind = [p for p in positions if ends.get(p, 0) > positions[p]]
        if not behind:
            return []
        share = max(1, max_records // len(behind))
        found: list[Record] = []
        for topic, partition in behind:
            rows = await self.reader.execute_fetchall(
                "SELECT topic, partition, offset, key, value, headers FROM log "
                "WHERE topic = ? AND partition = ? AND offset >= ? ORDER BY offset LIMIT ?",
                (topic, partition, positions[topic, partition], share),
            )
            found.extend(_record(row) for row in rows)
        return found

    async def subscribe(
        self, topics: Iterable[str], group: str, *, on_revoked: OnRevoked | None = None
    ) -> "EmbeddedMember":
        """Join a group."""
        member = EmbeddedMember(self, tuple(topics), group, on_revoked)
        await member.beat(force=True)
        return member

    async def tail(self, topics: Iterable[str]) -> "EmbeddedTail":
        """Read from the present end on."""
        partitions = all_partitions(topics)
        ends = await self._ends({topic for topic, _ in partitions})
        return EmbeddedTail(self, {p: ends.get(p, 0) for p in partitions})

    async def lag(self, group: str) -> list[Lag]:
        """How far a group is behind on each partition of the topics that it has read from."""
        committed = await self.positions(group)
        ends = await self._ends({topic for topic, _ in committed})
        known = sorted(ends)
        firsts = {at: await self._first(at) for at in known if at not in committed}
        return [Lag(group, *at, committed.get(at, firsts.get(at, 0)), ends[at]) for at in known]

    async def _first(self, position: Position) -> int:
        found = await self.reader.execute_fetchall(
            "SELECT coalesce(min(offset), 0) FROM log WHERE topic = ? AND partition = ?", position
        )
        return int(next(iter(found))[0])

    async def rewind(self, group: str, offsets: Mapping[Position, int]) -> None:
        """Set committed positions of a group that has no members at present."""
        fresh = time.time() - MEMBER_TIMEOUT_SECONDS
        living = await self.reader.execute_fetchall(
            "SELECT 1 FROM members WHERE group_name = ? AND seen_at >= ?", (group, fresh)
        )
        if living:
            raise GroupInUse(f"stop the members of {group} first")
        await self.store_positions(group, offsets)

    async def positions(self, group: str) -> dict[Position, int]:
        """Committed positions of a group."""
        found = await self.reader.execute_fetchall(
            "SELECT topic, partition, next FROM positions WHERE group_name = ?", (group,)
        )
        return {(topic, partition): at for topic, partition, at in found}

    async def store_positions(self, group: str, offsets: Mapping[Position, int]) -> None:
        """Commit positions of a group."""
        rows = [(group, topic, partition, at) for (topic, partition), at in offsets.items()]
        async with self._write, _transaction(self.writer) as db:
            await db.executemany("INSERT OR REPLACE INTO positions VALUES (?, ?, ?, ?)", rows)

    async def members(self, group: str, member: str, *, leave: bool = False) -> list[str]:
        """Register a sign of life (or the leaving) of a member; who is alive now."""
        now = time.time()
        async with self._write, _transaction(self.writer) as db:
            if leave:
                sql, values = (
                    "DELETE FROM members WHERE group_name = ? AND member = ?",
                    (group, member),
                )
                await db.execute(sql, values)
            else:
                await db.execute(
                    "INSERT OR REPLACE INTO members VALUES (?, ?, ?)", (group, member, now)
                )
            await db.execute(
                "DELETE FROM members WHERE seen_at < ?", (now - MEMBER_TIMEOUT_SECONDS,)
            )
        return await self.alive(group)

    async def dismiss_members(self) -> None:
        """Forget every member: for a process that knows to be the only one with this file.

        Whoever is on the list died with an earlier process. Left there until it is missed, it
        keeps its partitions from their readers, and a process that dies every few seconds would
        never come to read some of them.
        """
        async with self._write, _transaction(self.writer) as db:
            await db.execute("DELETE FROM members")

    async def alive(self, group: str) -> list[str]:
        """The members of a group."""
        found = await self.reader.execute_fetchall(
            "SELECT member FROM members WHERE group_name = ? ORDER BY member", (group,)
        )
        return [row[0] for row in found]


class EmbeddedTail:
    """Everything published since it was opened."""

    def __init__(self, bus: EmbeddedBus, positions: dict[Position, int]) -> None:
        self._bus = bus
        self._positions = positions

    async def poll(self, max_records: int, timeout: float) -> list[Record]:
        """The next records of any partition."""
        deadline = time.monotonic() + timeout
        while True:
            seen = self._bus.publishes
            found = await self._bus.read(self._positions, max_records)
            for record in found:
                self._positions[record.topic, record.partition] = record.offset + 1
            left = deadline - time.monotonic()
            if found or left <= 0:
                return found
            await self._bus.wait_for_more(min(left, FOREIGN_POLL_SECONDS), seen=seen)

    async def commit(self, offsets: Mapping[Position, int]) -> None:
        """A tail has no positions to keep."""

    async def idle(self) -> None:
        """Nothing to keep alive."""

    async def close(self) -> None:
        """Nothing to free."""


class EmbeddedMember:
    """A member of a group."""

    def __init__(
        self, bus: EmbeddedBus, topics: tuple[str, ...], group: str, on_revoked: OnRevoked | None
    ) -> None:
        self._bus = bus
        self._group = group
        self._partitions = all_partitions(topics)
        self._on_revoked = on_revoked
        self._id = new_id()
        self._beaten_at = float("-inf")
        self._alive: list[str] = []
        self._positions: dict[Position, int] = {}

    async def beat(self, *, force: bool = False) -> None:
        """Show life now and then, and take over or give up partitions when members changed."""
        due = force or time.monotonic() - self._beaten_at >= HEARTBEAT_SECONDS
        alive = await (
            self._bus.members(self._group, self._id) if due else self._bus.alive(self._group)
        )
        if due:
            self._beaten_at = time.monotonic()
        if alive != self._alive:
            if self._id not in alive:
                await self._rebalance([])  # taken for dead: others have read on from here
                alive = await self._bus.members(self._group, self._id)
            await self._rebalance(alive)

    async def _rebalance(self, alive: list[str]) -> None:
        mine = share_out(self._partitions, alive, self._id)
        if self._on_revoked and set(self._positions) - mine:
            await self._on_revoked()
        committed = await self._bus.positions(self._group)
        self._positions = {p: self._positions.get(p, committed.get(p, 0)) for p in mine}
        self._alive = alive

    async def poll(self, max_records: int, timeout: float) -> list[Record]:
        """The next records of the partitions that are ours."""
        deadline = time.monotonic() + timeout
        while True:
            await self.beat()
            seen = self._bus.publishes
            found = await self._bus.read(self._positions, max_records)
            for record in found:
                self._positions[record.topic, record.partition] = record.offset + 1
            left = deadline - time.monotonic()
            if found or left <= 0:
                return found
            await self._bus.wait_for_more(min(left, FOREIGN_POLL_SECONDS), seen=seen)

    async def commit(self, offsets: Mapping[Position, int]) -> None:
        """Store positions of partitions that are still ours."""
        ours = {p: at for p, at in offsets.items() if p in self._positions}
        if ours:
            await self._bus.store_positions(self._group, ours)

    async def idle(self) -> None:
        """Show life."""
        await self.beat()

    async def close(self) -> None:
        """Leave the group, so that others take over at once."""
        await self._bus.members(self._group, self._id, leave=True)


def all_partitions(topics: Iterable[str]) -> list[Position]:
    """Every partition of these topics."""
    return [(topic, n) for topic in topics for n in range(TOPICS[topic].partitions)]


async def _connection(path: Path) -> aiosqlite.Connection:
    connection = await aiosqlite.connect(path, isolation_level=None, timeout=30)
    await connection.execute("PRAGMA journal_mode = WAL")
    await connection.execute("PRAGMA synchronous = FULL")
    return connection


class _transaction:  # noqa: N801 - a context manager that is used like a function
    """BEGIN IMMEDIATE … COMMIT, or ROLLBACK on an error."""

    def __init__(self, db: aiosqlite.Connection) -> None:
        self._db = db

    async def __aenter__(self) -> aiosqlite.Connection:
        try:
            await self._db.execute("BEGIN IMMEDIATE")
        except asyncio.CancelledError:
            # The connection's thread begins all the same: end that for whoever comes next.
            with contextlib.suppress(sqlite3.OperationalError):
                await self._db.execute("ROLLBACK")
            raise
        return self._db

    async def __aexit__(self, kind: type[BaseException] | None, *_: Any) -> None:
        await self._db.execute("ROLLBACK" if kind else "COMMIT")


def _log_row(message: Message, ends: dict[Position, int]) -> tuple[Any, ...]:
    partition = partition_of(message.key, TOPICS[message.topic].partitions)
    offset = ends.get((message.topic, partition), 0)
    ends[message.topic, partition] = offset + 1
    pairs = [(name, value.decode("utf-8", "surrogateescape")) for name, value in message.headers]
    headers = json.dumps(pairs)
    return (message.topic, partition, offset, message.key, message.value, headers, time.time())


def _record(row: Any) -> Record:
    topic, partition, offset, key, value, headers = row
    pairs = [(name, text.encode("utf-8", "surrogateescape")) for name, text in json.loads(headers)]
    return Record(topic, partition, offset, bytes(key), bytes(value), pairs)
