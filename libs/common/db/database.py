"""A service's database: its engine, its write transactions, its dialect."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from common.db.bulk import BulkWriter

# A statement that takes longer than this is stuck, not slow: give its locks back.
STATEMENT_TIMEOUT_SECONDS = 30


# A batch looks rows up by hundreds of keys. Left to the statistics, PostgreSQL reads the whole
# table for that while the table is small, or seems to be: a cost that grows with the table until
# the plan happens to change. Through the index it costs the same whatever the table holds.
_BY_KEYS = {
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "random_page_cost": "1.1",
}


class Database:
    """One service's schema on PostgreSQL, or its own file on SQLite.

    On PostgreSQL, writing and reading have connections of their own: batches get plans that suit
    lookups by keys, lists and reports get what the statistics say, and however many people read,
    the consumer finds a connection. On SQLite one writer at a time is a fact of the engine: writes
    queue on a lock here instead of failing with `database is locked`.
    """

    def __init__(self, url: str, service: str, *, pool_size: int = 8) -> None:
        self.url = url
        self.service = service
        self.is_sqlite = url.startswith("sqlite")
        self.dialect = "sqlite" if self.is_sqlite else "postgresql"
        if self.is_sqlite:
            self.engine = self.readers = _sqlite_engine(url)
        else:
            reading = max(2, pool_size * 3 // 8)
            self.engine = _pg_engine(url, service, max(1, pool_size - reading), _BY_KEYS)
            self.readers = _pg_engine(url, service, reading, {})
        self.bulk = BulkWriter(self.dialect)
        self._writer = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that may write: committed on leaving, rolled back on an error."""
        if not self.is_sqlite:
            async with self.engine.begin() as conn:
                yield conn
            return
        async with self._writer, self.engine.begin() as conn:
            # IMMEDIATE: a transaction that reads first could not become a writer later.
            await conn.exec_driver_sql("BEGIN IMMEDIATE")
            yield conn

    @contextlib.asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A connection for reading what has been committed."""
        async with self.readers.connect() as conn:
            yield conn

    def connections(self) -> dict[str, int]:
        """How many connections are in use and idle."""
        found = {engine.pool for engine in (self.engine, self.readers)}
        pools = [pool for pool in found if isinstance(pool, AsyncAdaptedQueuePool)]
        if not pools:
            return {}
        return {
            "used": sum(pool.checkedout() for pool in pools),
            "idle": sum(pool.checkedin() for pool in pools),
        }

    async def ping(self) -> None:
        """Raises when the database does not answer."""
        async with self.readers.connect() as conn:
            await conn.execute(sa.text("SELECT 1"))

    async def close(self) -> None:
        """Close every connection."""
        await self.engine.dispose()
        await self.readers.dispose()


def database_url(configured: str | None, home: Path, service: str) -> str:
    """The SQLAlchemy URL of a service: its SQLite file under `home` unless a server is named."""
    if configured is None:
        return f"sqlite+aiosqlite:///{home / (service + '.db')}"
    scheme, separator, rest = configured.partition("://")
    if not separator or scheme.split("+")[0] not in ("postgresql", "postgres", "sqlite"):
        raise ValueError(f"KEFU_DATABASE_URL: unsupported scheme {scheme!r}; use postgresql://…")
    if scheme.startswith("sqlite"):
        return f"sqlite+aiosqlite://{rest}"
    return f"postgresql+asyncpg://{rest}"


def _pg_engine(url: str, service: str, pool_size: int, planner: Mapping[str, str]) -> AsyncEngine:
    return create_async_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=5,
        pool_pre_ping=False,
        hide_parameters=True,
        connect_args={
            "timeout": 5,
            "command_timeout": STATEMENT_TIMEOUT_SECONDS,
            "server_settings": {
                "search_path": service,
                "application_name": f"kefu-{service}",
                # A generic plan made while a table was empty stays bad when it has grown.
                "plan_cache_mode": "force_custom_plan",
                "jit": "off",
                **planner,
            },
        },
    )


def _sqlite_engine(url: str) -> AsyncEngine:
    engine = create_async_engine(
        url, pool_size=4, max_overflow=0, hide_parameters=True, connect_args={"timeout": 30}
    )

    @sa.event.listens_for(engine.sync_engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # transactions begin where `write` says so
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode = WAL")
        # FULL: what was acknowledged survives power loss too; a batch shares one sync.
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()

    return engine
