"""Counts what cannot vary with the machine: statements, round trips, bytes of write-ahead log."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import sqlalchemy as sa

from common.db.database import Database

CHUNK = 64 * 1024
HEADER = 5
"""Bytes of a message's kind and length; the length counts itself."""


class RoundTrips:
    """How often a client had to wait until the server was ready for its next request."""

    def __init__(self) -> None:
        self.count = 0


class Answers:
    """What a server says on one connection, read as far as to know when a request has ended.

    Not by who speaks when: a COPY is sent on without waiting for the server's word that it may
    begin, which then comes between two packets or before them, as the machine has it.
    """

    def __init__(self) -> None:
        self._unread = b""
        self._begun = False

    def ended(self, part: bytes) -> int:
        """How many requests end in this part of the stream (ReadyForQuery)."""
        if not self._begun:
            self._begun = True
            if part[:1] in (b"N", b"S"):  # whether it speaks TLS: the one byte that is no message
                part = part[1:]
        ended = 0
        self._unread += part
        while len(self._unread) >= HEADER:
            end = 1 + int.from_bytes(self._unread[1:HEADER], "big")
            if len(self._unread) < end:
                break
            ended += self._unread[:1] == b"Z"
            self._unread = self._unread[end:]
        return ended


@contextlib.asynccontextmanager
async def counted_link(url: str) -> AsyncIterator[tuple[str, RoundTrips]]:
    """The URL of a relay in front of a database, and the round trips of all who use it."""
    parts = urlsplit(url)
    trips = RoundTrips()
    open_links: set[asyncio.Task[Any]] = set()

    async def link(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        open_links.add(task)
        far_reader, far_writer = await asyncio.open_connection(parts.hostname, parts.port)
        answers = Answers()

        def count(part: bytes) -> None:
            trips.count += answers.ended(part)

        try:
            await asyncio.gather(
                _carry(reader, far_writer, lambda _part: None), _carry(far_reader, writer, count)
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
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, look_at: Callable[[bytes], None]
) -> None:
    with contextlib.suppress(ConnectionError):
        while part := await reader.read(CHUNK):
            look_at(part)
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
