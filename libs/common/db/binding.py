"""Binds a domain state struct to the table that keeps it.

Decisions work on plain `msgspec.Struct`s; the SQLModel table has a column of the same name for
each field. A `Binding` knows how to turn one into the other and which lookups the runtime may
load for a batch.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, get_type_hints

import msgspec
import sqlalchemy as sa
from sqlalchemy.types import TypeDecorator

from common.db.types import UtcDateTime, text_to_utc, utc_to_text

S = TypeVar("S", bound=msgspec.Struct)
Values = tuple[Any, ...]
Codec = Callable[[Any], Any]
# What SQLite keeps in other words, by PostgreSQL's name of the type.
TO_SQLITE: dict[str, Codec] = {"timestamptz": utc_to_text}
FROM_SQLITE: dict[str, Codec] = {"timestamptz": text_to_utc, "boolean": bool}


@dataclass(frozen=True, kw_only=True)
class Index(Generic[S]):
    """A lookup of several rows by columns that never change while a row is in a batch.

    `where` and `sql` state the same condition, once for rows in memory and once for the
    database; rows that stop meeting it during a batch drop out of the lookup at once, and rows of
    the batch that come to meet it join.
    """

    columns: tuple[str, ...]
    where: Callable[[S], bool] | None = None
    sql: str = ""


@dataclass(frozen=True)
class ColumnSpec:
    """One column: its name, PostgreSQL type and the codecs it needs, if any."""

    name: str
    pg_type: str
    is_json: bool
    decode_json: Codec | None


@dataclass(frozen=True)
class Binding(Generic[S]):
    """A struct, its table, its key and its lookups.

    `lock=False` is for rows that a batch only reads (policies, groups): they are not locked.
    """

    kind: type[S]
    table: sa.Table
    key: tuple[str, ...]
    indexes: Mapping[str, Index[S]] = field(default_factory=dict)
    lock: bool = True
    columns: tuple[ColumnSpec, ...] = field(init=False)
    unique: frozenset[int] = field(init=False)
    """Positions of the fields that decide whether a row is in the way of another's insert."""

    def __post_init__(self) -> None:
        """Check that struct and table agree, and prepare the codecs."""
        fields = self.kind.__struct_fields__
        missing = set(self.table.columns.keys()) ^ set(fields)
        if missing:
            raise TypeError(
                f"{self.kind.__name__} and table {self.table.name} differ in {sorted(missing)}"
            )
        hints = get_type_hints(self.kind, include_extras=True)
        specs = tuple(_spec(self.table.columns[name], hints[name]) for name in fields)
        object.__setattr__(self, "columns", specs)
        names = unique_columns(self.table)
        unique = frozenset(n for n, name in enumerate(fields) if name in names)
        object.__setattr__(self, "unique", unique)

    def key_of(self, row: S) -> Values:
        """The primary key values of a row."""
        return tuple(getattr(row, name) for name in self.key)

    def codec(self, dialect: str) -> "RowCodec[S]":
        """The row codec for `postgresql` or `sqlite`."""
        return RowCodec(self, dialect)


class RowCodec(Generic[S]):
    """Turns structs into driver values and back; only columns that need it are touched."""

    def __init__(self, binding: Binding[S], dialect: str) -> None:
        self.names = tuple(spec.name for spec in binding.columns)
        self.kind = binding.kind
        self._to_db: list[tuple[int, Codec]] = []
        self._from_db: list[tuple[int, Codec]] = []
        for position, spec in enumerate(binding.columns):
            self._add(position, spec, dialect)

    def _add(self, position: int, spec: ColumnSpec, dialect: str) -> None:
        if spec.is_json:
            self._to_db.append((position, _json_text))
            if spec.decode_json is not None:
                self._from_db.append((position, spec.decode_json))
        elif dialect == "sqlite":
            if spec.pg_type in TO_SQLITE:
                self._to_db.append((position, TO_SQLITE[spec.pg_type]))
            if spec.pg_type in FROM_SQLITE:
                self._from_db.append((position, FROM_SQLITE[spec.pg_type]))

    def encode(self, row: S) -> Values:
        """Driver values of a row, in field order."""
        values = msgspec.structs.astuple(row)
        if not self._to_db:
            return values
        return tuple(coded(values, self._to_db))

    def decode(self, values: Sequence[Any]) -> S:
        """The struct of a row of driver values in field order."""
        return self.kind(**dict(zip(self.names, coded(values, self._from_db), strict=True)))


def coded(values: Sequence[Any], codecs: Iterable[tuple[int, Codec]]) -> list[Any]:
    """The values with codecs applied at their positions; None stays."""
    changed = list(values)
    for position, codec in codecs:
        if changed[position] is not None:
            changed[position] = codec(changed[position])
    return changed


def unique_columns(table: sa.Table) -> set[str]:
    """The columns of a table's unique keys, and those that their conditions look at.

    The primary key's are left out: a row's never changes.
    """
    found: set[str] = set()
    for constraint in table.constraints:
        if isinstance(constraint, sa.UniqueConstraint):
            found.update(constraint.columns.keys())
    for index in table.indexes:
        if index.unique:
            found.update(index.columns.keys())
            conditions = [options.get("where") for options in index.dialect_options.values()]
            words = {word for one in conditions for word in _WORD.findall(str(one))}
            found.update(words & set(table.columns.keys()))
    return found


_WORD = re.compile(r"\w+")


def _json_text(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _spec(column: "sa.Column[Any]", hint: Any) -> ColumnSpec:
    is_json = isinstance(column.type, sa.JSON)
    decode = _json_decoder(hint) if is_json else None
    return ColumnSpec(column.name, pg_type_of(column.type), is_json, decode)


def _json_decoder(hint: Any) -> Codec:
    decode_text = msgspec.json.Decoder(hint).decode

    def decode(value: Any) -> Any:
        # PostgreSQL's driver hands over JSON decoded, SQLite's as text.
        return decode_text(value) if isinstance(value, str) else msgspec.convert(value, hint)

    return decode


def pg_type_of(type_: Any) -> str:
    """PostgreSQL's name of a column's type, as array parameters are cast to it."""
    kinds: list[tuple[type[Any], str]] = [
        (UtcDateTime, "timestamptz"),
        (sa.JSON, "json"),
        (sa.Boolean, "boolean"),
        (sa.BigInteger, "bigint"),
        (sa.SmallInteger, "smallint"),
        (sa.Integer, "integer"),
        (sa.Float, "double precision"),
        (sa.LargeBinary, "bytea"),
        (sa.String, "text"),
    ]
    if isinstance(type_, TypeDecorator) and not isinstance(type_, UtcDateTime):
        type_ = type_.impl_instance  # SQLModel's AutoString stands for a string
    for kind, name in kinds:
        if isinstance(type_, kind):
            return name
    raise TypeError(f"{type_!r} has no bulk type")
