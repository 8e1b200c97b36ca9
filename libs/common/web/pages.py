"""Pages by cursor: stable while rows come and go, and as quick on the last page as on the first.

    @router.get("/conversations")
    async def conversations(caller: Staff, page: PageQuery) -> Page[ConversationView]:
        after = page.after(tuple[Moment, str])
        rows = await store.conversations(caller.shop_id, after, page.limit + 1)
        return page_of([view(row) for row in rows], page.limit, lambda v: (v.opened_at, v.id))

A cursor is the last row's sort key, packed. It is not signed: it names a place in the caller's
own list and gives access to nothing.
"""

import base64
import binascii
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Any, Generic, TypeVar

import msgspec
from fastapi import Depends, Query
from pydantic import BaseModel, Field

from common.errors import InvalidCursor

MAX_LIMIT = 200
DEFAULT_LIMIT = 50
MAX_CURSOR_CHARACTERS = 600

Moment = Annotated[datetime, msgspec.Meta(tz=True)]
"""A time in a cursor."""
Number = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
"""A whole number in a cursor."""

K = TypeVar("K")
T = TypeVar("T")


class Page(BaseModel, Generic[T]):
    """One page of a list."""

    items: list[T]
    next_cursor: str | None = Field(
        description="Pass as `cursor` for the next page; null on the last."
    )


class PageRequest:
    """What a caller asked for: how many rows, after which."""

    __slots__ = ("_cursor", "limit")

    def __init__(self, limit: int = DEFAULT_LIMIT, cursor: str | None = None) -> None:
        self.limit = limit
        self._cursor = cursor

    def after(self, key: type[K]) -> K | None:
        """The sort key to go on behind, None for the first page; `InvalidCursor` for garbage.

        `key` is the type of the sort key, such as `tuple[Moment, str]`.
        """
        return None if self._cursor is None else unpack_cursor(self._cursor, key)


def pack_cursor(key: Sequence[Any]) -> str:
    """The cursor for a sort key of strings, whole numbers and aware times."""
    return base64.urlsafe_b64encode(msgspec.json.encode(key)).rstrip(b"=").decode()


def unpack_cursor(cursor: str, key: type[K]) -> K:
    """The sort key in a cursor; `InvalidCursor` unless it is one of type `key`."""
    try:
        packed = cursor.encode("ascii")
        plain = base64.b64decode(packed + b"=" * (-len(packed) % 4), b"-_", validate=True)
        found: K = msgspec.json.decode(plain, type=key)
    except (ValueError, binascii.Error, msgspec.MsgspecError, RecursionError) as error:
        raise InvalidCursor("The cursor is not one of this list.") from error
    if b"\\u0000" in plain or b"\x00" in plain:
        raise InvalidCursor("The cursor is not one of this list.")
    return found


def page_of(rows: Sequence[T], limit: int, key: Callable[[T], Sequence[Any]]) -> Page[T]:
    """The page made of rows that were read with `limit + 1`."""
    items = list(rows[:limit])
    more = len(rows) > limit
    return Page(items=items, next_cursor=pack_cursor(key(items[-1])) if more and items else None)


async def _page_request(
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT, description="Most items on the page.")] = (
        DEFAULT_LIMIT
    ),
    cursor: Annotated[
        str | None,
        Query(
            max_length=MAX_CURSOR_CHARACTERS,
            description="`next_cursor` of the page before; leave out for the first page.",
        ),
    ] = None,
) -> PageRequest:
    return PageRequest(limit, cursor)


PageQuery = Annotated[PageRequest, Depends(_page_request)]
"""The `limit` and `cursor` of a list."""
