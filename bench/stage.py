"""The stage of a run: one real PostgreSQL (fsync on) and one real Kafka, for everything measured.

Each measured thing gets a database of its own, copied from one that chat_router's own migrations
made, and a consumer group of its own; so what one leaves behind never weighs on the next.
"""

import asyncio
import contextlib
import itertools
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import asyncpg
import msgspec
import psutil
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete
from aiokafka.errors import GroupCoordinatorNotAvailableError

from bench.backlog import SHOP
from chat_router.app import SERVICE
from chat_router.shop_settings import ShopSettings
from common.bus.kafka import KafkaBus
from common.contracts.topics import TOPICS
from common.db.database import Database, database_url
from common.db.migrate import migrate
from tests.parts import KafkaNode, PostgresNode
from tests.parts.reaper import REAPER, process_tree

SCHEMA = "chat_router"
SMALL_TOPIC = "bench.messages"

# A server with some memory, as one would rent it, and everything durable: fsync,
# synchronous_commit and full_page_writes stay at their defaults, which is on.
POSTGRES_SETTINGS = {
    "shared_buffers": "1GB",
    "effective_cache_size": "4GB",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "15min",
    "track_commit_timestamp": "on",
}
JVM_OPTIONS = ("-Xms768m", "-Xmx768m", "-XX:+UseSerialGC", "-Xshare:auto")


class Stage:
    """Everything a benchmark stands on."""

    def __init__(self) -> None:
        self.postgres = PostgresNode(own=True, settings=POSTGRES_SETTINGS)
        self.kafka = KafkaNode(own=True, jvm_options=JVM_OPTIONS)
        self.folder = Path(tempfile.mkdtemp(prefix="kefu-bench-"))
        self._numbers = itertools.count(1)
        self._template: str | None = None
        REAPER.remove_later(self.folder)

    def __enter__(self) -> Self:
        try:
            self.postgres.start()
            self.kafka.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End both and remove what was written."""
        self.kafka.close()
        self.postgres.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def new_name(self, word: str) -> str:
        """A name nobody else has: for groups and folders."""
        return f"{word}-{next(self._numbers)}"

    def new_folder(self, word: str) -> Path:
        """An empty folder."""
        folder = self.folder / self.new_name(word)
        folder.mkdir()
        return folder

    # -- PostgreSQL ---------------------------------------------------------------------------

    async def template(self) -> str:
        """URL of a database with chat_router's schema, made once."""
        if self._template is None:
            made = self.postgres.create_database()
            await _migrate(made)
            await _open_shop(made)
            self._template = made
        return self._template

    @contextlib.asynccontextmanager
    async def database(self, template: str | None = None) -> AsyncIterator[str]:
        """URL of a copy of the template for one run; it is dropped afterwards."""
        source = template or await self.template()
        url = await asyncio.to_thread(self.postgres.create_database, source)
        try:
            yield url
        finally:
            await asyncio.to_thread(self.postgres.drop_database, url)

    async def settle(self) -> None:
        """Write out what earlier runs left in memory, so that nobody pays for another's dirt."""
        async with connection(self.postgres.url) as db:
            await db.execute("CHECKPOINT")

    # -- Kafka --------------------------------------------------------------------------------

    async def make_topics(self) -> None:
        """Make all topics of the contracts, and a second one for messages."""
        await KafkaBus(self.kafka.url, client_id="bench").ensure_topics()
        admin = AIOKafkaAdminClient(bootstrap_servers=self.kafka.url)
        await admin.start()
        try:
            partitions = TOPICS["shop.messages"].partitions
            await admin.create_topics([NewTopic(SMALL_TOPIC, partitions, 1)])
        finally:
            await admin.close()

    async def empty_topic(self, topic: str) -> None:
        """Remove what is on a topic: a new group starts behind it."""
        partitions = [TopicPartition(topic, n) for n in range(TOPICS[topic].partitions)]
        consumer = AIOKafkaConsumer(bootstrap_servers=self.kafka.url)
        await consumer.start()
        try:
            ends = await consumer.end_offsets(partitions)
        finally:
            await consumer.stop()
        admin = AIOKafkaAdminClient(bootstrap_servers=self.kafka.url)
        await admin.start()
        try:
            await admin.delete_records({one: RecordsToDelete(end) for one, end in ends.items()})
        finally:
            await admin.close()

    async def members(self, group: str) -> int:
        """How many share the partitions of a consumer group; 0 while they are dealt out."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.kafka.url)
        await admin.start()
        try:
            (answer,) = await admin.describe_consumer_groups([group])
        except GroupCoordinatorNotAvailableError:
            return 0  # a new broker makes its list of groups for the first one that joins
        finally:
            await admin.close()
        described = answer.to_object()["groups"][0]
        return len(described["members"]) if described["state"] == "Stable" else 0

    # -- both -----------------------------------------------------------------------------------

    def settings(self, url: str, **more: str) -> dict[str, str]:
        """Environment of a service on this stage, in a consumer group of its own."""
        return {
            "KEFU_ENV": "dev",
            "KEFU_DATABASE_URL": url,
            "KEFU_BUS": f"kafka://{self.kafka.url}",
            "KEFU_KAFKA_GROUP_PREFIX": self.new_name("bench"),
            "KEFU_HOME": str(self.folder / "home"),
            "KEFU_LOG_LEVEL": "WARNING",
            "KEFU_PORT": "0",
            **more,
        }

    def cpu_seconds(self) -> float:
        """Processor time of PostgreSQL and Kafka so far, ended sessions left out."""
        return sum(self.cpu_by_part().values())

    def cpu_by_part(self) -> dict[str, float]:
        """The same for each."""
        parts = {"PostgreSQL": self.postgres._daemon, "Kafka": self.kafka._daemon}
        return {name: _cpu_of_tree(one.pid) for name, one in parts.items() if one is not None}


async def _migrate(url: str) -> None:
    database = Database(database_url(url, Path(), SCHEMA), SCHEMA, pool_size=1)
    try:
        await migrate(database, SERVICE.migrations)
    finally:
        await database.close()


async def _open_shop(url: str) -> None:
    """One shop, which warns of a long wait only after a day: no timer fires by itself here."""
    rules = msgspec.structs.asdict(ShopSettings(shop_id=SHOP, warning_seconds=86_400, edition=1))
    hours = {"hours": "[]", "closed_dates": "[]"}
    values = list((rules | hours).values())
    marks = ", ".join(f"${n}" for n in range(1, len(values) + 1))
    async with connection(url) as db:
        await db.execute(
            f"INSERT INTO shop_settings ({', '.join(rules)}) VALUES ({marks})", *values
        )


def _cpu_of_tree(root: int) -> float:
    total = 0.0
    for pid in process_tree(root):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = psutil.Process(pid).cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


@contextlib.asynccontextmanager
async def connection(url: str) -> AsyncIterator["asyncpg.Connection[Any]"]:
    """A connection that looks on from beside, its search path at the service's schema."""
    db: asyncpg.Connection[Any] = await asyncpg.connect(
        url, timeout=30, server_settings={"search_path": SCHEMA, "application_name": "bench"}
    )
    try:
        yield db
    finally:
        await db.close()
