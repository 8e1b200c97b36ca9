"""Brings a service's schema to the state that its code expects (Alembic, one chain per service).

Alembic is imported by the functions that use it: with its templates and every dialect it is a
tenth of a start, and a schema that is up to date needs none of it.
"""

import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from common.db.database import Database

if TYPE_CHECKING:
    from alembic.config import Config

LOCK_CLASS = 0x6B6D6967
HEAD = "head"

# As Alembic makes it.
_REVISIONS = sa.Table(
    "alembic_version",
    sa.MetaData(),
    sa.Column("version_num", sa.String(32), nullable=False),
    sa.PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)


def alembic_config(folder: Path, attributes: Mapping[str, Any] | None = None) -> "Config":
    """Alembic's configuration for the migrations in `folder`; there is no ini file."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(folder))
    config.set_main_option("file_template", "%%(rev)s_%%(slug)s")
    config.attributes.update(attributes or {})
    return config


async def migrate(
    database: Database, folder: Path, revision: str = HEAD, *, metadata: sa.MetaData | None = None
) -> None:
    """Upgrade to `revision`. Several replicas may start at once: one migrates, the others wait.

    Given `metadata`, the tables of an empty SQLite file are made from it at once, instead of by
    the whole chain: a new folder on a laptop is spared the history of those before it.
    """
    async with database.write() as conn:
        if not database.is_sqlite:
            key = zlib.crc32(database.service.encode()) & 0x7FFFFFFF
            await conn.exec_driver_sql("SELECT pg_advisory_xact_lock($1, $2)", (LOCK_CLASS, key))
            await conn.exec_driver_sql(f'CREATE SCHEMA IF NOT EXISTS "{database.service}"')
        await conn.run_sync(_upgrade, folder, revision, metadata)


def _upgrade(
    connection: Connection, folder: Path, revision: str, metadata: sa.MetaData | None
) -> None:
    if revision == HEAD and _current_revision(connection) == newest_revision(folder):
        return
    if metadata is not None and _is_empty_file(connection):
        metadata.create_all(connection, checkfirst=False)
        _REVISIONS.create(connection)
        connection.execute(_REVISIONS.insert().values(version_num=newest_revision(folder)))
        return

    from alembic import command

    command.upgrade(alembic_config(folder, {"connection": connection}), revision)


async def downgrade(database: Database, folder: Path, revision: str) -> None:
    """Go back to `revision`."""

    from alembic import command

    def down(connection: Connection) -> None:
        command.downgrade(alembic_config(folder, {"connection": connection}), revision)

    async with database.write() as conn:
        await conn.run_sync(down)


async def pending_revision(database: Database, folder: Path) -> str | None:
    """The revision that the code wants, when the database is not there yet; else None."""
    wanted = newest_revision(folder)
    async with database.read() as conn:
        return wanted if await conn.run_sync(_current_revision) != wanted else None


def newest_revision(folder: Path) -> str:
    """The last of the chain in `folder`: migrations are numbered, `0001_…` onwards."""
    return max(file.name.split("_")[0] for file in (folder / "versions").glob("[0-9]*_*.py"))


def _current_revision(connection: Connection) -> str | None:
    if not sa.inspect(connection).has_table(_REVISIONS.name):
        return None
    return connection.execute(sa.select(_REVISIONS.c.version_num)).scalar()


def _is_empty_file(connection: Connection) -> bool:
    return connection.dialect.name == "sqlite" and not sa.inspect(connection).get_table_names()


def run_environment(metadata: sa.MetaData) -> None:
    """The body of every service's `migrations/env.py`."""
    from alembic import context

    connection = context.config.attributes["connection"]
    context.configure(
        connection=connection,
        target_metadata=metadata,
        render_as_batch=connection.dialect.name == "sqlite",
        compare_type=True,
    )
    context.run_migrations()
