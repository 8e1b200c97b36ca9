"""A SELECT that is composed once and asked often, on the driver itself.

It is written with SQLAlchemy like any other, with `bindparam`s for what changes. Composing,
caching and running it through SQLAlchemy's connections costs some 250 µs of processor time each
time it is asked; what a background loop asks many times a second is worth preparing.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa

from common.db.transaction import Transaction
from common.db.types import UtcDateTime, text_to_utc, utc_to_text

Codec = Callable[[Any], Any]


class _Text(NamedTuple):
    """The statement on one dialect, and what its parameters and answers go through."""

    sql: str
    parameters: tuple[str, ...]
    fixed: dict[str, Any]
    """Parameters whose values the SELECT brings itself."""
    encoders: dict[str, Codec]
    columns: tuple[str, ...]
    decoders: tuple[tuple[int, Codec], ...]


class Prepared:
    """A SELECT with named parameters."""

    def __init__(self, select: "sa.Select[Any]") -> None:
        self._select = select
        self._texts: dict[str, _Text] = {}

    async def rows(self, tx: Transaction, **values: Any) -> list[dict[str, Any]]:
        """The rows by column name; times are aware UTC on either database."""
        text = self._texts.get(tx.dialect)
        if text is None:
            text = self._texts[tx.dialect] = _text_of(self._select, tx.dialect)
        given = text.fixed | values
        for name, encode in text.encoders.items():
            if given[name] is not None:
                given[name] = encode(given[name])
        found = await tx.fetch(text.sql, *(given[name] for name in text.parameters))
        return [_decoded(text, row) for row in found]


def _decoded(text: _Text, row: Sequence[Any]) -> dict[str, Any]:
    values = list(row)
    for position, decode in text.decoders:
        if values[position] is not None:
            values[position] = decode(values[position])
    return dict(zip(text.columns, values, strict=True))


def _text_of(select: "sa.Select[Any]", dialect: str) -> _Text:
    compiled: Any = select.compile(dialect=_dialect(dialect))
    columns = [column.keyname for column in compiled._result_columns]
    types = [column.type for column in compiled._result_columns]
    decoders = [(n, codec) for n, kind in enumerate(types) if (codec := _decoder(kind, dialect))]
    is_text = dialect == "sqlite"
    encoders: dict[str, Codec] = {
        name: utc_to_text
        for name in compiled.params
        if is_text and isinstance(compiled.binds[name].type, UtcDateTime)
    }
    fixed = {name: value for name, value in compiled.params.items() if value is not None}
    return _Text(
        str(compiled),
        tuple(compiled.positiontup),
        fixed,
        encoders,
        tuple(columns),
        tuple(decoders),
    )


def _dialect(name: str) -> Any:
    """SQLAlchemy's own dialect of the driver, so that parameters are written as it takes them."""
    driver = {"postgresql": "postgresql+asyncpg", "sqlite": "sqlite+aiosqlite"}[name]
    return sa.make_url(f"{driver}://").get_dialect()()


def _decoder(kind: Any, dialect: str) -> Codec | None:
    if isinstance(kind, sa.JSON):
        return msgspec.json.decode
    if dialect == "sqlite" and isinstance(kind, UtcDateTime):
        return text_to_utc
    if dialect == "sqlite" and isinstance(kind, sa.Boolean):
        return bool
    return None
