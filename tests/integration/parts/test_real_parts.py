"""The parts that tests stand on are real, and do what fault tests ask of them."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from tests.parts import KafkaNode, PartUnavailable, PostgresNode
from tests.parts.kafka import QUICK_RETURN
from tests.parts.node import Node

N = TypeVar("N", bound=Node)


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[asyncpg.Connection[Any]]:
    connection = await asyncpg.connect(url, timeout=20)
    try:
        yield connection
    finally:
        connection.terminate()


@pytest.fixture
def own_postgres() -> Iterator[PostgresNode]:
    yield from started(PostgresNode(fsync=False, own=True))


@pytest.fixture
def own_kafka() -> Iterator[KafkaNode]:
    yield from started(KafkaNode(own=True, settings=QUICK_RETURN))


def started(node: N) -> Iterator[N]:
    try:
        node.start()
    except PartUnavailable as reason:
        pytest.skip(str(reason))
    yield node
    node.close()


async def test_postgres_answers(postgres_url: str) -> None:
    async with connected(postgres_url) as connection:
        assert await connection.fetchval("SELECT 6 * 7") == 42


async def test_each_test_gets_an_empty_database_of_its_own(
    pg_database: str, postgres_node: PostgresNode
) -> None:
    other = postgres_node.create_database()
    async with connected(pg_database) as ours, connected(other) as theirs:
        await ours.execute("CREATE TABLE orders (id int)")
        assert await theirs.fetchval("SELECT to_regclass('orders')") is None
    postgres_node.drop_database(other)


async def test_a_database_can_be_copied_with_what_is_in_it(postgres_node: PostgresNode) -> None:
    template = postgres_node.create_database()
    async with connected(template) as connection:
        await connection.execute("CREATE TABLE orders AS SELECT 7 AS id")
        await connection.close()
    copy = postgres_node.create_database(template)
    async with connected(copy) as connection:
        assert await connection.fetchval("SELECT id FROM orders") == 7
    for url in (template, copy):
        postgres_node.drop_database(url)


async def test_a_killed_postgres_comes_back_where_it_was_with_what_was_committed(
    own_postgres: PostgresNode,
) -> None:
    url = own_postgres.create_database()
    async with connected(url) as connection:
        await connection.execute("CREATE TABLE orders AS SELECT 7 AS id")
        own_postgres.kill()
        with pytest.raises((asyncpg.PostgresConnectionError, OSError)):
            await connection.fetchval("SELECT id FROM orders")
    assert not own_postgres.running

    own_postgres.restart()

    async with connected(url) as connection:
        assert await connection.fetchval("SELECT id FROM orders") == 7


async def test_a_paused_postgres_answers_nothing_until_resumed(own_postgres: PostgresNode) -> None:
    async with connected(own_postgres.url) as connection:
        await connection.fetchval("SELECT 1")
        own_postgres.pause()
        answer = asyncio.ensure_future(connection.fetchval("SELECT 2"))
        done, _ = await asyncio.wait([answer], timeout=0.5)
        assert not done
        own_postgres.resume()
        assert await asyncio.wait_for(answer, 20) == 2


async def make_topic(bootstrap: str) -> str:
    name = f"parts.{uuid.uuid4().hex[:8]}"
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, num_partitions=1, replication_factor=1)])
    finally:
        await admin.close()
    return name


async def produce(bootstrap: str, topic: str, value: bytes) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, enable_idempotence=True)
    await producer.start()
    try:
        await producer.send_and_wait(topic, value, key=b"buyer-1")
    finally:
        await producer.stop()


async def consume(bootstrap: str, topic: str) -> bytes:
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=bootstrap,
        group_id=f"{topic}.readers",
        auto_offset_reset="earliest",
    )
    await consumer.start()
    try:
        record = await asyncio.wait_for(consumer.getone(), 30)
        return bytes(record.value)
    finally:
        await consumer.stop()


async def test_kafka_carries_a_message(kafka_bootstrap: str) -> None:
    topic = await make_topic(kafka_bootstrap)
    await produce(kafka_bootstrap, topic, "在吗".encode())
    assert (await consume(kafka_bootstrap, topic)).decode() == "在吗"


async def test_a_killed_kafka_comes_back_where_it_was_with_what_was_acknowledged(
    own_kafka: KafkaNode,
) -> None:
    topic = await make_topic(own_kafka.url)
    await produce(own_kafka.url, topic, b"acknowledged")
    own_kafka.kill()
    own_kafka.restart()
    assert await consume(own_kafka.url, topic) == b"acknowledged"


async def test_a_paused_kafka_answers_nothing_until_resumed(own_kafka: KafkaNode) -> None:
    topic = await make_topic(own_kafka.url)
    await produce(own_kafka.url, topic, b"before")
    own_kafka.pause()
    sending = asyncio.ensure_future(produce(own_kafka.url, topic, b"meanwhile"))
    done, _ = await asyncio.wait([sending], timeout=0.5)
    assert not done
    own_kafka.resume()
    await asyncio.wait_for(sending, 60)
