"""Peer (b) of P1: the limit of this stack, written by hand for this one job.

aiokafka, msgspec and asyncpg, with nothing between them: a batch of records, one transaction with
one `unnest` statement per table and step, in it only the columns that change; a relay beside it
in the same process. It promises what chat_router promises for these messages (each event and
each platform message once, numbers without gaps, feeds without gaps, order per key, outbox), and
nothing else: no retries, no dead letters, no other kinds of messages, no tracing, no metrics.

    python -m bench.peers.unnest_loop

reads BENCH_DATABASE_URL, BENCH_KAFKA, BENCH_GROUP, BENCH_TOPIC and BENCH_BATCH.
"""

import asyncio
import os
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import msgspec
import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from uuid_utils import uuid7

from bench.peers.outgoing import OUT_TOPIC, headers_text, message_received, message_sent, opened
from common.contracts import ShopMessage

RELAY_ROWS = 1000
RELAY_POLL_SECONDS = 0.05
COMMIT_EVERY_SECONDS = 1.0
IDLE_CLOSE = timedelta(seconds=1800)

INBOX = """
INSERT INTO inbox (event_id, received_at) SELECT id, $2 FROM unnest($1::text[]) AS v(id)
ON CONFLICT DO NOTHING RETURNING event_id
"""
SETTINGS = "SELECT warning_seconds, greeting_zh, greeting_en FROM shop_settings WHERE shop_id = $1"
KNOWN_MESSAGES = """
SELECT m.client_message_id FROM unnest($1::text[], $2::text[], $3::text[]) AS k(s, source, c)
JOIN messages AS m ON m.shop_id = k.s AND m.source = k.source AND m.client_message_id = k.c
"""
OPEN_CONVERSATIONS = """
SELECT c.shop_id, c.buyer_id, c.conversation_id, c.state, c.group_id, c.agent_id, c.last_seq,
  c.unread_agent, c.messages_buyer, c.rounds, c.unanswered_since
FROM unnest($1::text[], $2::text[]) AS k(s, b) JOIN conversations AS c
ON c.shop_id = k.s AND c.buyer_id = k.b AND c.state <> 'closed'
ORDER BY c.shop_id, c.conversation_id FOR UPDATE OF c
"""
KNOWN_BUYERS = """
SELECT b.shop_id, b.buyer_id, b.order_state, b.priority, b.last_agent_id, b.last_served_at,
  b.dedicated_agent_id
FROM unnest($1::text[], $2::text[]) AS k(s, b) JOIN buyers AS b
ON b.shop_id = k.s AND b.buyer_id = k.b ORDER BY b.shop_id, b.buyer_id FOR UPDATE OF b
"""
UPDATE_CONVERSATIONS = """
UPDATE conversations AS t SET last_seq = v.seq, last_message_at = v.at, last_text = v.text,
  messages_buyer = v.messages, unread_agent = v.unread, unread_buyer = 0, buyer_read_seq = v.seq,
  rounds = v.rounds, unanswered_since = v.since
FROM unnest($1::text[], $2::text[], $3::bigint[], $4::timestamptz[], $5::text[], $6::int[],
  $7::int[], $8::int[], $9::timestamptz[])
  AS v(shop, id, seq, at, text, messages, unread, rounds, since)
WHERE t.shop_id = v.shop AND t.conversation_id = v.id
"""
INSERT_CONVERSATIONS = """
INSERT INTO conversations (shop_id, conversation_id, buyer_id, platform, state, group_id,
  affinity_agent_id, affinity_at, dedicated_agent_id, order_state, rank, opened_at, queued_at,
  waiting_since, last_seq, last_message_at, last_text, unread_agent, unread_buyer, agent_read_seq,
  buyer_read_seq, agent_delivered_seq, buyer_delivered_seq, unanswered_since, warning_armed,
  warned, messages_buyer, messages_agent, rounds, rounds_within_3min)
SELECT s, id, b, p, 'queued', 'default', aff, aff_at, ded, ostate, rank, at, at, at, seq, at,
  text, unread, unread_buyer, 0, read, 0, 0, since, true, false, messages, 0, rounds, 0
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[],
  $7::text[], $8::text[], $9::int[], $10::timestamptz[], $11::bigint[], $12::text[], $13::int[],
  $14::int[], $15::bigint[], $16::timestamptz[], $17::int[], $18::int[])
  AS v(s, id, b, p, aff, aff_at, ded, ostate, rank, at, seq, text, unread, unread_buyer, read,
       since, messages, rounds)
"""
INSERT_BUYERS = """
INSERT INTO buyers (shop_id, buyer_id, platform, name, tags, attributes, note, priority,
  conversation_id, order_state, created_at, edition)
SELECT s, b, p, '', '[]', '{}', '', 0, c, 'none', $5, 1
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS v(s, b, p, c)
"""
UPDATE_BUYERS = """
UPDATE buyers AS t SET conversation_id = v.c FROM unnest($1::text[], $2::text[], $3::text[])
  AS v(s, b, c) WHERE t.shop_id = v.s AND t.buyer_id = v.b
"""
INSERT_MESSAGES = """
INSERT INTO messages (shop_id, conversation_id, seq, message_id, source, client_message_id,
  platform, buyer_id, agent_id, sender_kind, sender_id, kind, text, media_url, product_id,
  order_id, sent_at, received_at, counted_at)
SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[],
  $7::text[], $8::text[], $9::text[], $10::text[], $11::text[], $12::text[], $13::text[],
  $14::text[], $15::text[], $16::text[], $17::timestamptz[], $18::timestamptz[],
  $19::timestamptz[])
"""
INSERT_TIMERS = """
INSERT INTO timers (key, shop_id, kind, payload, due_at, run_at, attempts, traceparent)
SELECT k, s, kind, payload, due, due, 0, '' FROM unnest($1::text[], $2::text[], $3::text[],
  $4::text[], $5::timestamptz[]) AS v(k, s, kind, payload, due)
ON CONFLICT (key) DO UPDATE SET due_at = excluded.due_at, run_at = excluded.run_at, attempts = 0
"""
HEADS = """
INSERT INTO feed_heads (shop_id, receiver, last_seq)
SELECT s, r, n FROM unnest($1::text[], $2::text[], $3::bigint[]) AS v(s, r, n) ORDER BY 1, 2
ON CONFLICT (shop_id, receiver) DO UPDATE SET last_seq = feed_heads.last_seq + excluded.last_seq
RETURNING shop_id, receiver, last_seq
"""
INSERT_FEED = """
INSERT INTO feed (shop_id, receiver, seq, type, body, created_at)
SELECT s, r, n, t, b, $6 FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::text[])
  AS v(s, r, n, t, b)
"""
INSERT_OUTBOX = """
INSERT INTO outbox (topic, key, value, headers, created_at)
SELECT $4, k, v, h, $5 FROM unnest($1::bytea[], $2::bytea[], $3::text[]) AS v(k, v, h)
"""
PENDING = """
SELECT position, key, value, headers FROM outbox ORDER BY position LIMIT $1
"""
DONE = "DELETE FROM outbox WHERE position = ANY($1::bigint[])"

