"""What a handler needs loaded before it runs."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeVar

import msgspec

from common.db.binding import Values

M = TypeVar("M")


class Need(NamedTuple):
    """Rows of one kind: one row by key (`lookup` is None) or all rows of a named lookup."""

    kind: type[msgspec.Struct]
    lookup: str | None
    key: Values


def row(kind: type[msgspec.Struct], *key: Any) -> Need:
    """The row with this primary key, if there is one."""
    return Need(kind, None, key)


def rows(kind: type[msgspec.Struct], lookup: str, *key: Any) -> Need:
    """All rows of a named lookup of the kind's binding."""
    return Need(kind, lookup, key)


Needs = Callable[[M], Iterable[Need]]


def no_needs(_message: Any) -> Iterable[Need]:
    """For handlers that only add rows or emit events."""
    return ()
