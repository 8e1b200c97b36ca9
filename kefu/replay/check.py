"""The check: what was acknowledged to writers against what came out at receivers.

Pure, and independent of the services: it knows the journal (what clients planned, were told and
were shown) and the threads that the API hands out at the end, nothing else.

*Lost*: acknowledged, but not in the stored thread, never shown to the buyer's client, or never to
an agent's client. *Doubled*: stored twice, shown twice by one socket, or stored though nobody
wrote it. *Out of order*: a thread or a socket that shows messages in another order than they
were written or numbered in.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

from msgspec import Struct

from kefu.replay.records import (
    Acknowledged,
    AnyRecord,
    Delivered,
    Joined,
    Planned,
    Refused,
    Resynced,
)

MESSAGE_TYPES = frozenset({"message.received", "message.sent"})
FindingKind = Literal["lost", "doubled", "out_of_order"]


class StoredMessage(Struct, frozen=True, kw_only=True):
    """A message as the API hands it out. `sender_kind` is buyer, agent, bot or system."""

    conversation_id: str
    message_id: str
    client_message_id: str
    seq: int
    sender_kind: str
    reminder_id: str | None = None


class Thread(Struct, frozen=True, kw_only=True):
    """A conversation and all its messages, in the order in which the API hands them out."""

    conversation_id: str
    buyer_id: str
    messages: tuple[StoredMessage, ...]


class Finding(Struct, frozen=True, order=True):
    """One broken promise: what kind, about which message, and where it was seen."""

    kind: FindingKind
    message: str
    where: str


@dataclass(slots=True)
class Books:
    """The journal's records of messages, by what they are about."""

    planned: dict[str, Planned] = field(default_factory=dict)
    acknowledged: dict[str, list[Acknowledged]] = field(default_factory=lambda: defaultdict(list))
    refused: dict[str, Refused] = field(default_factory=dict)
    streams: dict[str, list[Delivered | Joined | Resynced]] = field(
        default_factory=lambda: defaultdict(list)
    )

    @property
    def messages(self) -> dict[str, Planned]:
        """The planned actions that are messages."""
        return {key: plan for key, plan in self.planned.items() if plan.kind == "message"}


def read_books(records: Iterable[AnyRecord]) -> Books:
    """Sorts a journal's records."""
    books = Books()
    for record in records:
        match record:
            case Planned():
                books.planned[record.action] = record
            case Acknowledged():
                books.acknowledged[record.action].append(record)
            case Refused():
                books.refused[record.action] = record
            case Delivered() | Joined() | Resynced():
                books.streams[record.receiver].append(record)
            case _:
                pass
    return books


def findings(books: Books, threads: Sequence[Thread]) -> list[Finding]:
    """Every broken promise, each once."""
    found: set[Finding] = set()
    found.update(_acknowledgements(books))
    found.update(_stored(books, threads))
    found.update(_thread_order(books, threads))
    for receiver, stream in books.streams.items():
        found.update(_stream(receiver, stream))
    found.update(_undelivered(books, threads))
    return sorted(found)


def _acknowledgements(books: Books) -> Iterable[Finding]:
    for action in books.messages:
        ids = {answer.message_id for answer in books.acknowledged.get(action, ())}
        if len(ids) > 1:
            yield Finding("doubled", action, "acknowledged as two messages")


def _stored(books: Books, threads: Sequence[Thread]) -> Iterable[Finding]:
    """Acknowledged messages are stored, once, under the id that was acknowledged."""
    copies: dict[str, list[StoredMessage]] = defaultdict(list)
    for message in _all(threads):
        copies[message.client_message_id].append(message)
    for action, answers in books.acknowledged.items():
        if action not in books.messages:
            continue
        stored = {message.message_id for message in copies.get(action, ())}
        if answers[0].message_id not in stored:
            yield Finding("lost", action, "not in the stored thread")
    for name, same in copies.items():
        if len({message.message_id for message in same}) < len(same) or (
            name in books.planned and len(same) > 1
        ):
            yield Finding("doubled", name, "stored more than once")
        if same[0].sender_kind in ("buyer", "agent") and name not in books.planned:
            yield Finding("doubled", name, "stored, but nobody wrote it")
    yield from _reminders_twice(threads)