decode_message = msgspec.json.Decoder(ShopMessage).decode
decode_headers = msgspec.json.Decoder(list[tuple[str, str]]).decode


class Conversation(msgspec.Struct):
    """What this loop needs of a conversation."""

    shop_id: str
    buyer_id: str
    conversation_id: str
    state: str
    group_id: str
    agent_id: str | None
    last_seq: int
    unread_agent: int
    messages_buyer: int
    rounds: int
    unanswered_since: datetime | None
    unread_buyer: int = 0
    read_seq: int = 0
    last_text: str = ""
    buyer: Any = None
    platform: str = ""


class Batch:
    """What one batch writes."""

    def __init__(self, now: datetime) -> None:
        self.now = now
        self.messages: list[tuple[Any, ...]] = []
        self.timers: list[tuple[Any, ...]] = []
        self.events: list[tuple[bytes, bytes, str, tuple[tuple[str, str], ...]]] = []
        self.changed: dict[str, Conversation] = {}
        self.new: dict[str, Conversation] = {}


async def handle(db: "asyncpg.Connection[Any]", records: list[Any]) -> None:
    """One batch in one transaction."""
    now = datetime.now(UTC)
    batch = Batch(now)
    events = [(inbox_id(record), decode_message(record.value)) for record in records]
    async with db.transaction():
        found = await db.fetch(INBOX, list({one for one, _ in events}), now)
        fresh = {row[0] for row in found}
        todo = [message for one, message in events if one in fresh]
        await work_through(db, batch, todo)
        await write(db, batch)


