"""What a run left behind, read without the services' own code: tables, topics and journals.

Plain SQL (sqlite3 or asyncpg), raw Kafka records (or the embedded engine's log table), and the
load's journals as JSON lines. Nothing of `common`, of a service or of `kefu` is imported.
"""

import asyncio
import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from tests.support.cluster import SERVICES, Cluster

Row = dict[str, Any]

TABLES: Mapping[str, Sequence[str]] = {
    "chat_router": ("conversations", "messages", "agents"),
    "order_ops": ("orders", "reminders", "memos"),
    "aftersales": ("cases", "holds", "paid_orders", "sent_commands"),
    "feedback": ("items",),
}
BACKBONE = ("inbox", "outbox", "timers", "dead_letters", "parked_keys", "feed", "feed_heads")
TOPICS = (
    "shop.messages", "shop.orders", "shop.aftersales", "shop.reviews", "kefu.conversations",
    "kefu.agents", "kefu.orders", "kefu.reminders", "kefu.cases", "kefu.feedback",
    "kefu.commands", "kefu.dead_letters",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Published:
    """A record on a topic. `body` is None when it is not a JSON object."""

    topic: str
    partition: int
    offset: int
    key: str
    headers: Mapping[str, str]
    body: Mapping[str, Any] | None

    @property
    def id(self) -> tuple[str, str]:
        """What tells one event from another: its source and id."""
        return self.headers.get("ce_source", ""), self.headers.get("ce_id", "")

    @property
    def type(self) -> str:
        """The event's name, without prefix and version."""
        return self.headers.get("ce_type", "").removeprefix("kefu.").rpartition(".v")[0]

    @property
    def deliveries(self) -> dict[str, int]:
        """Receiver → number of this event in the receiver's feed."""
        text = self.headers.get("ce_deliveries", "")
        pairs = (pair.split("=") for pair in text.split(",") if pair)
        return {unquote(receiver): int(number) for receiver, number in pairs}


@dataclass(slots=True)
class Evidence:
    """Everything that the checks look at, as it was at `taken_at`."""

    tables: dict[str, dict[str, list[Row]]] = field(default_factory=dict)
    log: list[Published] = field(default_factory=list)
    journal: list[Row] = field(default_factory=list)
    platform: list[Row] = field(default_factory=list)
    taken_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def rows(self, service: str, table: str) -> list[Row]:
        """The rows of a table."""
        return self.tables.get(service, {}).get(table, [])

    def firsts(self, topic: str) -> list[Published]:
        """Each event of a topic once, where it first stands, partition by partition."""
        seen: set[tuple[str, str]] = set()
        found: list[Published] = []
        for record in sorted(self.log, key=lambda one: (one.partition, one.offset)):
            if record.topic == topic and record.id not in seen:
                seen.add(record.id)
                found.append(record)
        return found


def gather(cluster: Cluster, journals: Iterable[Path]) -> Evidence:
    """Reads everything of a cluster; its processes may run or be stopped."""
    evidence = Evidence(journal=read_journals(journals))
    if cluster.embedded:
        evidence.tables = {name: _sqlite_tables(cluster.home, name) for name in SERVICES}
        evidence.log = _embedded_log(cluster.home)
    else:
        evidence.tables = asyncio.run(_postgres_tables(cluster.database_url))
        evidence.log = asyncio.run(read_kafka(cluster.kafka))
    evidence.platform = _platform(cluster.home)
    return evidence


def read_journals(paths: Iterable[Path]) -> list[Row]:
    """The records of all journals; a last line that was cut off is left out."""
    lines = (line for path in paths for line in path.read_bytes().splitlines(keepends=True))
    return [json.loads(line) for line in lines if line.endswith(b"\n")]


# -- the embedded engine --------------------------------------------------------------------


def _sqlite_rows(path: Path, query: str) -> list[Row]:
    with closing(sqlite3.connect(path, timeout=30)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(found) for found in connection.execute(query)]


def _sqlite_tables(home: Path, service: str) -> dict[str, list[Row]]:
    path = home / f"{service}.db"
    return {
        table: _sqlite_rows(path, f"SELECT * FROM {table}")
        for table in (*TABLES[service], *BACKBONE)
    }


def _embedded_log(home: Path) -> list[Published]:
    query = "SELECT topic, partition, offset, key, value, headers FROM log"
    return [
        _published(
            one["topic"], one["partition"], one["offset"], one["key"], one["value"],
            dict(json.loads(one["headers"])),
        )
        for one in _sqlite_rows(home / "bus.db", query)
        if one["topic"] in TOPICS
    ]  # fmt: skip


def _platform(home: Path) -> list[Row]:
    path = home / "sandbox.db"
    return _sqlite_rows(path, "SELECT * FROM outcomes") if path.exists() else []


def _published(
    topic: str, partition: int, offset: int, key: bytes, value: bytes, headers: Mapping[str, str]
) -> Published:
    try:
        body = json.loads(value)
    except (ValueError, UnicodeDecodeError):
        body = None
    body = body if isinstance(body, dict) else None
    return Published(topic, partition, offset, key.decode(errors="replace"), headers, body)


# -- PostgreSQL and Kafka -------------------------------------------------------------------


async def _postgres_tables(url: str) -> dict[str, dict[str, list[Row]]]:
    import asyncpg

    connection = await asyncpg.connect(url, timeout=30)
    try:
        return {
            service: {
                table: [
                    dict(found)
                    for found in await connection.fetch(f'SELECT * FROM "{service}"."{table}"')
                ]
                for table in (*TABLES[service], *BACKBONE)
            }
            for service in SERVICES
        }
    finally:
        await connection.close()


async def read_kafka(bootstrap: str, topics: Sequence[str] = TOPICS) -> list[Published]:
    """Every record of these topics, from the first to the present end."""
    from aiokafka import AIOKafkaConsumer

    # Without a group a consumer is given every partition of its topics.
    consumer = AIOKafkaConsumer(*topics, bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        ends = await consumer.end_offsets(list(consumer.assignment()))
        assert {at.topic for at in ends} == set(topics), "not every topic can be read"
        left = {at for at, end in ends.items() if end > 0}
        found: list[Published] = []
        while left:
            for messages in (await consumer.getmany(timeout_ms=500)).values():
                found.extend(_from_kafka(message) for message in messages)
            left = {at for at in left if await consumer.position(at) < ends[at]}
        return found
    finally:
        await consumer.stop()


def _from_kafka(message: Any) -> Published:
    headers = {name: value.decode(errors="replace") for name, value in message.headers}
    return _published(
        message.topic, message.partition, message.offset, message.key or b"",
        message.value or b"", headers,
    )  # fmt: skip


def moment(value: Any) -> datetime:
    """A time of a table or of an event, in UTC."""
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    parsed = datetime.fromisoformat(str(value))
    return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
