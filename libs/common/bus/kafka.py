"""The Kafka engine (aiokafka), with the defences that its known pitfalls call for.

* The producer is idempotent and has a deadline per publish; one that errs is thrown away, and
  the relay publishes again what was not acknowledged.
* `getmany` is never cancelled: it is given a time-out instead.
* A member commits explicit offsets only, and only of partitions that it still owns.
* `stop` gets a deadline: it is known to hang.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import (
    CommitFailedError,
    IllegalStateError,
    KafkaError,
    TopicAlreadyExistsError,
    UnknownMemberIdError,
)
from aiokafka.helpers import create_ssl_context
from aiokafka.partitioner import murmur2

from common.bus.port import GroupInUse, Lag, OnRevoked, Position, Record, require_fit
from common.contracts.envelope import Message
from common.contracts.topics import TOPICS, Topic
from common.settings import Settings

PUBLISH_DEADLINE_SECONDS = 20.0
PING_DEADLINE_SECONDS = 5.0
STOP_DEADLINE_SECONDS = 5.0
LEADERS_DEADLINE_SECONDS = 30.0


class KafkaBus:
    """Events on a Kafka cluster."""

    def __init__(
        self,
        bootstrap_servers: str,
        *,
        client_id: str,
        member_id: str | None = None,
        session_timeout_ms: int = 10_000,
        max_poll_interval_ms: int = 120_000,
        request_timeout_ms: int = 10_000,
        replication_factor: int = 3,
        security: Mapping[str, Any] | None = None,
    ) -> None:
        self._client_id = client_id
        self._member_id = member_id
        self._session_timeout_ms = session_timeout_ms
        self._max_poll_interval_ms = max_poll_interval_ms
        self._request_timeout_ms = request_timeout_ms
        self._replication_factor = replication_factor
        self._link: dict[str, Any] = {"bootstrap_servers": bootstrap_servers, **(security or {})}
        self._producer: AIOKafkaProducer | None = None
        self._starting = asyncio.Lock()

    @classmethod
    def of(cls, settings: Settings, service: str) -> "KafkaBus":
        """The bus that the settings name."""
        return cls(
            settings.bus.removeprefix("kafka://"),
            client_id=f"{settings.kafka_client_id}-{service}",
            member_id=settings.kafka_instance_id,
            session_timeout_ms=settings.kafka_session_timeout_ms,
            max_poll_interval_ms=settings.kafka_max_poll_interval_ms,
            request_timeout_ms=settings.kafka_request_timeout_ms,
            security=_security(settings),
        )

    async def start(self) -> None:
        """Connect a producer."""
        await self._live_producer()

    async def close(self) -> None:
        """Disconnect."""
        await self._drop_producer()

    async def _live_producer(self) -> AIOKafkaProducer:
        async with self._starting:
            if self._producer is None:
                producer = AIOKafkaProducer(
                    **self._link,
                    client_id=self._client_id,
                    enable_idempotence=True,
                    acks="all",
                    linger_ms=0,
                    max_batch_size=256 * 1024,
                    max_request_size=2 * 1024 * 1024,
                    request_timeout_ms=self._request_timeout_ms,
                    metadata_max_age_ms=60_000,
                    partitioner=_partition_of,
                )
                try:
                    await producer.start()
                except BaseException:
                    await _stopped(producer.stop)
                    raise
                self._producer = producer
            return self._producer

    async def _drop_producer(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            await _abandon(producer)

    async def publish(self, messages: Sequence[Message]) -> None:
        """Publish in order per partition; a producer that errs is replaced."""
        if not messages:
            return
        require_fit(messages)
        producer = await self._live_producer()
        try:
            async with asyncio.timeout(PUBLISH_DEADLINE_SECONDS):
                sent = [await _send(producer, message) for message in messages]
                await asyncio.gather(*sent)
        except BaseException:
            if self._producer is producer:
                self._producer = None
                await _abandon(producer)
            raise

    async def subscribe(
        self, topics: Iterable[str], group: str, *, on_revoked: OnRevoked | None = None
    ) -> "KafkaSubscription":
        """Join a group."""
        consumer = AIOKafkaConsumer(
            **self._link,
            client_id=self._client_id,
            group_id=group,
            group_instance_id=self._member_id,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            session_timeout_ms=self._session_timeout_ms,
            heartbeat_interval_ms=self._session_timeout_ms // 4,
            max_poll_interval_ms=self._max_poll_interval_ms,
            fetch_max_wait_ms=100,
            metadata_max_age_ms=30_000,
        )
        consumer.subscribe(list(topics), listener=_Listener(on_revoked))
        await _start(consumer)
        return KafkaSubscription(consumer)

    async def tail(self, topics: Iterable[str]) -> "KafkaTail":
        """Read every partition from its present end on, without a group."""
        consumer = AIOKafkaConsumer(
            **self._link,
            client_id=f"{self._client_id}-tail",
            enable_auto_commit=False,
            auto_offset_reset="latest",
            fetch_max_wait_ms=100,
        )
        await _start(consumer)
        subscription = KafkaTail(consumer)
        try:
            partitions = [
                TopicPartition(topic, partition)
                for topic in topics
                for partition in await _partitions(consumer, topic)
            ]
            consumer.assign(partitions)
            # Fixes the start now: what is published from here on is read.
            for partition in partitions:
                await consumer.position(partition)
        except BaseException:
            await subscription.close()
            raise
        return subscription

    async def ensure_topics(self) -> list[str]:
        """Create missing topics with the partitions and retention of the registry.

        Each gets the wanted number of copies, or as many as there are brokers.
        """
        admin = AIOKafkaAdminClient(**self._link, client_id=self._client_id)
        await admin.start()
        try:
            existing = set(await admin.list_topics())
            missing = [topic for topic in TOPICS.values() if topic.name not in existing]
            if not missing:
                return []
            brokers = len((await admin.describe_cluster())["brokers"])
            copies = min(self._replication_factor, brokers)
            made = await admin.create_topics([_new_topic(topic, copies) for topic in missing])
            for name, code, reason in made.topic_errors:
                if code not in (0, TopicAlreadyExistsError.errno):
                    raise KafkaError(f"topic {name} was not created: {reason}")
            await _wait_for_leaders(admin, [topic.name for topic in missing])
            return [topic.name for topic in missing]
        finally:
            await _stopped(admin.close)

    async def lag(self, group: str) -> list[Lag]:
        """How far a group is behind on each partition of the topics that it has read from."""
        admin = AIOKafkaAdminClient(**self._link, client_id=self._client_id)
        await admin.start()
        try:
            found = await admin.list_consumer_group_offsets(group)
        finally:
            await _stopped(admin.close)
        committed = {(tp.topic, tp.partition): at.offset for tp, at in found.items()}
        bounds = await self._bounds({topic for topic, _ in committed})
        return [
            Lag(group, *at, committed.get(at, first), end)
            for at, (first, end) in sorted(bounds.items())
            if end > first or at in committed
        ]

    async def _bounds(self, topics: set[str]) -> dict[Position, tuple[int, int]]:
        """The first offset that each partition still has, and the next that it will give."""
        if not topics:
            return {}
        consumer = AIOKafkaConsumer(**self._link)
        await consumer.start()
        try:
            partitions = [
                TopicPartition(topic, n)
                for topic in topics
                for n in await _partitions(consumer, topic)
            ]
            firsts = await consumer.beginning_offsets(partitions)
            ends = await consumer.end_offsets(partitions)
            return {(tp.topic, tp.partition): (firsts[tp], ends[tp]) for tp in partitions}
        finally:
            await _stopped(consumer.stop)

    async def rewind(self, group: str, offsets: Mapping[Position, int]) -> None:
        """Commit positions for a group that has no members at present."""
        consumer = AIOKafkaConsumer(**self._link, group_id=group, enable_auto_commit=False)
        await consumer.start()
        try:
            consumer.assign([TopicPartition(*position) for position in offsets])
            await consumer.commit({TopicPartition(*p): at for p, at in offsets.items()})
        except (CommitFailedError, UnknownMemberIdError) as error:
            raise GroupInUse(f"stop the members of {group} first") from error
        finally:
            await _stopped(consumer.stop)

    async def ping(self) -> None:
        """Raises when no broker answers."""
        producer = await self._live_producer()
        async with asyncio.timeout(PING_DEADLINE_SECONDS):
            if not await producer.client.force_metadata_update():
                raise ConnectionError("no broker answers")


class KafkaSubscription:
    """A member of a group."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer

    async def poll(self, max_records: int, timeout: float) -> list[Record]:
        """The next records of the partitions that are ours.

        `ConnectionError` when what fetches them has ended: only a new member gets more.
        """
        self._require_fetching()
        self._resume()
        # Waits by its own time-out: cancelling getmany would disable the consumer's idle check.
        batches = await self._consumer.getmany(
            timeout_ms=int(timeout * 1000), max_records=max_records
        )
        return [_record(message) for messages in batches.values() for message in messages]

    def _require_fetching(self) -> None:
        """The client's tasks end for good on an error it does not expect, and polls find nothing
        from then on, while the membership lives. A connection cut under uvloop is such an error
        (aiokafka issue 1038)."""
        client = self._consumer
        for task in (client._fetcher._fetch_task, client._client._sync_task):
            if task.done():
                error = None if task.cancelled() else task.exception()
                raise ConnectionError("the Kafka client has stopped fetching") from error

    def _resume(self) -> None:
        paused = self._consumer.paused()
        if paused:
            self._consumer.resume(*paused)

    async def commit(self, offsets: Mapping[Position, int]) -> None:
        """Commit offsets of partitions that are still ours; a lost one is the next owner's."""
        assigned = self._consumer.assignment()
        ours = {
            TopicPartition(*p): at for p, at in offsets.items() if TopicPartition(*p) in assigned
        }
        if ours:
            with contextlib.suppress(CommitFailedError, IllegalStateError):
                await self._consumer.commit(ours)

    async def idle(self) -> None:
        """Poll with everything paused: membership lives, no record is taken."""
        if self._consumer._subscription.reassignment_in_progress:
            return  # getmany would wait for its end, and that may be waiting for us
        self._consumer.pause(*self._consumer.assignment())
        await self._consumer.getmany(timeout_ms=0)

    async def close(self) -> None:
        """Leave the group."""
        await _stopped(self._consumer.stop)
        # What ended a task of the client's ends `stop` half-way as well.
        client = self._consumer._client
        await _stopped(client.close)
        for connection in list(client._conns.values()):
            connection.close()