def inbox_id(record: Any) -> str:
    """What tells a repeated delivery."""
    attributes = dict(record.headers)
    shop, source, id_ = attributes["ce_shopid"], attributes["ce_source"], attributes["ce_id"]
    return f"{shop.decode()}/{source.decode()}/{id_.decode()}"


async def work_through(
    db: "asyncpg.Connection[Any]", batch: Batch, todo: list[ShopMessage]
) -> None:
    """Load what the messages need, then take them in, in order."""
    warning, zh, en = await db.fetchrow(SETTINGS, todo[0].shop_id) or (100, "", "")
    shops = [one.shop_id for one in todo]
    sources = [f"platform:{one.platform}" for one in todo]
    known = await db.fetch(KNOWN_MESSAGES, shops, sources, [one.message_id for one in todo])
    seen = {row[0] for row in known}
    buyers = list({(one.shop_id, one.buyer_id) for one in todo})
    rows = await db.fetch(OPEN_CONVERSATIONS, *columns(buyers))
    current = {(row[0], row[1]): Conversation(*row) for row in rows}
    fresh = [buyer for buyer in buyers if buyer not in current]
    found = await db.fetch(KNOWN_BUYERS, *columns(fresh)) if fresh else []
    known_buyers = {(row[0], row[1]): row for row in found}
    for message in todo:
        if message.message_id in seen:
            continue
        seen.add(message.message_id)
        who = (message.shop_id, message.buyer_id)
        conversation = current.get(who)
        if conversation is None:
            conversation = open_one(batch, message, known_buyers.get(who), warning)
            current[who] = conversation
            take_in(batch, conversation, message)
            greet(batch, conversation, f"{zh}\n{en}")
        else:
            take_in(batch, conversation, message)


def open_one(batch: Batch, message: ShopMessage, buyer: Any, warning: int) -> Conversation:
    """A new conversation, with its two timers."""
    id_ = str(uuid7())
    conversation = Conversation(
        message.shop_id, message.buyer_id, id_, "queued", "default", None, 0, 0, 0, 0, None
    )
    conversation.buyer, conversation.platform = buyer, message.platform
    batch.new[id_] = conversation
    payload = f'{{"shop_id":"{message.shop_id}","conversation_id":"{id_}"}}'
    place = f"{message.shop_id}:{id_}"
    idle_at, warn_at = batch.now + IDLE_CLOSE, batch.now + timedelta(seconds=warning)
    batch.timers.append((f"idle:{place}", message.shop_id, "IdleCheck", payload, idle_at))
    batch.timers.append((f"warning:{place}", message.shop_id, "UnansweredCheck", payload, warn_at))
    return conversation


