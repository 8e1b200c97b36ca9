"""Holds a service's migrations, models, structs and handlers against one another."""

import contextlib
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy.engine import Connection

from common.contracts import Event
from common.contracts.base import registry
from common.db.database import Database, database_url
from common.db.migrate import downgrade, migrate
from common.runtime import ServiceDefinition


@contextlib.asynccontextmanager
async def migrated(
    definition: ServiceDefinition, tmp_path: Path, url: str | None
) -> AsyncIterator[Database]:
    """The database of a service, brought to its newest schema."""
    database = Database(database_url(url, tmp_path, definition.name), definition.name)
    try:
        await migrate(database, definition.migrations)
        yield database
    finally:
        await database.close()


async def drift(database: Database, definition: ServiceDefinition) -> list[str]:
    """In what the database differs from the models; empty when it does not."""

    def compare(connection: Connection) -> list[str]:
        options: dict[str, Any] = {
            "compare_type": _types_differ,
            "include_object": _ours,
            "target_metadata": definition.metadata,
        }
        context = MigrationContext.configure(connection, opts=options)
        return [repr(one) for one in compare_metadata(context, definition.metadata)]

    async with database.read() as conn:
        return await conn.run_sync(compare)


def _types_differ(
    _context: Any, _inspected: Any, _column: Any, inspected: Any, modelled: Any
) -> bool | None:
    """Text of any length is text; a variant is what it is on this dialect."""
    textual = isinstance(inspected, sa.String | sa.Text)
    if textual and isinstance(getattr(modelled, "impl_instance", modelled), sa.String | sa.Text):
        return False
    return None


def _ours(_item: Any, name: str | None, kind: str, _reflected: bool, _compared: Any) -> bool:
    return not (kind == "table" and name == "alembic_version")


async def written(definition: ServiceDefinition, folder: Path, *, from_models: bool) -> list[str]:
    """Every line of the schema and every row of a new SQLite file, whoever made it.

    `from_models` made it at once, else it went through the whole chain.
    """
    database = Database(database_url(None, folder, definition.name), definition.name)
    metadata = definition.metadata if from_models else None
    try:
        await migrate(database, definition.migrations, metadata=metadata)
    finally:
        await database.close()
    with contextlib.closing(sqlite3.connect(folder / f"{definition.name}.db")) as file:
        lines = "\n".join(file.iterdump()).splitlines()
    # Text of any length is text, and the order of two constraints says nothing; a column that was
    # added later stands on the line of the one before it.
    parts = [part.strip(" \t,") for line in lines for part in line.split(", ")]
    return sorted(part.replace(" VARCHAR", " TEXT") for part in parts if part)


async def tables(database: Database) -> set[str]:
    """The tables of the service's schema, without Alembic's own."""
    async with database.read() as conn:
        names = await conn.run_sync(lambda c: sa.inspect(c).get_table_names())
    return set(names) - {"alembic_version"}


async def down_and_up(database: Database, definition: ServiceDefinition) -> set[str]:
    """Go back to nothing and up again; the tables that were left in between."""
    await downgrade(database, definition.migrations, "base")
    left = await tables(database)
    await migrate(database, definition.migrations)
    return left


def unread_topics(definition: ServiceDefinition) -> set[str]:
    """Topics of the events that the service handles and does not subscribe to."""
    events = [kind for kind in definition.handlers if issubclass(kind, Event)]
    return {registry.of(kind).topic for kind in events} - set(definition.topics)


def idle_topics(definition: ServiceDefinition) -> set[str]:
    """Topics that the service subscribes to without handling any event of theirs."""
    events = [kind for kind in definition.handlers if issubclass(kind, Event)]
    return set(definition.topics) - {registry.of(kind).topic for kind in events}


def unlisted_consumers(definition: ServiceDefinition) -> set[str]:
    """Event types that the service handles and whose contract does not name it as a consumer."""
    events = [kind for kind in definition.handlers if issubclass(kind, Event)]
    known = [registry.of(kind) for kind in events]
    return {one.ce_type for one in known if definition.name not in one.consumers}


def unindexed_lookups(definition: ServiceDefinition) -> set[str]:
    """Lookups whose columns no primary key, unique constraint or index begins with."""
    return {
        f"{binding.kind.__name__}.{name}"
        for binding in definition.bindings
        for name, index in binding.indexes.items()
        if not _served(binding.table, index.columns)
    }


def _served(table: sa.Table, columns: tuple[str, ...]) -> bool:
    unique = [c for c in table.constraints if isinstance(c, sa.UniqueConstraint)]
    candidates = [table.primary_key.columns, *(c.columns for c in unique)]
    candidates += [index.columns for index in table.indexes]
    first = [{column.name for column in list(found)[: len(columns)]} for found in candidates]
    return set(columns) in first
