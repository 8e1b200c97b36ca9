"""Events that could not take effect, kept whole with the reason; and the keys behind them.

Two kinds of letters:

* *poison* (`code` of `Undecodable`): the record can never be read; its key goes on without it.
* *parked*: the handler failed on it. Its key is parked: later records of the key follow it into
  this table, in order, until the first is replayed or dropped. Other keys go on.

Marking a letter `replay` asks the service to run it (and, of a parked key, all its letters in
order) again; the elected replica does the work. `drop` gives a letter up: its event never takes
effect, and when it was the first of a parked key those behind it go on.
"""

import contextlib
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from common.bus.port import Record
from common.contracts import Undecodable, decode
from common.contracts.topics import DEAD_LETTERS, TOPICS
from common.db.backbone import backbone_tables
from common.runtime.flush import headers_from_text, headers_to_text
from common.runtime.items import EventItem

_tables = sa.MetaData()
backbone_tables(_tables)
LETTERS = _tables.tables["dead_letters"]
PARKED_KEYS = _tables.tables["parked_keys"]
OUTBOX = _tables.tables["outbox"]
INBOX = _tables.tables["inbox"]

OrderKey = tuple[str, bytes]
MAX_REASON = 2000
# Leaves room in the topic's largest message for headers, key and reason.
MAX_COPIED_BYTES = TOPICS[DEAD_LETTERS].max_message_bytes - 512 * 1024
WAITING_STATES = ("parked", "behind", "replay")


def letter_id_of(record: Record) -> str:
    """The same record always makes the same letter, so that redelivery adds none."""
    return f"{record.topic}/{record.partition:05d}/{record.offset:015d}"


def letter_row(
    record: Record, *, shop_id: str, code: str, reason: str, state: str, now: datetime
) -> dict[str, Any]:
    """The table row of a letter."""
    return {
        "letter_id": letter_id_of(record),
        "shop_id": shop_id,
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "key": record.key,
        "value": record.value,
        "headers": headers_to_text(_readable(record.headers), {}),
        "code": code,
        "reason": _storable(reason),
        "state": state,
        "created_at": now,
    }


def _storable(reason: str) -> str:
    # A reason may quote foreign text; PostgreSQL takes neither NUL nor lone surrogates.
    clean = reason.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode()
    return clean[:MAX_REASON]


