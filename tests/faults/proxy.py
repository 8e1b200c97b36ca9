"""A TCP proxy on loopback that can cut, refuse, slow and swallow what goes through it."""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Literal, Self

from tests.parts.node import free_port

Mode = Literal["open", "refuse", "stall"]
CHUNK = 64 * 1024
START_SECONDS = 10.0


class Proxy:
    """Stands between clients and one server. Runs in a thread of its own from `start` to `close`.

    `open` lets everything through, `refuse` takes no connection and breaks those there are (the
    server is gone), `stall` keeps connections but moves nothing (half-open). `delay` seconds are
    added to each piece.
    """

    def __init__(self, target_port: int = 0, port: int = 0) -> None:
        self.port = port or free_port()
        self.target_port = target_port
        self.delay = 0.0
        self.mode: Mode = "open"
        self.taken = 0
        self._loop = asyncio.new_event_loop()
        self._links: set[asyncio.StreamWriter] = set()
        self._pumping = asyncio.Event()
        self._pumping.set()
        self._started = threading.Event()
        self._ending = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name=f"proxy:{self.port}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._started.wait(START_SECONDS):
            raise TimeoutError(f"the proxy on {self.port} did not start")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._tell(self._ending.set)
        self._thread.join(START_SECONDS)

    def set_mode(self, mode: Mode) -> None:
        """What happens to traffic from now on."""
        self.mode = mode
        self._tell(self._pumping.set if mode == "open" else self._pumping.clear)
        if mode == "refuse":
            self.cut()

    def cut(self) -> None:
        """Break every connection at once, without a farewell."""
        self._tell(self._cut)

    def _tell(self, change: Callable[[], None]) -> None:
        self._loop.call_soon_threadsafe(change)

    def _cut(self) -> None:
        for writer in list(self._links):
            writer.transport.abort()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve_until_closed())

    async def _serve_until_closed(self) -> None:
        server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self._started.set()
        await self._ending.wait()
        server.close()
        self._pumping.set()
        self._cut()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.taken += 1
        if self.mode == "refuse":
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target_port)
        except OSError:
            writer.transport.abort()
            return
        self._links |= {writer, far_writer}
        try:
            await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))
        finally:
            self._links -= {writer, far_writer}
            for end in (writer, far_writer):
                end.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Moves bytes until one side ends; then ends the other."""
        with contextlib.suppress(OSError):
            while piece := await reader.read(CHUNK):
                if self.delay:
                    await asyncio.sleep(self.delay)
                await self._pumping.wait()
                writer.write(piece)
                await writer.drain()
        with contextlib.suppress(OSError):
            writer.close()