class KafkaTail(KafkaSubscription):
    """Everything published since it was opened."""

    async def commit(self, offsets: Mapping[Position, int]) -> None:
        """A tail has no positions to keep."""


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    """Lets the consumer finish its work in hand before partitions go."""

    def __init__(self, on_revoked: OnRevoked | None) -> None:
        self._on_revoked = on_revoked

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        if self._on_revoked is not None:
            await self._on_revoked()

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        return None


def _security(settings: Settings) -> dict[str, Any]:
    if settings.kafka_security_protocol == "PLAINTEXT":
        return {}
    options: dict[str, Any] = {"security_protocol": settings.kafka_security_protocol}
    if settings.kafka_security_protocol.endswith("SSL"):
        cafile = str(settings.kafka_ca_file) if settings.kafka_ca_file else None
        options["ssl_context"] = create_ssl_context(cafile=cafile)
    if settings.kafka_security_protocol.startswith("SASL") and settings.kafka_password:
        options["sasl_mechanism"] = settings.kafka_sasl_mechanism
        options["sasl_plain_username"] = settings.kafka_username
        options["sasl_plain_password"] = settings.kafka_password.get_secret_value()
    return options


# A key has many events, and hashing it takes as long as sending one.
_hash_of = lru_cache(maxsize=16_384)(murmur2)