def take_in(batch: Batch, conversation: Conversation, message: ShopMessage) -> None:
    """A buyer's message as the next one of the conversation."""
    now = batch.now
    id_, seq = str(uuid7()), conversation.last_seq + 1
    counted = min(message.sent_at, now)
    conversation.last_seq = conversation.read_seq = seq
    conversation.last_text = (message.text or "")[:80]
    conversation.messages_buyer += 1
    conversation.unread_agent += 1
    conversation.unread_buyer = 0
    if conversation.unanswered_since is None:
        conversation.unanswered_since = counted
        conversation.rounds += 1
    if conversation.conversation_id not in batch.new:
        batch.changed[conversation.conversation_id] = conversation
    batch.messages.append(
        (
            *(conversation.shop_id, conversation.conversation_id, seq, id_),
            *(f"platform:{message.platform}", message.message_id, message.platform),
            *(message.buyer_id, conversation.agent_id, "buyer", message.buyer_id, message.kind),
            *(message.text, message.media_url, message.product_id, message.order_id),
            *(message.sent_at, now, counted),
        )
    )
    buyer = f"buyer:{message.buyer_id}"
    if seq == 1:
        put(batch, conversation, *opened(conversation, message.platform, now), (buyer, "shop"))
    event = message_received(conversation, message, id_, seq, now)
    put(batch, conversation, *event, (buyer,))


def greet(batch: Batch, conversation: Conversation, text: str) -> None:
    """The system's greeting behind the first message."""
    now = batch.now
    id_, seq = str(uuid7()), conversation.last_seq + 1
    conversation.last_seq, conversation.last_text = seq, text[:80]
    conversation.unread_buyer += 1
    batch.messages.append(
        (
            *(conversation.shop_id, conversation.conversation_id, seq, id_),
            *("greeting", conversation.conversation_id, conversation.platform),
            *(conversation.buyer_id, None, "system", "system", "text", text),
            *(None, None, None, now, now, now),
        )
    )
    event = message_sent(conversation, text, id_, seq, now)
    put(batch, conversation, *event, (f"buyer:{conversation.buyer_id}",))


def put(
    batch: Batch, conversation: Conversation, type_: str, value: bytes, receivers: tuple[str, ...]
) -> None:
    """An event for the outbox and for these receivers."""
    key = f"{conversation.shop_id}:{conversation.buyer_id}".encode()
    places = tuple((conversation.shop_id, one) for one in receivers)
    batch.events.append((key, value, type_, places))


async def write(db: "asyncpg.Connection[Any]", batch: Batch) -> None:
    """One statement per table."""
    now = batch.now
    if batch.changed:
        rows = [
            (
                *(one.shop_id, one.conversation_id, one.last_seq, now, one.last_text),
                *(one.messages_buyer, one.unread_agent, one.rounds, one.unanswered_since),
            )
            for one in batch.changed.values()
        ]
        await db.execute(UPDATE_CONVERSATIONS, *columns(rows))
    if batch.new:
        await write_new(db, batch)
    await db.execute(INSERT_MESSAGES, *columns(batch.messages))
    numbers = await number(db, batch)
    feed = [
        (shop, receiver, n, type_, value.decode())
        for (_, value, type_, _), places in zip(batch.events, numbers, strict=True)
        for shop, receiver, n in places
    ]
    await db.execute(INSERT_FEED, *columns(feed), now)
    outbox = [
        (key, value, headers_text(places[0][0], type_, places, now))
        for (key, value, type_, _), places in zip(batch.events, numbers, strict=True)
    ]
    await db.execute(INSERT_OUTBOX, *columns(outbox), OUT_TOPIC, now)


