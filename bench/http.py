"""A client that costs little: HTTP/1.1 over a few kept connections, for load at a steady rate.

On two cores a comfortable client would take as much time as what it measures.
"""

import asyncio
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import msgspec


class Lines:
    """Some connections to one server; each request takes a free one."""

    def __init__(self, base_url: str, count: int) -> None:
        parts = urlsplit(base_url)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        self._count = count
        self._free: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]]
        self._free = asyncio.Queue()

    async def __aenter__(self) -> Self:
        for _ in range(self._count):
            self._free.put_nowait(await asyncio.open_connection(self._host, self._port))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        while not self._free.empty():
            self._free.get_nowait()[1].close()

    async def post(self, path: str, body: object, headers: dict[str, str]) -> tuple[int, bytes]:
        """Status and body of the answer."""
        content = msgspec.json.encode(body)
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        request = (
            f"POST {path} HTTP/1.1\r\nHost: {self._host}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(content)}\r\n{head}\r\n"
        )
        reader, writer = await self._free.get()
        writer.write(request.encode() + content)
        answer = await reader.readuntil(b"\r\n\r\n")
        lines = answer.decode("latin-1").split("\r\n")
        status = int(lines[0].split(" ")[1])
        length = next(
            int(line.partition(":")[2])
            for line in lines
            if line.lower().startswith("content-length:")
        )
        content = await reader.readexactly(length)
        self._free.put_nowait((reader, writer))
        return status, content