def _partition_of(key: bytes, partitions: Sequence[int], _available: Sequence[int]) -> int:
    """Where every Kafka client puts a key: murmur2, without its sign."""
    number: int = _hash_of(key) & 0x7FFFFFFF
    return partitions[number % len(partitions)]


async def _abandon(producer: AIOKafkaProducer) -> None:
    """Stop a producer; one that hangs on what it cannot send is torn down without sending."""
    await _stopped(producer.stop)
    sender = producer._sender.sender_task
    if sender is not None and not sender.done():
        sender.cancel()
        await _stopped(producer.client.close)


async def _send(producer: AIOKafkaProducer, message: Message) -> "asyncio.Future[Any]":
    future: asyncio.Future[Any] = await producer.send(
        message.topic, value=message.value, key=message.key, headers=message.headers
    )
    return future


async def _start(consumer: AIOKafkaConsumer) -> None:
    try:
        await consumer.start()
    except BaseException:
        await _stopped(consumer.stop)
        raise


def _new_topic(topic: Topic, copies: int) -> NewTopic:
    return NewTopic(
        name=topic.name,
        num_partitions=topic.partitions,
        replication_factor=copies,
        topic_configs=topic.config(),
    )


async def _wait_for_leaders(admin: AIOKafkaAdminClient, topics: list[str]) -> None:
    """A topic just made has no leaders for a moment, and refuses what is published to it."""
    async with asyncio.timeout(LEADERS_DEADLINE_SECONDS):
        while True:
            described = await admin.describe_topics(topics)
            partitions = [p for topic in described for p in topic["partitions"]]
            if partitions and all(p["leader"] >= 0 and not p["error_code"] for p in partitions):
                return
            await asyncio.sleep(0.1)


async def _partitions(consumer: AIOKafkaConsumer, topic: str) -> list[int]:
    await consumer._client.add_topic(topic)
    found = consumer.partitions_for_topic(topic)
    if not found:
        raise ConnectionError(f"topic {topic} does not exist; run `kefu topics apply`")
    return sorted(found)


async def _stopped(stop: Callable[[], Any]) -> None:
    # RuntimeError: how uvloop refuses to write to a connection that was cut.
    with contextlib.suppress(asyncio.TimeoutError, KafkaError, ConnectionError, RuntimeError):
        async with asyncio.timeout(STOP_DEADLINE_SECONDS):
            await stop()


def _record(message: Any) -> Record:
    return Record(
        message.topic,
        message.partition,
        message.offset,
        message.key or b"",
        message.value or b"",
        list(message.headers),
    )
