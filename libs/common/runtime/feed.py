"""What sockets show: numbered per receiver in the database, pushed live from the bus.

An event that names receivers gets, in its own transaction, the next number of each receiver's
feed. The replica that committed it hands it to its own sockets at once; every replica tails the
topics and hands each event to the sockets it holds, so that one written elsewhere arrives too. A
socket that comes back reads what it missed from the database by its last number, so neither a
lost socket nor a lost replica loses anything.
"""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import sqlalchemy as sa
import structlog

from common.bus.port import Bus, Record, Subscription
from common.contracts import Envelope, Undecodable, decode
from common.db.backbone import backbone_tables
from common.db.database import Database
from common.runtime.flush import Numbers, Outgoing
from common.runtime.loops import Backoff, Loop

MAX_QUEUED = 2000
MAX_REMEMBERED = 20_000
POLL_SECONDS = 0.2

_tables = sa.MetaData()
backbone_tables(_tables)
FEED = _tables.tables["feed"]
FEED_HEADS = _tables.tables["feed_heads"]

log = structlog.get_logger(__name__)


class FeedItem(NamedTuple):
    """One event for one receiver.

    `seq` is the number in the receiver's feed, from 1, without gaps; 0 for what is not kept
    (typing). `body` is the event's JSON; `traceparent` is known only for live items.
    """

    receiver: str
    seq: int
    type: str
    body: bytes
    traceparent: str | None = None


class Overrun(RuntimeError):
    """A listener fell so far behind that live items were dropped: it must resume or reload."""


class Listener:
    """A socket's live queue. Once overrun it yields no more, so no gap can go unnoticed."""

    def __init__(self, shop_id: str, receivers: Sequence[str]) -> None:
        self.shop_id = shop_id
        self.receivers = tuple(receivers)
        self._queue: asyncio.Queue[FeedItem | None] = asyncio.Queue()
        self._overrun = False

    def push(self, item: FeedItem) -> None:
        """Called by the feed: never waits."""
        if self._overrun:
            return
        if self._queue.qsize() >= MAX_QUEUED:
            self.overrun()
            return
        self._queue.put_nowait(item)

    def overrun(self) -> None:
        """Nothing more will come; whoever listens is told."""
        self._overrun = True
        self._queue.put_nowait(None)

    async def next(self) -> FeedItem:
        """The next live item; `Overrun` when items were dropped."""
        if self._overrun and self._queue.empty():
            raise Overrun
        item = await self._queue.get()
        if item is None:
            raise Overrun
        return item

    def waiting(self) -> list[FeedItem]:
        """What is in the queue already, without waiting."""
        found: list[FeedItem] = []
        while not self._queue.empty():
            item = self._queue.get_nowait()
            if item is None:
                raise Overrun
            found.append(item)
        return found


