"""Peer of P2: one record out to Kafka and back in, and nothing else, at the same rate.

Same client library, same acknowledgement (`acks=all`, idempotent), same size of value, 12
partitions. The time counts from the moment at which a record was due to be sent.
"""

import asyncio
import time
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

VALUE_BYTES = 600


async def round_trips(
    bootstrap: str, topic: str, partitions: int, *, rate: float, seconds: float, warm_up: float
) -> list[float]:
    """Seconds of each round trip after the warm-up."""
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap, acks="all", enable_idempotence=True, linger_ms=0
    )
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, auto_offset_reset="latest", fetch_max_wait_ms=100
    )
    await producer.start()
    await consumer.start()
    try:
        assigned = [TopicPartition(topic, n) for n in range(partitions)]
        consumer.assign(assigned)
        for partition in assigned:
            await consumer.position(partition)
        due: dict[bytes, float] = {}
        taken: dict[bytes, float] = {}
        count = int(rate * (warm_up + seconds))
        reading = asyncio.create_task(_read(consumer, taken, count))
        started = time.perf_counter()
        for number in range(count):
            at = started + number / rate
            await asyncio.sleep(max(0.0, at - time.perf_counter()))
            key = b"%d" % number
            due[key] = at
            await producer.send(topic, key.ljust(VALUE_BYTES), key)
        async with asyncio.timeout(30):
            await reading
    finally:
        await producer.stop()
        await consumer.stop()
    skipped = int(rate * warm_up)
    return [taken[key] - due[key] for key in list(due)[skipped:]]


async def _read(consumer: Any, taken: dict[bytes, float], count: int) -> None:
    while len(taken) < count:
        found = await consumer.getmany(timeout_ms=500)
        now = time.perf_counter()
        for records in found.values():
            for record in records:
                taken[record.key] = now
