"""Writes what a batch changed: rows, timers and feed heads, then what needs the feeds' numbers."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa

from common.contracts import Envelope, Message, encode
from common.contracts.deliveries import format_deliveries
from common.db.backbone import backbone_tables
from common.db.binding import Binding, Values
from common.db.bulk import Insert
from common.db.transaction import Change, Transaction
from common.db.types import utc_to_text
from common.ids import new_id
from common.runtime.work import Armed, Emitted, Work

_PG_TIMERS = """
INSERT INTO timers (key, shop_id, kind, payload, due_at, run_at, attempts, traceparent)
SELECT key, shop_id, kind, payload, due_at, due_at, 0, traceparent
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::text[])
  AS v(key, shop_id, kind, payload, due_at, traceparent)
ON CONFLICT (key) DO UPDATE SET shop_id = excluded.shop_id, kind = excluded.kind,
  payload = excluded.payload, due_at = excluded.due_at, run_at = excluded.run_at, attempts = 0,
  traceparent = excluded.traceparent
"""
_SQLITE_TIMERS = """
INSERT INTO timers (key, shop_id, kind, payload, due_at, run_at, attempts, traceparent)
VALUES (?1, ?2, ?3, ?4, ?5, ?5, 0, ?6)
ON CONFLICT (key) DO UPDATE SET shop_id = excluded.shop_id, kind = excluded.kind,
  payload = excluded.payload, due_at = excluded.due_at, run_at = excluded.run_at, attempts = 0,
  traceparent = excluded.traceparent
"""
_PG_CANCEL = "DELETE FROM timers WHERE key = ANY($1::text[])"
_SQLITE_CANCEL = "DELETE FROM timers WHERE key = ?"
# Heads are taken in key order, so that two batches never wait for each other crosswise.
_PG_HEADS = """
INSERT INTO feed_heads (shop_id, receiver, last_seq)
SELECT shop_id, receiver, n FROM unnest($1::text[], $2::text[], $3::bigint[])
  AS v(shop_id, receiver, n) ORDER BY 1, 2
ON CONFLICT (shop_id, receiver) DO UPDATE SET last_seq = feed_heads.last_seq + excluded.last_seq
RETURNING shop_id, receiver, last_seq
"""
_SQLITE_HEADS = """
INSERT INTO feed_heads (shop_id, receiver, last_seq)
SELECT json_extract(v.value, '$[0]'), json_extract(v.value, '$[1]'), json_extract(v.value, '$[2]')
FROM json_each(?) AS v WHERE true
ON CONFLICT (shop_id, receiver) DO UPDATE SET last_seq = feed_heads.last_seq + excluded.last_seq
RETURNING shop_id, receiver, last_seq
"""
_tables = sa.MetaData()
backbone_tables(_tables)
_FEED = Insert.into(
    _tables.tables["feed"], ("shop_id", "receiver", "seq", "type", "body", "created_at")
)
_OUTBOX = Insert.into(_tables.tables["outbox"], ("topic", "key", "value", "headers", "created_at"))

_encode_pairs = msgspec.json.Encoder().encode
_decode_pairs = msgspec.json.Decoder(list[tuple[str, str]]).decode


class Outgoing(NamedTuple):
    """An event encoded for the bus, before its feed numbers are known."""

    message: Message
    envelope: Envelope
    deliver: tuple[str, ...]


Numbers = list[dict[str, int]]
"""For each event, the number it gets in each of its receivers' feeds."""


def outgoing(emitted: Emitted, *, source: str, now: datetime) -> Outgoing:
    """Encode an event; `Unencodable` when it breaks its own contract."""
    envelope = Envelope.of(
        emitted.event,
        id=new_id(),
        source=source,
        time=now,
        subject=emitted.subject,
        traceparent=emitted.traceparent,
    )
    return Outgoing(encode(envelope), envelope, emitted.deliver)


async def flush(
    tx: Transaction,
    bindings: Sequence[Binding[Any]],
    work: Work,
    events: Sequence[Outgoing],
    answers: tuple[Insert, Sequence[Values]],
) -> Numbers:
    """Write rows, timers, feed, outbox and answers of a batch into its transaction."""
    counts = _counts(events)
    heads = await tx.write(
        *await _rows(tx, bindings, work),
        *_timers(tx.dialect, work.armed),
        last=(_SQLITE_HEADS if tx.dialect == "sqlite" else _PG_HEADS, counts),
    )
    numbers = _numbers(events, counts, heads)
    moment = utc_to_text(work.now) if tx.dialect == "sqlite" else work.now
    await tx.write(
        (_FEED, _feed_rows(events, numbers, moment)),
        (_OUTBOX, _outbox_rows(events, numbers, moment)),
        answers,
    )
    return numbers