class Feed(Loop):
    """The feeds of one service."""

    def __init__(self, database: Database, bus: Bus, topics: Iterable[str]) -> None:
        super().__init__("feed")
        self._database = database
        self._bus = bus
        self._topics = tuple(topics)
        self._listeners: dict[tuple[str, str], set[Listener]] = defaultdict(set)
        self._shown_here: dict[str, None] = {}
        """Ids of events that were handed out when they were committed, the oldest first."""
        self.ready = asyncio.Event()

    @contextlib.contextmanager
    def listen(self, shop_id: str, receivers: Sequence[str]) -> Iterator[Listener]:
        """A live queue for these receivers while the block lasts."""
        listener = Listener(shop_id, receivers)
        for receiver in receivers:
            self._listeners[shop_id, receiver].add(listener)
        try:
            yield listener
        finally:
            for receiver in receivers:
                held = self._listeners[shop_id, receiver]
                held.discard(listener)
                if not held:
                    del self._listeners[shop_id, receiver]

    async def since(self, shop_id: str, receiver: str, seq: int, limit: int) -> list[FeedItem]:
        """What a receiver got after number `seq`, oldest first."""
        query = (
            sa.select(FEED.c.seq, FEED.c.type, FEED.c.body)
            .where(FEED.c.shop_id == shop_id, FEED.c.receiver == receiver, FEED.c.seq > seq)
            .order_by(FEED.c.seq)
            .limit(limit)
        )
        async with self._database.read() as conn:
            found = await conn.execute(query)
            return [FeedItem(receiver, n, type_, body.encode()) for n, type_, body in found]

    async def heads(self, shop_id: str, receivers: Sequence[str]) -> dict[str, int]:
        """The last number of each receiver; 0 for one that never got anything."""
        query = sa.select(FEED_HEADS.c.receiver, FEED_HEADS.c.last_seq).where(
            FEED_HEADS.c.shop_id == shop_id, FEED_HEADS.c.receiver.in_(receivers)
        )
        async with self._database.read() as conn:
            found = await conn.execute(query)
            known = {receiver: int(last) for receiver, last in found}
        return {receiver: known.get(receiver, 0) for receiver in receivers}

    async def run(self) -> None:
        """Tail the topics until stopped."""
        if not self._topics:
            await self._idle()
            return
        backoff = Backoff()
        while not self.stopping:
            subscription: Subscription | None = None
            try:
                subscription = await self._bus.tail(self._topics)
                self._drop_listeners()
                self.ready.set()
                backoff.reset()
                await self._follow(subscription)
            except Exception as error:
                log.warning("feed_tail_lost", error=repr(error))
                self.beat()
                await self.pause(backoff.next())
            finally:
                if subscription is not None:
                    await subscription.close()

    async def _idle(self) -> None:
        """Nothing to tail: only show that the loop lives, or the process is taken for stuck."""
        self.ready.set()
        while not self.stopping:
            self.beat()
            await self.pause(10.0)

    def _drop_listeners(self) -> None:
        """What was published while nobody tailed is in the database: let sockets resume."""
        if self.ready.is_set():
            for held in list(self._listeners.values()):
                for listener in list(held):
                    listener.overrun()

    async def _follow(self, subscription: Subscription) -> None:
        while not self.stopping:
            for record in await subscription.poll(1000, POLL_SECONDS):
                self._hand_out(record)
            self.beat()

    def show(self, events: Sequence[Outgoing], numbers: Numbers) -> None:
        """Hand out what was committed here a moment ago, without the way over the bus."""
        if not self._listeners:
            return
        for event, deliveries in zip(events, numbers, strict=True):
            if deliveries:
                self._push(deliveries, event.envelope, event.message.value)
                self._shown_here[event.envelope.id] = None
        while len(self._shown_here) > MAX_REMEMBERED:
            # Forgotten too early it is handed out twice, which followers see by its number.
            del self._shown_here[next(iter(self._shown_here))]

    def _hand_out(self, record: Record) -> None:
        if not self._listeners or not self._may_be_for_us(record):
            return
        try:
            envelope = decode(record.topic, record.key, record.value, record.headers)
        except Undecodable:
            return  # the consumer of the topic makes a dead letter of it
        self._push(envelope.deliveries, envelope, record.value)

    def _may_be_for_us(self, record: Record) -> bool:
        """By the headers alone: it has receivers, and they were not served when it was made."""
        headers = dict(record.headers)
        event_id = headers.get("ce_id", b"").decode("latin-1")
        if event_id in self._shown_here:
            del self._shown_here[event_id]
            return False
        return "ce_deliveries" in headers

    def _push(self, deliveries: Mapping[str, int], envelope: Envelope, body: bytes) -> None:
        for receiver, seq in deliveries.items():
            for listener in self._listeners.get((envelope.shop_id, receiver), ()):
                listener.push(FeedItem(receiver, seq, envelope.type, body, envelope.traceparent))


class Follower:
    """A receiver's view of its feeds: in order, without gaps, each item once.

    Live items of one receiver come from many partitions, so a later number may arrive first. The
    earlier ones are committed by then (numbers are given under a lock), and are read from the
    database.
    """

    def __init__(self, feed: Feed, listener: Listener, seen: Mapping[str, int]) -> None:
        self._feed = feed
        self._listener = listener
        self.seen = dict(seen)
        """The last number that was handed on, per receiver."""

    async def behind(self, heads: Mapping[str, int]) -> int:
        """How many items the receivers have not seen yet."""
        return sum(max(0, last - self.seen.get(name, 0)) for name, last in heads.items())

    async def catch_up(self, page: int = 500) -> AsyncIterator[FeedItem]:
        """Everything that the database has after the last numbers."""
        for receiver in self._listener.receivers:
            while found := await self._since(receiver, page):
                for item in found:
                    yield item

    async def next(self) -> list[FeedItem]:
        """The next items; `Overrun` when this follower has to start again from its numbers."""
        while True:
            item = await self._listener.next()
            if item.seq == 0:
                return [item]
            last = self.seen.get(item.receiver, 0)
            if item.seq == last + 1:
                self.seen[item.receiver] = item.seq
                return [item]
            if item.seq > last:
                return await self._since(item.receiver, item.seq - last)

    async def _since(self, receiver: str, limit: int) -> list[FeedItem]:
        found = await self._feed.since(
            self._listener.shop_id, receiver, self.seen.get(receiver, 0), limit
        )
        if found:
            self.seen[receiver] = found[-1].seq
        return found
