"""The journal: append-only JSON lines, synced to disk in groups.

Whoever must not go on before a record is safe awaits `keep`; everything else is noted and
reaches the disk with the next group. A line that was cut off by a kill is dropped on opening.
"""

import asyncio
import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import msgspec

from kefu.replay.records import AnyRecord, decoder, encoder


class JournalError(Exception):
    """A journal that cannot be used for this replay; says why and what to do."""


class Journal:
    """Records in memory, and on disk when there is a path.

    Without a path nothing outlives the process, and `keep` returns at once.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self.records: list[AnyRecord] = []
        self._file: IO[bytes] | None = None
        self._unsynced: list[bytes] = []
        self._group = asyncio.Event()
        self._waiting: list[asyncio.Future[None]] = []
        self._writer: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Reads what an earlier process left and gets ready to append."""
        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self.path.open("a+b")
        _lock(self._file, self.path)
        self._file.seek(0)
        content = self._file.read()
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):
            self._file.truncate(len(whole))
        self.records.extend(_parse(whole, self.path))
        self._writer = asyncio.create_task(self._write())

    def note(self, record: AnyRecord) -> None:
        """Takes a record; it reaches the disk with the next group."""
        self.records.append(record)
        if self._file is not None:
            self._unsynced.append(encoder.encode(record) + b"\n")
            self._group.set()

    async def keep(self, record: AnyRecord) -> None:
        """Takes a record and returns when it, and all before it, is on disk."""
        self.note(record)
        if self._file is None:
            return
        written = asyncio.get_running_loop().create_future()
        self._waiting.append(written)
        await written

    async def close(self) -> None:
        """Writes what is left."""
        if self._writer is not None:
            self._writer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._writer
        if self._file is not None:
            self._sync(b"".join(self._unsynced))
            self._file.close()
            self._file = None

    async def _write(self) -> None:
        while True:
            await self._group.wait()
            self._group.clear()
            group, self._unsynced = b"".join(self._unsynced), []
            waiting, self._waiting = self._waiting, []
            write = asyncio.create_task(asyncio.to_thread(self._sync, group))
            try:
                # A close in the middle must not cut a group in two.
                await asyncio.shield(write)
            except asyncio.CancelledError:
                await write
                raise
            for written in waiting:
                if not written.done():
                    written.set_result(None)

    def _sync(self, group: bytes) -> None:
        if self._file is not None and group:
            self._file.write(group)
            self._file.flush()
            os.fsync(self._file.fileno())


def _lock(file: IO[bytes], path: Path) -> None:
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise JournalError(f"{path}: another replay is writing this journal") from None


def _parse(content: bytes, path: Path) -> Iterator[AnyRecord]:
    for number, line in enumerate(content.splitlines(), start=1):
        try:
            yield decoder.decode(line)
        except msgspec.DecodeError as error:
            raise JournalError(f"{path}, line {number}: not a replay journal ({error})") from None