def _reminders_twice(threads: Sequence[Thread]) -> Iterable[Finding]:
    seen: dict[str, str] = {}
    for message in _all(threads):
        if message.reminder_id and seen.setdefault(message.reminder_id, message.message_id) != (
            message.message_id
        ):
            yield Finding("doubled", message.message_id, f"reminder {message.reminder_id} again")


def _all(threads: Iterable[Thread]) -> Iterable[StoredMessage]:
    return (message for thread in threads for message in thread.messages)


def _thread_order(books: Books, threads: Sequence[Thread]) -> Iterable[Finding]:
    """Numbers run from 1 without a gap, and follow the order in which the messages were written."""
    for thread in threads:
        for place, message in enumerate(thread.messages, start=1):
            if message.seq != place:
                where = f"number {message.seq} at place {place} of its thread"
                yield Finding("out_of_order", message.client_message_id, where)
        written = [
            books.planned[message.client_message_id].turn
            for message in thread.messages
            if message.client_message_id in books.planned
        ]
        for before, after in pairwise(written):
            if after <= before:
                where = f"turn {after} stored after turn {before} of {thread.buyer_id}"
                yield Finding("out_of_order", thread.conversation_id, where)


def _stream(receiver: str, stream: Sequence[Delivered | Joined | Resynced]) -> Iterable[Finding]:
    """One receiver's socket: events come in their numbers' order, without a gap and once.

    A buyer of the run is new, so the feed begins at 1; an agent's begins where it was joined.
    """
    cursor: int | None = 0 if receiver.startswith("buyer:") else None
    shown, newest, missing = set[str](), dict[str, int](), set[int]()
    for record in stream:
        if isinstance(record, Resynced):
            newest.clear()
            cursor = None
        elif isinstance(record, Joined):
            cursor = record.cursor
        elif record.via == "socket":
            if cursor is not None and record.cursor <= cursor:
                name = record.client_message_id or f"event {record.cursor}"
                yield Finding("out_of_order", name, f"cursor {record.cursor} at {receiver}")
                missing.discard(record.cursor)
            else:
                missing.update(
                    range((record.cursor if cursor is None else cursor + 1), record.cursor)
                )
            cursor = max(record.cursor, cursor or 0)
            if record.type in MESSAGE_TYPES and record.message_id is not None:
                yield from _shown(receiver, record, shown, newest)
    for number in sorted(missing):
        yield Finding("lost", f"event {number} of {receiver}", "never came")


def _shown(
    receiver: str, record: Delivered, shown: set[str], newest: dict[str, int]
) -> Iterable[Finding]:
    message = record.client_message_id or str(record.message_id)
    if record.message_id in shown:
        yield Finding("doubled", message, f"twice at {receiver}")
        return
    shown.add(str(record.message_id))
    conversation, seq = str(record.conversation_id), record.seq or 0
    if seq <= newest.get(conversation, 0):
        yield Finding("out_of_order", message, f"number {seq} late at {receiver}")
    newest[conversation] = max(seq, newest.get(conversation, 0))


def _undelivered(books: Books, threads: Sequence[Thread]) -> Iterable[Finding]:
    """Every stored message reached its buyer's client; every written one an agent's, too."""
    reached = deliveries_by_side(books)
    for thread in threads:
        for message in thread.messages:
            name = message.client_message_id
            by = reached.get(message.message_id, Reached())
            if thread.buyer_id not in by.buyers:
                yield Finding("lost", name, f"never at buyer:{thread.buyer_id}")
            if name in books.planned and not by.agents:
                yield Finding("lost", name, "never at an agent")


@dataclass(slots=True)
class Reached:
    """Whose clients got a message."""

    buyers: set[str] = field(default_factory=set)
    agents: set[str] = field(default_factory=set)


def deliveries_by_side(books: Books) -> Mapping[str, Reached]:
    """For each message id, the buyers and agents whose clients got it."""
    reached: dict[str, Reached] = defaultdict(Reached)
    for receiver, stream in books.streams.items():
        side, _, who = receiver.partition(":")
        for record in stream:
            if isinstance(record, Delivered) and record.type in MESSAGE_TYPES:
                if record.message_id is None:
                    continue
                if side == "buyer":
                    reached[record.message_id].buyers.add(who)
                elif side == "agent":
                    reached[record.message_id].agents.add(who)
    return dict(reached)
