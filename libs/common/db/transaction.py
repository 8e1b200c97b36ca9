"""A write transaction as the hot path sees it: one statement for many rows, on the driver itself.

Through SQLAlchemy each statement costs some 120 µs of processor time more, and a small batch has a
dozen of them. So batches and the relay talk to asyncpg and aiosqlite; everything else (lists,
reports, rare writes) uses `Database.read` and `Database.write`. Errors are the driver's own;
`faults.py` knows both kinds.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import aiosqlite
import asyncpg
import msgspec

from common.db.binding import Binding, Values
from common.db.bulk import Insert, StatementBook, Statements

FEW_ROWS = 50

Note = Callable[[str], None]
"""Is told each statement that a transaction sends."""


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

    async def insert(self, *inserts: tuple[Insert, Sequence[Values]]) -> None:
        """Insert rows into tables that have nothing to do with one another.

        Values stand in the order of the insert's columns.
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

    async def insert(self, *inserts: tuple[Insert, Sequence[Values]]) -> None:
        """See `Transaction`.

        Many rows are copied in: that costs half the time of the quickest INSERT, on both sides.
        A few go in one statement for all tables: that is one wait for the server, not two a table.
        """
        given = [(into, rows) for into, rows in inserts if rows]
        if 0 < sum(len(rows) for _, rows in given) <= FEW_ROWS:
            await self._insert_few(given)
            return
        for into, rows in given:
            self._note(f"COPY {into.table}")
            await self._connection.copy_records_to_table(
                into.table, records=rows, columns=into.columns
            )

    async def _insert_few(self, given: Sequence[tuple[Insert, Sequence[Values]]]) -> None:
        statements: list[str] = []
        parameters: list[list[Any]] = []
        for into, rows in given:
            statements.append(into.postgres(len(parameters) + 1))
            parameters.extend(_columns_as_arrays(rows))
        *others, last = statements
        beside = ", ".join(f"insert_{n} AS ({sql})" for n, sql in enumerate(others))
        await self.fetch(f"WITH {beside} {last}" if others else last, *parameters)

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

    async def insert(self, *inserts: tuple[Insert, Sequence[Values]]) -> None:
        """See `Transaction`."""
        for into, rows in inserts:
            await self.execute(into.sqlite, rows)

    async def fetch(self, sql: str, *parameters: Any) -> Sequence[Sequence[Any]]:
        """See `Transaction`."""
        self._note(sql)
        return list(await self._connection.execute_fetchall(sql, parameters))


def _columns_as_arrays(rows: Sequence[Values]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]
