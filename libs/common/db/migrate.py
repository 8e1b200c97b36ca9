"""Brings a service's schema to the state that its code expects (Alembic, one chain per service)."""

import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command, context
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.engine import Connection

from common.db.database import Database

LOCK_CLASS = 0x6B6D6967


def alembic_config(folder: Path, attributes: Mapping[str, Any] | None = None) -> Config:
    """Alembic's configuration for the migrations in `folder`; there is no ini file."""
    config = Config()
    config.set_main_option("script_location", str(folder))
    config.set_main_option("file_template", "%%(rev)s_%%(slug)s")
    config.attributes.update(attributes or {})
    return config


async def migrate(database: Database, folder: Path, revision: str = "head") -> None:
    """Upgrade to `revision`. Several replicas may start at once: one migrates, the others wait."""
    async with database.write() as conn:
        if not database.is_sqlite:
            key = zlib.crc32(database.service.encode()) & 0x7FFFFFFF
            await conn.exec_driver_sql("SELECT pg_advisory_xact_lock($1, $2)", (LOCK_CLASS, key))
            await conn.exec_driver_sql(f'CREATE SCHEMA IF NOT EXISTS "{database.service}"')
        await conn.run_sync(_upgrade, folder, revision)


def _upgrade(connection: Connection, folder: Path, revision: str) -> None:
    command.upgrade(alembic_config(folder, {"connection": connection}), revision)


async def downgrade(database: Database, folder: Path, revision: str) -> None:
    """Go back to `revision`."""

    def down(connection: Connection) -> None:
        command.downgrade(alembic_config(folder, {"connection": connection}), revision)

    async with database.write() as conn:
        await conn.run_sync(down)


async def pending_revision(database: Database, folder: Path) -> str | None:
    """The revision that the code wants, when the database is not there yet; else None."""
    wanted = ScriptDirectory.from_config(alembic_config(folder)).get_current_head()

    def current(connection: Connection) -> str | None:
        return MigrationContext.configure(connection).get_current_revision()

    async with database.read() as conn:
        return wanted if await conn.run_sync(current) != wanted else None


def run_environment(metadata: sa.MetaData) -> None:
    """The body of every service's `migrations/env.py`."""
    connection = context.config.attributes["connection"]
    context.configure(
        connection=connection,
        target_metadata=metadata,
        render_as_batch=connection.dialect.name == "sqlite",
        compare_type=True,
    )
    context.run_migrations()
