"""A SELECT that is composed once and asked often, on the driver itself.

It is written with SQLAlchemy like any other, with `bindparam`s for what changes. Composing,
caching and running it through SQLAlchemy's connections costs some 250 µs of processor time each
time it is asked; what a background loop asks many times a second is worth preparing.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa

from common.db.binding import FROM_SQLITE, TO_SQLITE, Codec, coded, pg_type_of
from common.db.transaction import Transaction


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
    return dict(zip(text.columns, coded(row, text.decoders), strict=True))


def _text_of(select: "sa.Select[Any]", dialect: str) -> _Text:
    compiled: Any = select.compile(dialect=_dialect(dialect))
    columns = [column.keyname for column in compiled._result_columns]
    types = [column.type for column in compiled._result_columns]
    decoders = [(n, codec) for n, kind in enumerate(types) if (codec := _decoder(kind, dialect))]
    kinds = {name: pg_type_of(compiled.binds[name].type) for name in compiled.params}
    to_sqlite = TO_SQLITE if dialect == "sqlite" else {}
    encoders = {name: to_sqlite[kind] for name, kind in kinds.items() if kind in to_sqlite}
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
    return FROM_SQLITE.get(pg_type_of(kind)) if dialect == "sqlite" else None
