"""A service's database: its engine, its write transactions, its dialect."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import sqlalchemy as sa
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from common.db.bulk import StatementBook
from common.db.faults import is_outage
from common.db.transaction import (
    Note,
    PostgresTransaction,
    SqliteTransaction,
    Transaction,
)

CONNECT_TIMEOUT_SECONDS = 5
POOL_TIMEOUT_SECONDS = 5
CLOSE_TIMEOUT_SECONDS = 5
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

    On PostgreSQL there are three sets of connections: batches (`transaction`) get plans that suit
    lookups by keys; lists and reports (`read`) get what the statistics say, and so do rare writes
    (`write`). However many people read, the consumer finds a connection. On SQLite one writer at
    a time is a fact of the engine: writes queue on a lock here instead of failing with `database
    is locked`.
    """

    def __init__(self, url: str, service: str, *, pool_size: int = 8) -> None:
        self.url = url
        self.service = service
        self.is_sqlite = url.startswith("sqlite")
        self.dialect = "sqlite" if self.is_sqlite else "postgresql"
        self.watchers: list[Note] = []
        """Told each statement of every `transaction`: for tests and benchmarks that count."""
        self._book = StatementBook(self.dialect)
        self._writer = asyncio.Lock()
        self._opening = asyncio.Lock()
        self._batches: asyncpg.Pool[Any] | None = None
        self._batch_connections = max(1, pool_size // 2)
        if self.is_sqlite:
            self.engine = self.readers = _sqlite_engine(url)
        else:
            writing = max(1, pool_size // 5)
            reading = max(2, pool_size - self._batch_connections - writing)
            self.engine = _pg_engine(url, service, writing)
            self.readers = _pg_engine(url, service, reading)

    @property
    def dsn(self) -> str:
        """The server's URL as asyncpg takes it, password included."""
        plain = make_url(self.url).set(drivername="postgresql")
        return plain.render_as_string(hide_password=False)

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """A transaction of the hot path: committed on leaving, rolled back on an error."""
        if self.is_sqlite:
            async with self.write() as conn:
                yield await self._on_sqlite(conn)
            return
        async with self._batch_connection() as connection, _begun(connection):
            yield PostgresTransaction(connection, self._book, self._note)

    @contextlib.asynccontextmanager
    async def quick_read(self) -> AsyncIterator[Transaction]:
        """A connection of the hot path for a statement that only reads what is committed."""
        if self.is_sqlite:
            async with self.read() as conn:
                yield await self._on_sqlite(conn)
            return
        async with self._batch_connection() as connection:
            yield PostgresTransaction(connection, self._book, self._note)

    @contextlib.asynccontextmanager
    async def quick_write(self) -> AsyncIterator[Transaction]:
        """A connection of the hot path for one statement that is a transaction by itself.

        On PostgreSQL that is one round trip where `transaction` takes three.
        """
        async with self.transaction() if self.is_sqlite else self.quick_read() as tx:
            yield tx

    async def _on_sqlite(self, conn: AsyncConnection) -> Transaction:
        driver = (await conn.get_raw_connection()).driver_connection
        assert driver is not None
        return SqliteTransaction(driver, self._book, self._note)

    @contextlib.asynccontextmanager
    async def _batch_connection(self) -> AsyncIterator[Any]:
        pool = self._batches or await self._open_batches()
        async with pool.acquire(timeout=POOL_TIMEOUT_SECONDS) as connection:
            try:
                yield connection
            except Exception as error:
                if is_outage(error):
                    # Back in the pool it would first wait for an answer to what timed out; and
                    # those that idle there have lost the server as well.
                    connection.terminate()
                    await pool.expire_connections()
                raise

    async def _open_batches(self) -> "asyncpg.Pool[Any]":
        async with self._opening:
            if self._batches is None:
                # It has no connections yet, and makes them as they are needed.
                self._batches = await _pg_pool(self.dsn, self.service, self._batch_connections)
        return self._batches

    def _note(self, sql: str) -> None:
        for watcher in self.watchers:
            watcher(sql)

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

    @contextlib.asynccontextmanager
    async def snapshot(self) -> AsyncIterator[AsyncConnection]:
        """A connection for several questions about one and the same moment."""
        async with self.readers.connect() as conn:
            if self.is_sqlite:
                await conn.exec_driver_sql("BEGIN")
            else:
                await conn.execution_options(isolation_level="REPEATABLE READ")
            yield conn

    def connections(self) -> dict[str, int]:
        """How many connections are in use and idle."""
        found = {engine.pool for engine in (self.engine, self.readers)}
        pools = [pool for pool in found if isinstance(pool, AsyncAdaptedQueuePool)]
        if not pools:
            return {}
        open_, idle = (
            (self._batches.get_size(), self._batches.get_idle_size()) if self._batches else (0, 0)
        )
        return {
            "used": sum(pool.checkedout() for pool in pools) + open_ - idle,
            "idle": sum(pool.checkedin() for pool in pools) + idle,
        }

    async def ping(self) -> None:
        """Raises when the database does not answer."""
        async with self.readers.connect() as conn:
            await conn.execute(sa.text("SELECT 1"))

    async def close(self) -> None:
        """Close every connection."""
        batches, self._batches = self._batches, None
        if batches is not None:
            try:
                async with asyncio.timeout(CLOSE_TIMEOUT_SECONDS):
                    await batches.close()
            except TimeoutError:
                batches.terminate()
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


def _pg_pool(dsn: str, service: str, size: int) -> "asyncpg.Pool[Any]":
    return asyncpg.create_pool(
        dsn,
        min_size=0,
        max_size=size,
        max_inactive_connection_lifetime=0,
        timeout=CONNECT_TIMEOUT_SECONDS,
        command_timeout=STATEMENT_TIMEOUT_SECONDS,
        # A statement is prepared once in a connection's life; an update has one per set of columns.
        statement_cache_size=1000,
        max_cached_statement_lifetime=0,
        # Nothing is set, listened to or locked beyond a transaction: there is nothing to reset.
        reset=_as_it_is,
        server_settings=_session(service) | _BY_KEYS,
    )


@contextlib.asynccontextmanager
async def _begun(connection: Any) -> AsyncIterator[None]:
    """A transaction that is not rolled back on a server which does not answer: that would take
    another time-out, and the server ends it with the connection."""
    transaction = connection.transaction()
    await transaction.start()
    try:
        yield
    except BaseException as error:
        if not is_outage(error):
            await transaction.rollback()
        raise
    await transaction.commit()


async def _as_it_is(_connection: Any) -> None:
    """A connection goes back to the pool without a word to the server."""


def _session(service: str) -> dict[str, str]:
    return {
        "search_path": service,
        "application_name": f"kefu-{service}",
        # A generic plan made while a table was empty stays bad when it has grown: to an empty
        # table every index that begins with the shop looks as good as the right one.
        "plan_cache_mode": "force_custom_plan",
        "jit": "off",
    }


def _pg_engine(url: str, service: str, pool_size: int) -> AsyncEngine:
    return create_async_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=POOL_TIMEOUT_SECONDS,
        pool_pre_ping=False,
        hide_parameters=True,
        connect_args={
            "timeout": CONNECT_TIMEOUT_SECONDS,
            "command_timeout": STATEMENT_TIMEOUT_SECONDS,
            "server_settings": _session(service),
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
