"""Counts what cannot vary with the machine: statements, round trips, bytes of write-ahead log."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import urlsplit

import sqlalchemy as sa

from common.db.database import Database

CHUNK = 64 * 1024


class RoundTrips:
    """How often a client spoke and then had to wait for the server."""

    def __init__(self) -> None:
        self.count = 0


@contextlib.asynccontextmanager
async def counted_link(url: str) -> AsyncIterator[tuple[str, RoundTrips]]:
    """The URL of a relay in front of a database, and the round trips of all who use it.

    PostgreSQL's protocol is ask and answer: whatever the client sends until the server says
    something again is one round trip, in however many packets.
    """
    parts = urlsplit(url)
    trips = RoundTrips()
    open_links: set[asyncio.Task[Any]] = set()

    async def link(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        open_links.add(task)
        far_reader, far_writer = await asyncio.open_connection(parts.hostname, parts.port)
        waiting = [False]
        try:
            await asyncio.gather(
                _carry(reader, far_writer, trips, waiting, asks=True),
                _carry(far_reader, writer, trips, waiting, asks=False),
            )
        finally:
            open_links.discard(task)

    server = await asyncio.start_server(link, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield parts._replace(netloc=f"{parts.username}@127.0.0.1:{port}").geturl(), trips
    finally:
        server.close()
        for task in open_links:
            task.cancel()
        await asyncio.gather(*open_links, return_exceptions=True)


async def _carry(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    trips: RoundTrips,
    waiting: list[bool],
    *,
    asks: bool,
) -> None:
    with contextlib.suppress(ConnectionError):
        while part := await reader.read(CHUNK):
            if asks and not waiting[0]:
                trips.count += 1
            waiting[0] = asks
            writer.write(part)
            await writer.drain()
    writer.close()


class Statements:
    """How many statements a database was given; BEGIN and COMMIT are the driver's own."""

    def __init__(self) -> None:
        self.count = 0

    def note(self, *_: Any) -> None:
        """One more."""
        self.count += 1


@contextlib.contextmanager
def counted_statements(database: Database) -> Iterator[Statements]:
    """Statements from here on, on all connections."""
    found = Statements()
    engines = {database.engine.sync_engine, database.readers.sync_engine}
    database.watchers.append(found.note)
    for engine in engines:
        sa.event.listen(engine, "before_cursor_execute", found.note)
    try:
        yield found
    finally:
        database.watchers.remove(found.note)
        for engine in engines:
            sa.event.remove(engine, "before_cursor_execute", found.note)
