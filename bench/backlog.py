"""What is waiting on the bus when a consumer starts: messages of many buyers, mixed.

Each buyer writes a few messages; those of all buyers are shuffled with a fixed seed, each buyer's
own in order. So one event in `each` opens a conversation, and a batch holds a bit of everything.
"""

import asyncio
import random
from collections.abc import Iterator
from datetime import UTC, datetime

from aiokafka import AIOKafkaProducer

from common.contracts import Envelope, Message, ShopMessage, encode
from common.ids import new_id

SHOP = "bench"
CHUNK = 2000
_TEXTS = (
    "这件外套有 XL 码吗?",
    "什么时候发货",
    "我昨天下的单,能改一下收货地址吗,新的地址发给你",
    "好的谢谢",
    "怎么还没有物流信息?已经三天了,麻烦催一下",
)


def buyer_name(number: int) -> str:
    """A platform's id of a buyer, its length as it is in life."""
    return f"tb_buyer{number:08d}"


def messages(
    buyers: list[int], each: int, *, seed: int = 1, first: int = 0
) -> Iterator[ShopMessage]:
    """The messages, in the order in which they were written, their ids counted from `first`."""
    turns = [buyer for buyer in buyers for _ in range(each)]
    random.Random(seed).shuffle(turns)
    for number, buyer in enumerate(turns, start=first):
        yield ShopMessage(
            shop_id=SHOP,
            platform="taobao",
            buyer_id=buyer_name(buyer),
            message_id=f"im-20260301-{number:09d}",
            sender="buyer",
            kind="text",
            text=_TEXTS[number % len(_TEXTS)],
            sent_at=datetime.now(UTC),
        )


def record_of(message: ShopMessage, topic: str | None = None) -> Message:
    """A message as a platform's adapter publishes it."""
    envelope = Envelope.of(message, id=new_id(), source="adapter/taobao", time=datetime.now(UTC))
    record = encode(envelope)
    return record if topic is None else record._replace(topic=topic)


async def publish(bootstrap: str, records: list[Message]) -> None:
    """Put records on the bus."""
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap, acks="all", enable_idempotence=True, max_batch_size=256 * 1024
    )
    await producer.start()
    try:
        for start in range(0, len(records), CHUNK):
            sent = [
                await producer.send(record.topic, record.value, record.key, headers=record.headers)
                for record in records[start : start + CHUNK]
            ]
            await asyncio.gather(*sent)
    finally:
        await producer.stop()