async def _rows(tx: Transaction, bindings: Sequence[Binding[Any]], work: Work) -> list[Change]:
    """What is to be written of rows; what must be written before the rest is written already."""
    updates: list[Change] = []
    inserts: list[Change] = []
    for binding in bindings:
        changes = work.changes(binding)
        if not changes:
            continue
        statements = tx.statements(binding)
        # Deletes first, and updates that may free a unique key: an insert may take it.
        await tx.execute(statements.delete, changes.deletes)
        if changes.updates:
            update = statements.update(frozenset(changes.changed))
            picked = [update.pick(values) for values in changes.updates]
            if changes.inserts and changes.changed & binding.unique:
                await tx.execute(update.sql, picked)
            else:
                updates.append((update.sql, picked))
        inserts.append((statements.insert, changes.inserts))
    return updates + inserts


def _timers(dialect: str, armed: Sequence[Armed]) -> list[Change]:
    if not armed:
        return []
    sqlite = dialect == "sqlite"
    last = {timer.key: timer for timer in armed}
    cancels = [(key,) for key, timer in sorted(last.items()) if timer.payload is None]
    arms = [_timer_values(timer, sqlite) for _, timer in sorted(last.items()) if timer.payload]
    return [
        (_SQLITE_CANCEL if sqlite else _PG_CANCEL, cancels),
        (_SQLITE_TIMERS if sqlite else _PG_TIMERS, arms),
    ]


def _timer_values(timer: Armed, sqlite: bool) -> Values:
    assert timer.due_at is not None
    due_at = utc_to_text(timer.due_at) if sqlite else timer.due_at
    return (
        timer.key,
        timer.payload.shop_id,  # type: ignore[union-attr]
        type(timer.payload).__name__,
        msgspec.json.encode(timer.payload).decode(),
        due_at,
        timer.traceparent or "",
    )


def _counts(events: Sequence[Outgoing]) -> list[Values]:
    """(shop, receiver, how many numbers of its feed are taken)."""
    counts: dict[tuple[str, str], int] = {}
    for event in events:
        for receiver in event.deliver:
            key = (event.envelope.shop_id, receiver)
            counts[key] = counts.get(key, 0) + 1
    return [(*key, count) for key, count in counts.items()]


def _numbers(
    events: Sequence[Outgoing], counts: Sequence[Values], heads: Sequence[Sequence[Any]]
) -> Numbers:
    """For each event, the number it gets in each of its receivers' feeds."""
    last = {(shop, receiver): number for shop, receiver, number in heads}
    following = {(shop, receiver): last[shop, receiver] - n for shop, receiver, n in counts}
    return [_take_numbers(event, following) for event in events]


def _take_numbers(event: Outgoing, following: dict[tuple[str, str], int]) -> dict[str, int]:
    numbers: dict[str, int] = {}
    for receiver in event.deliver:
        key = (event.envelope.shop_id, receiver)
        following[key] += 1
        numbers[receiver] = following[key]
    return numbers


def _feed_rows(events: Sequence[Outgoing], numbers: Numbers, moment: Any) -> list[Values]:
    return [
        (event.envelope.shop_id, receiver, seq, event.envelope.type, body, moment)
        for event, deliveries in zip(events, numbers, strict=True)
        if deliveries
        for body in (event.message.value.decode(),)
        for receiver, seq in deliveries.items()
    ]


def _outbox_rows(events: Sequence[Outgoing], numbers: Numbers, moment: Any) -> list[Values]:
    return [
        (m.topic, m.key, m.value, headers_to_text(m.headers, deliveries), moment)
        for (m, _, _), deliveries in zip(events, numbers, strict=True)
    ]


def headers_to_text(headers: Sequence[tuple[str, bytes]], deliveries: dict[str, int]) -> str:
    """Record headers as the outbox keeps them: a JSON list of pairs."""
    pairs = [(name, value.decode()) for name, value in headers]
    if deliveries:
        pairs.append(("ce_deliveries", format_deliveries(deliveries)))
    return _encode_pairs(pairs).decode()


def headers_from_text(text: str) -> list[tuple[str, bytes]]:
    """The inverse of `headers_to_text`."""
    return [(name, value.encode()) for name, value in _decode_pairs(text)]
