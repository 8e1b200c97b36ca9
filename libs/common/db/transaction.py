"""A write transaction as the hot path sees it: one statement for many rows, on the driver itself.

Through SQLAlchemy each statement costs some 120 µs of processor time more, and a small batch has a
dozen of them. So batches and the relay talk to asyncpg and aiosqlite; everything else (lists,
reports, rare writes) uses `Database.read` and `Database.write`. Errors are the driver's own;
`faults.py` knows both kinds.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import aiosqlite
import asyncpg
import msgspec

from common.db.binding import Binding, Values
from common.db.bulk import Insert, StatementBook, Statements

FEW_ROWS = 50

Note = Callable[[str], None]
"""Is told each statement that a transaction sends."""
Question = tuple[str, Sequence[Values]]
"""A query and its input."""
NOTHING: Question = ("", ())
Change = tuple[Insert | str, Sequence[Values]]
"""An insert or a statement, and the rows it is for, their values in its order."""


class Transaction(Protocol):
    """An open transaction on either database."""

    dialect: str

    def statements(self, binding: Binding[Any]) -> Statements:
        """The bulk statements of a binding on this database."""
        ...

    async def execute(self, sql: str, rows: Sequence[Values]) -> None:
        """One statement for all rows: columns as arrays on PostgreSQL, `executemany` on SQLite."""
        ...

    async def query(self, sql: str, rows: Sequence[Values]) -> Sequence[Sequence[Any]]:
        """One statement that answers rows, for all of `rows` as its input; [] without input."""
        ...

    async def query_all(self, *questions: Question) -> list[Sequence[Sequence[Any]]]:
        """The answers of several queries, of which none depends on another."""
        ...

    async def write(self, *changes: Change, last: Question = NOTHING) -> Sequence[Sequence[Any]]:
        """Change rows in many ways of which none needs to see what another did.

        No two of them may touch the same row, or a unique key that one frees and another takes.
        What the `last` change answers is handed back.
        """
        ...

    async def fetch(self, sql: str, *parameters: Any) -> Sequence[Sequence[Any]]:
        """One statement with plain parameters."""
        ...


class PostgresTransaction:
    """On a connection of asyncpg's."""

    dialect = "postgresql"

    def __init__(
        self, connection: "asyncpg.Connection[Any]", book: StatementBook, note: Note
    ) -> None:
        self._connection = connection
        self._book = book
        self._note = note

    def statements(self, binding: Binding[Any]) -> Statements:
        """See `Transaction`."""
        return self._book.of(binding)

    async def execute(self, sql: str, rows: Sequence[Values]) -> None:
        """See `Transaction`."""
        if rows:
            await self.fetch(sql, *_columns_as_arrays(rows))

    async def query(self, sql: str, rows: Sequence[Values]) -> Sequence[Sequence[Any]]:
        """See `Transaction`."""
        return await self.fetch(sql, *_columns_as_arrays(rows)) if rows else []

    async def query_all(self, *questions: Question) -> list[Sequence[Sequence[Any]]]:
        """See `Transaction`. One statement for all: that is one wait for the server, not many."""
        answers: list[Sequence[Sequence[Any]]] = [[] for _ in questions]
        asked = [(n, sql, rows) for n, (sql, rows) in enumerate(questions) if rows]
        if len(asked) == 1:
            ((n, sql, rows),) = asked
            answers[n] = await self.query(sql, rows)
        elif asked:
            text = self._book.questions(tuple(sql for _, sql, _ in asked))
            found: list[list[Any]] = [[] for _ in asked]
            for n, row in await self.fetch(text, *_all_columns(rows for _, _, rows in asked)):
                found[n].append(row)
            for (n, _, _), answer in zip(asked, found, strict=True):
                answers[n] = answer
        return answers

    async def write(self, *changes: Change, last: Question = NOTHING) -> Sequence[Sequence[Any]]:
        """See `Transaction`.

        A few rows go in one statement for all changes: that is one wait for the server, not one for
        each. Many rows are copied in: that costs half the time of the quickest INSERT, on
        both sides.
        """
        given = [(change, rows) for change, rows in (*changes, last) if rows]
        if not given:
            return []
        if sum(len(rows) for _, rows in given) <= FEW_ROWS:
            texts = (one.postgres if isinstance(one, Insert) else one for one, _ in given)
            text = self._book.changes(tuple(texts))
            return await self.fetch(text, *_all_columns(rows for _, rows in given))
        for change, rows in changes:
            if isinstance(change, Insert):
                await self._copy(change, rows)
            else:
                await self.execute(change, rows)
        return await self.query(*last)

    async def _copy(self, into: Insert, rows: Sequence[Values]) -> None:
        if rows:
            self._note(f"COPY {into.table}")
            await self._connection.copy_records_to_table(
                into.table, records=rows, columns=into.columns
            )

    async def fetch(self, sql: str, *parameters: Any) -> Sequence[Sequence[Any]]:
        """See `Transaction`."""
        self._note(sql)
        found: Sequence[Sequence[Any]] = await self._connection.fetch(sql, *parameters)
        return found


class SqliteTransaction:
    """On a connection of aiosqlite's; each call is one hop to the connection's thread."""

    dialect = "sqlite"

    def __init__(self, connection: aiosqlite.Connection, book: StatementBook, note: Note) -> None:
        self._connection = connection
        self._book = book
        self._note = note

    def statements(self, binding: Binding[Any]) -> Statements:
        """See `Transaction`."""
        return self._book.of(binding)

    async def execute(self, sql: str, rows: Sequence[Values]) -> None:
        """See `Transaction`."""
        if rows:
            self._note(sql)
            await self._connection.executemany(sql, rows)

    async def query(self, sql: str, rows: Sequence[Values]) -> Sequence[Sequence[Any]]:
        """See `Transaction`."""
        return await self.fetch(sql, msgspec.json.encode(rows).decode()) if rows else []

    async def query_all(self, *questions: Question) -> list[Sequence[Sequence[Any]]]:
        """See `Transaction`."""
        return [await self.query(sql, rows) for sql, rows in questions]

    async def write(self, *changes: Change, last: Question = NOTHING) -> Sequence[Sequence[Any]]:
        """See `Transaction`."""
        for change, rows in changes:
            await self.execute(change.sqlite if isinstance(change, Insert) else change, rows)
        return await self.query(*last)

    async def fetch(self, sql: str, *parameters: Any) -> Sequence[Sequence[Any]]:
        """See `Transaction`."""
        self._note(sql)
        return list(await self._connection.execute_fetchall(sql, parameters))


def _all_columns(inputs: Iterable[Sequence[Values]]) -> list[list[Any]]:
    return [column for rows in inputs for column in _columns_as_arrays(rows)]


def _columns_as_arrays(rows: Sequence[Values]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]
