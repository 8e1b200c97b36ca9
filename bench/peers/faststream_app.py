"""Peer (a) of P1: what a user of FastStream and SQLModel would write.

One handler, one ORM transaction per message: look whether the event or the message is known, find
or open the conversation, store the message, number the feeds, arm the timers, put the outgoing
events into the outbox. A task beside it relays the outbox, a hundred rows at a time. Offsets are
committed after the transaction (`AckPolicy.ACK`), as FastStream's guide has it for at-least-once.

    python -m bench.peers.faststream_app

reads BENCH_DATABASE_URL, BENCH_KAFKA, BENCH_GROUP and BENCH_TOPIC.
"""

import asyncio
import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import sqlalchemy as sa
import uvloop
from faststream import AckPolicy, Context, FastStream
from faststream.kafka import KafkaBroker
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlmodel import Field, SQLModel, col, select
from sqlmodel.ext.asyncio.session import AsyncSession
from uuid_utils import uuid7

from bench.peers.outgoing import OUT_TOPIC, headers_of, message_received, message_sent, opened
from chat_router.models import BuyerRow, ConversationRow, MessageRow, ShopSettingsRow
from common.contracts import ShopMessage

RELAY_ROWS = 100
RELAY_POLL_SECONDS = 0.05
MOMENT = sa.DateTime(timezone=True)


class Inbox(SQLModel, table=True):
    """Events seen."""

    __tablename__ = "inbox"
    event_id: str = Field(primary_key=True)
    received_at: datetime = Field(sa_type=MOMENT)


class Outbox(SQLModel, table=True):
    """Events to be published."""

    __tablename__ = "outbox"
    position: int | None = Field(default=None, primary_key=True)
    topic: str
    key: bytes
    value: bytes
    headers: str
    created_at: datetime = Field(sa_type=MOMENT)


class Timer(SQLModel, table=True):
    """What must happen later."""

    __tablename__ = "timers"
    key: str = Field(primary_key=True)
    shop_id: str
    kind: str
    payload: str
    due_at: datetime = Field(sa_type=MOMENT)
    run_at: datetime = Field(sa_type=MOMENT)
    attempts: int = 0
    traceparent: str = ""


class FeedHead(SQLModel, table=True):
    """Last number of each receiver."""

    __tablename__ = "feed_heads"
    shop_id: str = Field(primary_key=True)
    receiver: str = Field(primary_key=True)
    last_seq: int = 0


class FeedEntry(SQLModel, table=True):
    """What each receiver is shown."""

    __tablename__ = "feed"
    shop_id: str = Field(primary_key=True)
    receiver: str = Field(primary_key=True)
    seq: int = Field(primary_key=True)
    type: str
    body: str
    created_at: datetime = Field(sa_type=MOMENT)


class Body(BaseModel):
    """A message as the platform's adapter publishes it."""

    shop_id: str
    platform: str
    buyer_id: str
    message_id: str
    sender: str
    kind: str
    text: str | None = None
    media_url: str | None = None
    product_id: str | None = None
    order_id: str | None = None
    sent_at: datetime


broker = KafkaBroker(os.environ["BENCH_KAFKA"], acks="all", enable_idempotence=True)
app = FastStream(broker)
engine = create_async_engine(
    os.environ["BENCH_DATABASE_URL"].replace("postgresql://", "postgresql+asyncpg://"),
    connect_args={"server_settings": {"search_path": "chat_router"}},
)
sessions = async_sessionmaker(engine, class_=AsyncSession, expire_on_commit=False)


@broker.subscriber(
    os.environ["BENCH_TOPIC"],
    group_id=os.environ["BENCH_GROUP"],
    auto_offset_reset="earliest",
    ack_policy=AckPolicy.ACK,
)
async def on_message(
    body: Body, attributes: Annotated[dict[str, str], Context("message.headers")]
) -> None:
    """A buyer wrote."""
    now = datetime.now(UTC)
    async with sessions() as session, session.begin():
        event_id = f"{body.shop_id}/{attributes['ce_source']}/{attributes['ce_id']}"
        if await session.get(Inbox, event_id) is not None:
            return
        session.add(Inbox(event_id=event_id, received_at=now))
        if await is_known(session, body):
            return
        conversation = await open_conversation_of(session, body)
        if conversation is not None:
            await take_in(session, conversation, body, now)
            return
        conversation = await open_one(session, body, now)
        await take_in(session, conversation, body, now)
        await greet(session, conversation, now)


