"""Events that could not take effect, kept whole with the reason; and the keys behind them.

Two kinds of letters:

* *poison* (`code` of `Undecodable`): the record can never be read; its key goes on without it.
* *parked*: the handler failed on it. Its key is parked: later records of the key follow it into
  this table, in order, until the first is replayed or dropped. Other keys go on.

`replay` asks the service to run a letter (and those behind it) again; `drop` gives one up. Both
only mark rows: the elected replica of the service does the work.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from common.bus.port import Record
from common.contracts.envelope import Message
from common.contracts.topics import DEAD_LETTERS
from common.db.backbone import backbone_tables
from common.runtime.flush import headers_from_text, headers_to_text

_tables = sa.MetaData()
backbone_tables(_tables)
LETTERS = _tables.tables["dead_letters"]
PARKED_KEYS = _tables.tables["parked_keys"]
OUTBOX = _tables.tables["outbox"]

OrderKey = tuple[str, bytes]
MAX_REASON = 2000


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
        "reason": reason[:MAX_REASON],
        "state": state,
        "created_at": now,
    }


def _readable(headers: Sequence[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    # Foreign headers may hold any bytes; JSON text may not, and PostgreSQL text has no NUL.
    return [
        (name, (value or b"").decode("utf-8", "backslashreplace").replace("\0", "\\x00").encode())
        for name, value in headers
    ]


async def store(conn: AsyncConnection, letters: Sequence[dict[str, Any]], now: datetime) -> int:
    """Keep letters, park the keys of failed ones, and publish a copy of each; how many are new."""
    added = 0
    for letter in letters:
        known = sa.select(LETTERS.c.letter_id).where(LETTERS.c.letter_id == letter["letter_id"])
        if (await conn.execute(known)).first() is not None:
            continue
        await conn.execute(LETTERS.insert().values(letter))
        await conn.execute(OUTBOX.insert().values(_copy(letter, now)))
        if letter["state"] == "parked":
            await _park(conn, letter, now)
        added += 1
    return added


def _copy(letter: dict[str, Any], now: datetime) -> dict[str, Any]:
    headers = [
        *headers_from_text(letter["headers"]),
        ("kefu_dead_letter_id", letter["letter_id"].encode()),
        ("kefu_dead_letter_code", letter["code"].encode()),
        ("kefu_dead_letter_reason", letter["reason"].encode()),
    ]
    message = Message(DEAD_LETTERS, letter["key"], letter["value"], headers)
    return {
        "topic": message.topic,
        "key": message.key,
        "value": message.value,
        "headers": headers_to_text(headers, {}),
        "created_at": now,
    }


async def _park(conn: AsyncConnection, letter: dict[str, Any], now: datetime) -> None:
    where = (PARKED_KEYS.c.topic == letter["topic"]) & (PARKED_KEYS.c.key == letter["key"])
    if (await conn.execute(sa.select(PARKED_KEYS).where(where))).first() is None:
        values = {"topic": letter["topic"], "key": letter["key"], "parked_at": now}
        await conn.execute(PARKED_KEYS.insert().values(values))


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
        waiting = LETTERS.c.state.in_(["parked", "behind", "replay"])
        query = query.where(LETTERS.c.topic == source[0], LETTERS.c.key == source[1], waiting)
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


async def settle(conn: AsyncConnection, letter_id: str) -> None:
    """Remove a letter that is done with, and unpark its key if it was the last."""
    letter = (
        await conn.execute(sa.select(LETTERS).where(LETTERS.c.letter_id == letter_id))
    ).first()
    if letter is None:
        return
    await conn.execute(LETTERS.delete().where(LETTERS.c.letter_id == letter_id))
    key = (LETTERS.c.topic == letter.topic) & (LETTERS.c.key == letter.key)
    waiting = key & LETTERS.c.state.in_(["parked", "behind", "replay"])
    if (await conn.execute(sa.select(LETTERS.c.letter_id).where(waiting).limit(1))).first() is None:
        await conn.execute(
            PARKED_KEYS.delete().where(
                PARKED_KEYS.c.topic == letter.topic, PARKED_KEYS.c.key == letter.key
            )
        )


async def mark(
    conn: AsyncConnection, letter_id: str, state: str, reason: str | None = None
) -> bool:
    """Change a letter's state (`replay`, `parked`, `poison`); False when there is none."""
    values: dict[str, Any] = {"state": state}
    if reason is not None:
        values["reason"] = reason[:MAX_REASON]
    result = await conn.execute(
        LETTERS.update().where(LETTERS.c.letter_id == letter_id).values(values)
    )
    return result.rowcount == 1


async def page(
    conn: AsyncConnection, *, after: str = "", limit: int = 100, code: str | None = None
) -> list[Any]:
    """Letters in id order, for `kefu dead-letters list`."""
    query = sa.select(LETTERS).where(LETTERS.c.letter_id > after)
    if code:
        query = query.where(LETTERS.c.code == code)
    return list(await conn.execute(query.order_by(LETTERS.c.letter_id).limit(limit)))
