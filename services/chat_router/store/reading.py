"""From result rows to state structs."""

from collections.abc import Iterable
from typing import TypeVar

import msgspec
import sqlalchemy as sa

S = TypeVar("S", bound=msgspec.Struct)


def one_of(kind: type[S], row: "sa.Row[tuple[object, ...]] | None") -> S | None:
    """The struct of a row with a column for each field, None for no row."""
    return None if row is None else msgspec.convert(dict(row._mapping), kind)


def all_of(kind: type[S], rows: "Iterable[sa.Row[tuple[object, ...]]]") -> list[S]:
    """The structs of rows with a column for each field."""
    return [msgspec.convert(dict(row._mapping), kind) for row in rows]