async def is_known(session: AsyncSession, body: Body) -> bool:
    """Whether this message is stored, whatever event brought it."""
    found = await session.exec(
        select(MessageRow.seq).where(
            MessageRow.shop_id == body.shop_id,
            MessageRow.source == f"platform:{body.platform}",
            MessageRow.client_message_id == body.message_id,
        )
    )
    return found.first() is not None


async def open_conversation_of(session: AsyncSession, body: Body) -> ConversationRow | None:
    """The buyer's open conversation, locked."""
    found = await session.exec(
        select(ConversationRow)
        .where(
            ConversationRow.shop_id == body.shop_id,
            ConversationRow.buyer_id == body.buyer_id,
            ConversationRow.state != "closed",
        )
        .with_for_update()
    )
    return found.first()


async def open_one(session: AsyncSession, body: Body, now: datetime) -> ConversationRow:
    """A new conversation, its buyer and its timers."""
    buyer = await session.get(BuyerRow, (body.shop_id, body.buyer_id), with_for_update=True)
    if buyer is None:
        buyer = new_buyer(body, now)
        session.add(buyer)
    conversation = new_conversation(body, buyer, now)
    session.add(conversation)
    buyer.conversation_id = conversation.conversation_id
    settings = await session.get(ShopSettingsRow, body.shop_id)
    warning = settings.warning_seconds if settings else 100
    arm(session, conversation, "idle", "IdleCheck", now + timedelta(seconds=1800))
    arm(session, conversation, "warning", "UnansweredCheck", now + timedelta(seconds=warning))
    return conversation


def new_buyer(body: Body, now: datetime) -> BuyerRow:
    """A buyer who is seen for the first time."""
    values: dict[str, Any] = {
        "shop_id": body.shop_id,
        "buyer_id": body.buyer_id,
        "platform": body.platform,
        "name": "",
        "tags": [],
        "attributes": {},
        "note": "",
        "priority": 0,
        "order_state": "none",
        "created_at": now,
        "edition": 1,
    }
    return BuyerRow(**values)


def new_conversation(body: Body, buyer: BuyerRow, now: datetime) -> ConversationRow:
    """A conversation in the queue."""
    values: dict[str, Any] = {
        "shop_id": body.shop_id,
        "conversation_id": str(uuid7()),
        "buyer_id": body.buyer_id,
        "platform": body.platform,
        "state": "queued",
        "group_id": "default",
        "affinity_agent_id": buyer.last_agent_id,
        "affinity_at": buyer.last_served_at,
        "dedicated_agent_id": buyer.dedicated_agent_id,
        "order_state": buyer.order_state,
        "rank": -buyer.priority,
        "opened_at": now,
        "queued_at": now,
        "waiting_since": now,
        "last_seq": 0,
        "last_text": "",
        "unread_agent": 0,
        "unread_buyer": 0,
        "agent_read_seq": 0,
        "buyer_read_seq": 0,
        "agent_delivered_seq": 0,
        "buyer_delivered_seq": 0,
        "warning_armed": True,
        "warned": False,
        "messages_buyer": 0,
        "messages_agent": 0,
        "rounds": 0,
        "rounds_within_3min": 0,
    }
    return ConversationRow(**values)


def arm(
    session: AsyncSession, conversation: ConversationRow, word: str, kind: str, due_at: datetime
) -> None:
    """A timer of a conversation."""
    shop_id, id_ = conversation.shop_id, conversation.conversation_id
    payload = json.dumps({"shop_id": shop_id, "conversation_id": id_})
    session.add(
        Timer(
            key=f"{word}:{shop_id}:{id_}",
            shop_id=shop_id,
            kind=kind,
            payload=payload,
            due_at=due_at,
            run_at=due_at,
        )
    )