def _readable(headers: Sequence[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    # Foreign headers may hold any bytes; JSON text may not, and PostgreSQL text has no NUL.
    return [
        (name, (value or b"").decode("utf-8", "backslashreplace").replace("\0", "\\x00").encode())
        for name, value in headers
    ]


class Stored(NamedTuple):
    """How many letters are new, and the ids of those whose key is no longer parked.

    The latter were not kept: their events must be run, now that nothing is ahead of them.
    """

    added: int
    freed: frozenset[str]


async def store(conn: AsyncConnection, letters: Sequence[dict[str, Any]], now: datetime) -> Stored:
    """Keep letters, park the keys of failed ones, and publish a copy of each."""
    failed = {_key_of(letter) for letter in letters if letter["state"] == "parked"}
    asked = failed | {_key_of(letter) for letter in letters if letter["state"] == "behind"}
    parked = await _hold_parked(conn, asked)
    keys = [{"topic": topic, "key": key, "parked_at": now} for topic, key in failed - parked]
    if keys:
        await conn.execute(PARKED_KEYS.insert(), keys)
    free = asked - parked - failed
    freed = frozenset(x["letter_id"] for x in letters if _key_of(x) in free)
    known = await _known(conn, [letter["letter_id"] for letter in letters])
    new = [x for x in letters if x["letter_id"] not in known | freed]
    if new:
        await conn.execute(LETTERS.insert(), new)
        await conn.execute(OUTBOX.insert(), [_copy(letter, now) for letter in new])
    return Stored(len(new), freed)


def _key_of(letter: dict[str, Any]) -> OrderKey:
    return (letter["topic"], letter["key"])


async def _hold_parked(conn: AsyncConnection, keys: Iterable[OrderKey]) -> set[OrderKey]:
    """Which of these keys are parked; they stay so until this transaction ends."""
    columns = sa.tuple_(PARKED_KEYS.c.topic, PARKED_KEYS.c.key)
    query = sa.select(PARKED_KEYS.c.topic, PARKED_KEYS.c.key).where(columns.in_(sorted(keys)))
    found = await conn.execute(query.order_by(*query.selected_columns).with_for_update())
    return {(topic, bytes(key)) for topic, key in found}


async def _known(conn: AsyncConnection, ids: Sequence[str]) -> set[str]:
    query = sa.select(LETTERS.c.letter_id).where(LETTERS.c.letter_id.in_(ids))
    return set((await conn.execute(query)).scalars())


def _copy(letter: dict[str, Any], now: datetime) -> dict[str, Any]:
    headers = [
        *headers_from_text(letter["headers"]),
        ("kefu_dead_letter_id", letter["letter_id"].encode()),
        ("kefu_dead_letter_code", letter["code"].encode()),
        ("kefu_dead_letter_reason", letter["reason"].encode()),
    ]
    value = letter["value"]
    if len(value) > MAX_COPIED_BYTES:
        # The row keeps every byte; a copy that the bus refuses would hold up the whole outbox.
        headers.append(("kefu_dead_letter_cut_from", str(len(value)).encode()))
        value = value[:MAX_COPIED_BYTES]
    return {
        "topic": DEAD_LETTERS,
        "key": letter["key"],
        "value": value,
        "headers": headers_to_text(headers, {}),
        "created_at": now,
    }


async def parked_keys(conn: AsyncConnection) -> set[OrderKey]:
    """The keys that wait behind a failed event."""
    found = await conn.execute(sa.select(PARKED_KEYS.c.topic, PARKED_KEYS.c.key))
    return {(topic, bytes(key)) for topic, key in found}


async def replay_requested(conn: AsyncConnection) -> list[OrderKey | str]:
    """Keys whose parked letters, and ids of poison letters, that someone asked to replay."""
    found = await conn.execute(
        sa.select(LETTERS.c.letter_id, LETTERS.c.topic, LETTERS.c.key, PARKED_KEYS.c.topic)
        .outerjoin(
            PARKED_KEYS,
            (PARKED_KEYS.c.topic == LETTERS.c.topic) & (PARKED_KEYS.c.key == LETTERS.c.key),
        )
        .where(LETTERS.c.state == "replay")
        .order_by(LETTERS.c.letter_id)
    )
    asked: dict[OrderKey | str, None] = {}
    for letter_id, topic, key, parked in found:
        asked[(topic, bytes(key)) if parked else letter_id] = None
    return list(asked)


async def letters_of(conn: AsyncConnection, source: OrderKey | str, limit: int = 500) -> list[Any]:
    """The letters of a key in order, or one letter by id."""
    query = sa.select(LETTERS).order_by(LETTERS.c.partition, LETTERS.c.offset).limit(limit)
    if isinstance(source, str):
        query = query.where(LETTERS.c.letter_id == source)
    else:
        query = query.where(_waiting(source))
    return list(await conn.execute(query))


def record_of(letter: Any) -> Record:
    """The record of a letter, as it came from the bus."""
    return Record(
        letter.topic,
        letter.partition,
        letter.offset,
        bytes(letter.key),
        bytes(letter.value),
        headers_from_text(letter.headers),
    )


def _waiting(key: OrderKey) -> sa.ColumnElement[bool]:
    of_key = (LETTERS.c.topic == key[0]) & (LETTERS.c.key == key[1])
    return of_key & LETTERS.c.state.in_(WAITING_STATES)


async def settle(conn: AsyncConnection, letter_id: str) -> bool:
    """Remove a letter that is done with; False when there is none.

    The key of a parked letter goes on: its next letter is asked to be replayed, and without one
    the key is no longer parked.
    """
    query = sa.select(LETTERS).where(LETTERS.c.letter_id == letter_id)
    letter = (await conn.execute(query)).first()
    if letter is None:
        return False
    key = (letter.topic, bytes(letter.key))
    parked = await _hold_parked(conn, [key])
    first = await _first_waiting(conn, key)
    await conn.execute(LETTERS.delete().where(LETTERS.c.letter_id == letter_id))
    if parked and first in (letter_id, None):
        await _go_on(conn, key)
    return True


async def _first_waiting(conn: AsyncConnection, key: OrderKey) -> str | None:
    in_order = sa.select(LETTERS.c.letter_id).where(_waiting(key))
    in_order = in_order.order_by(LETTERS.c.partition, LETTERS.c.offset).limit(1)
    found: str | None = (await conn.execute(in_order)).scalar()
    return found


async def _go_on(conn: AsyncConnection, key: OrderKey) -> None:
    following = await _first_waiting(conn, key)
    if following is not None:
        await mark(conn, following, "replay")
        return
    where = (PARKED_KEYS.c.topic == key[0]) & (PARKED_KEYS.c.key == key[1])
    await conn.execute(PARKED_KEYS.delete().where(where))


async def set_aside(conn: AsyncConnection, letter: Any, code: str, reason: str) -> None:
    """A use case refused a letter of a parked key: it stays as poison, its key goes on."""
    key = (letter.topic, bytes(letter.key))
    await _hold_parked(conn, [key])
    values = {"state": "poison", "code": code, "reason": _storable(reason)}
    same = LETTERS.c.letter_id == letter.letter_id
    await conn.execute(LETTERS.update().where(same).values(values))
    await _go_on(conn, key)


async def drop(conn: AsyncConnection, letter_id: str, now: datetime) -> bool:
    """Give a letter up; False when there is none.

    Its event is entered into the inbox, so that no later delivery makes it take effect after all.
    """
    found = await letters_of(conn, letter_id)
    if not found:
        return False
    record = record_of(found[0])
    with contextlib.suppress(Undecodable):
        envelope = decode(record.topic, record.key, record.value, record.headers)
        event_id = EventItem(record, envelope).inbox_id
        seen = await conn.execute(sa.select(INBOX).where(INBOX.c.event_id == event_id))
        if seen.first() is None:
            await conn.execute(INBOX.insert().values(event_id=event_id, received_at=now))
    return await settle(conn, letter_id)


async def mark(
    conn: AsyncConnection, letter_id: str, state: str, reason: str | None = None
) -> bool:
    """Change a letter's state (`replay`, `parked`, `poison`); False when there is none."""
    values: dict[str, Any] = {"state": state}
    if reason is not None:
        values["reason"] = _storable(reason)
    result = await conn.execute(
        LETTERS.update().where(LETTERS.c.letter_id == letter_id).values(values)
    )
    return result.rowcount == 1


async def withdraw_replays(conn: AsyncConnection, key: OrderKey) -> None:
    """After one of a key's letters failed again, those behind it wait as before."""
    asked = (LETTERS.c.topic == key[0]) & (LETTERS.c.key == key[1]) & (LETTERS.c.state == "replay")
    before = {"handler_failed": "parked", "parked_behind": "behind"}
    state = sa.case(before, value=LETTERS.c.code, else_="poison")
    await conn.execute(LETTERS.update().where(asked).values(state=state))


async def page(
    conn: AsyncConnection, *, after: str = "", limit: int = 100, code: str | None = None
) -> list[Any]:
    """Letters in id order, for `kefu dead-letters list`."""
    query = sa.select(LETTERS).where(LETTERS.c.letter_id > after)
    if code:
        query = query.where(LETTERS.c.code == code)
    return list(await conn.execute(query.order_by(LETTERS.c.letter_id).limit(limit)))