async def write_new(db: "asyncpg.Connection[Any]", batch: Batch) -> None:
    """Opened conversations, their buyers and timers."""
    now = batch.now
    rows = [
        (
            *(one.shop_id, one.conversation_id, one.buyer_id, one.platform),
            *((one.buyer[4], one.buyer[5], one.buyer[6]) if one.buyer else (None, None, None)),
            *((one.buyer[2], -one.buyer[3]) if one.buyer else ("none", 0)),
            *(now, one.last_seq, one.last_text, one.unread_agent, one.unread_buyer),
            *(one.read_seq, one.unanswered_since, one.messages_buyer, one.rounds),
        )
        for one in batch.new.values()
    ]
    await db.execute(INSERT_CONVERSATIONS, *columns(rows))
    unknown = [one for one in batch.new.values() if not one.buyer]
    known = [one for one in batch.new.values() if one.buyer]
    if unknown:
        made = [(o.shop_id, o.buyer_id, o.platform, o.conversation_id) for o in unknown]
        await db.execute(INSERT_BUYERS, *columns(made), now)
    if known:
        moved = [(o.shop_id, o.buyer_id, o.conversation_id) for o in known]
        await db.execute(UPDATE_BUYERS, *columns(moved))
    await db.execute(INSERT_TIMERS, *columns(sorted(batch.timers)))


async def number(db: "asyncpg.Connection[Any]", batch: Batch) -> list[list[tuple[str, str, int]]]:
    """The next numbers of every receiver's feed, event by event."""
    counts = Counter(place for event in batch.events for place in event[3])
    heads = await db.fetch(HEADS, *columns([(*place, n) for place, n in counts.items()]))
    following = {(shop, who): last - counts[shop, who] for shop, who, last in heads}
    numbers: list[list[tuple[str, str, int]]] = []
    for *_, places in batch.events:
        mine: list[tuple[str, str, int]] = []
        for place in places:
            following[place] += 1
            mine.append((*place, following[place]))
        numbers.append(mine)
    return numbers


def columns(rows: list[tuple[Any, ...]]) -> list[list[Any]]:
    """Rows as the arrays that `unnest` takes."""
    return [list(column) for column in zip(*rows, strict=True)]


async def relay(db: "asyncpg.Connection[Any]", producer: AIOKafkaProducer) -> None:
    """Publish what is pending, in order, then delete it; one group on its way at a time."""
    while True:
        rows = await db.fetch(PENDING, RELAY_ROWS)
        if not rows:
            await asyncio.sleep(RELAY_POLL_SECONDS)
            continue
        sent = [
            await producer.send(
                OUT_TOPIC,
                value=value,
                key=key,
                headers=[(name, text.encode()) for name, text in decode_headers(headers)],
            )
            for _, key, value, headers in rows
        ]
        await asyncio.gather(*sent)
        await db.execute(DONE, [row[0] for row in rows])


async def consume(db: "asyncpg.Connection[Any]", consumer: AIOKafkaConsumer, batch: int) -> None:
    """Batch after batch; offsets are committed once a second, the inbox makes that safe."""
    loop = asyncio.get_running_loop()
    committed_at = loop.time()
    while True:
        found = await consumer.getmany(timeout_ms=500, max_records=batch)
        records = [record for part in found.values() for record in part]
        if records:
            await handle(db, records)
        if loop.time() - committed_at > COMMIT_EVERY_SECONDS:
            await consumer.commit()
            committed_at = loop.time()


async def main() -> None:
    """Run until killed."""
    given = os.environ
    link = {"bootstrap_servers": given["BENCH_KAFKA"]}
    server = {"search_path": "chat_router", "plan_cache_mode": "force_custom_plan", "jit": "off"}
    producer = AIOKafkaProducer(
        **link, acks="all", enable_idempotence=True, linger_ms=0, max_batch_size=256 * 1024
    )
    consumer = AIOKafkaConsumer(
        given["BENCH_TOPIC"],
        **link,
        group_id=given["BENCH_GROUP"],
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=100,
    )
    await producer.start()
    await consumer.start()
    one = await asyncpg.connect(given["BENCH_DATABASE_URL"], server_settings=server)
    other = await asyncpg.connect(given["BENCH_DATABASE_URL"], server_settings=server)
    await asyncio.gather(consume(one, consumer, int(given["BENCH_BATCH"])), relay(other, producer))


if __name__ == "__main__":
    uvloop.run(main())