async def take_in(
    session: AsyncSession, conversation: ConversationRow, body: Body, now: datetime
) -> None:
    """The buyer's message as the next one of the conversation."""
    counted = min(body.sent_at, now)
    conversation.last_seq += 1
    conversation.last_message_at = now
    conversation.last_text = (body.text or "")[:80]
    conversation.messages_buyer += 1
    conversation.unread_agent += 1
    conversation.unread_buyer = 0
    conversation.buyer_read_seq = conversation.last_seq
    if conversation.unanswered_since is None:
        conversation.unanswered_since = counted
        conversation.rounds += 1
    values: dict[str, Any] = {
        "shop_id": body.shop_id,
        "conversation_id": conversation.conversation_id,
        "seq": conversation.last_seq,
        "message_id": str(uuid7()),
        "source": f"platform:{body.platform}",
        "client_message_id": body.message_id,
        "platform": body.platform,
        "buyer_id": body.buyer_id,
        "agent_id": conversation.agent_id,
        "sender_kind": "buyer",
        "sender_id": body.buyer_id,
        "kind": body.kind,
        "text": body.text,
        "media_url": body.media_url,
        "product_id": body.product_id,
        "order_id": body.order_id,
        "sent_at": body.sent_at,
        "received_at": now,
        "counted_at": counted,
    }
    row = MessageRow(**values)
    session.add(row)
    buyer = f"buyer:{body.buyer_id}"
    if row.seq == 1:
        event = opened(conversation, body.platform, now)
        await emit(session, conversation, *event, (buyer, "shop"), now)
    message = ShopMessage(**body.model_dump())
    event = message_received(conversation, message, row.message_id, row.seq, now)
    await emit(session, conversation, *event, (buyer,), now)


async def greet(session: AsyncSession, conversation: ConversationRow, now: datetime) -> None:
    """The system's greeting behind the first message."""
    settings = await session.get(ShopSettingsRow, conversation.shop_id)
    text = f"{settings.greeting_zh}\n{settings.greeting_en}" if settings else ""
    conversation.last_seq += 1
    conversation.last_text = text[:80]
    conversation.unread_buyer += 1
    values: dict[str, Any] = {
        "shop_id": conversation.shop_id,
        "conversation_id": conversation.conversation_id,
        "seq": conversation.last_seq,
        "message_id": str(uuid7()),
        "source": "greeting",
        "client_message_id": conversation.conversation_id,
        "platform": conversation.platform,
        "buyer_id": conversation.buyer_id,
        "sender_kind": "system",
        "sender_id": "system",
        "kind": "text",
        "text": text,
        "sent_at": now,
        "received_at": now,
        "counted_at": now,
    }
    row = MessageRow(**values)
    session.add(row)
    event = message_sent(conversation, text, row.message_id, row.seq, now)
    await emit(session, conversation, *event, (f"buyer:{conversation.buyer_id}",), now)


async def emit(
    session: AsyncSession,
    conversation: ConversationRow,
    type_: str,
    value: bytes,
    receivers: Sequence[str],
    now: datetime,
) -> None:
    """An event: into the feeds of its receivers, and into the outbox."""
    places: list[tuple[str, str, int]] = []
    for receiver in receivers:
        key = (conversation.shop_id, receiver)
        head = await session.get(FeedHead, key, with_for_update=True)
        if head is None:
            head = FeedHead(shop_id=key[0], receiver=receiver)
            session.add(head)
        head.last_seq += 1
        session.add(
            FeedEntry(
                shop_id=key[0],
                receiver=receiver,
                seq=head.last_seq,
                type=type_,
                body=value.decode(),
                created_at=now,
            )
        )
        places.append((*key, head.last_seq))
    session.add(
        Outbox(
            topic=OUT_TOPIC,
            key=f"{conversation.shop_id}:{conversation.buyer_id}".encode(),
            value=value,
            headers=json.dumps(headers_of(conversation.shop_id, type_, places, now)),
            created_at=now,
        )
    )


async def relay() -> None:
    """Publish what is pending, in order, then delete it."""
    while True:
        async with sessions() as session, session.begin():
            found = await session.exec(
                select(Outbox).order_by(col(Outbox.position)).limit(RELAY_ROWS)
            )
            rows = found.all()
            if rows:
                await publish(rows)
                positions = [row.position for row in rows]
                await session.exec(sa.delete(Outbox).where(col(Outbox.position).in_(positions)))
        if not rows:
            await asyncio.sleep(RELAY_POLL_SECONDS)


async def publish(rows: Sequence[Outbox]) -> None:
    """All rows at once, in order per key."""
    sent: list[Any] = [
        await broker.publish(
            row.value,
            row.topic,
            key=row.key,
            headers=dict(json.loads(row.headers)),
            no_confirm=True,
        )
        for row in rows
    ]
    await asyncio.gather(*sent)


@app.after_startup
async def start_relay() -> None:
    """The relay runs as long as the application."""
    app.context.set_global("relay", asyncio.create_task(relay()))


if __name__ == "__main__":
    uvloop.run(app.run())
