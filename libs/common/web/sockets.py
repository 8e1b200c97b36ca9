"""WebSockets: JSON frames, bounded in size, rate and patience in both directions.

    @router.websocket("/socket")
    async def socket(websocket: WebSocket, caller: Staff) -> None:
        async with open_socket(websocket, caller, UP_FRAMES) as socket:
            async for frame in socket:
                ...                      # another task may call socket.send() meanwhile

`UP_FRAMES` is a `msgspec.json.Decoder` of the frames that a client may send.

The guard (`requires`) authenticates the handshake: header, cookie or subprotocol. A handshake
without rights is answered with an HTTP problem; afterwards the close code says why (`CloseCode`).
A frame that is not understood is answered with an `error` frame and the socket goes on.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from datetime import datetime
from enum import IntEnum
from typing import Any, Generic, NoReturn, TypeVar

import msgspec
from starlette.types import Message
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from common.auth.credentials import PROTOCOL
from common.auth.principal import Principal
from common.settings import Settings
from common.telemetry.metrics import (
    DELIVERIES,
    DELIVERY_SECONDS,
    RATE_LIMITED,
    SOCKETS_CLOSED,
    SOCKETS_OPEN,
)
from common.telemetry.traces import start_span
from common.web.limits import Limiter

MAX_FRAME_BYTES = 65_536
CLOSE_SECONDS = 1.0

F = TypeVar("F")


class CloseCode(IntEnum):
    """Why a socket was closed by the server. 4xxx are this product's own."""

    NORMAL = 1000
    UNSUPPORTED = 1003
    """A binary frame, or another first frame than the socket begins with."""
    TOO_LARGE = 1009
    """A frame above 64 KiB."""
    INTERNAL = 1011
    """Something failed here; reconnect with the cursor."""
    RESTART = 1012
    """The server goes down for a restart; reconnect at once with the cursor."""
    TOKEN_EXPIRED = 4401
    """Get a new token, then reconnect with the cursor."""
    IDLE = 4408
    """Nothing was heard in time; send `ping` more often."""
    RATE_LIMITED = 4429
    """Too many frames; reconnect later, with back-off."""
    SLOW = 4490
    """The client did not take its frames in time; reconnect with the cursor."""


class SocketClosed(Exception):
    """The socket is closed, by us or by the other side; `code` says why."""

    def __init__(self, code: int) -> None:
        super().__init__(f"socket closed with {code}")
        self.code = code


class Socket(Generic[F]):
    """One accepted socket. One task receives; any number may send."""

    def __init__(
        self, websocket: WebSocket, principal: Principal, decoder: "msgspec.json.Decoder[F]"
    ) -> None:
        settings: Settings = websocket.app.state.settings
        self._websocket = websocket
        self._principal = principal
        self._decoder = decoder
        self._settings = settings
        self.service: str = websocket.app.state.service
        self._in_traces = {"kefu.service": self.service}
        self._limiter = Limiter(settings.socket_frames_rps, settings.socket_frames_burst, size=1)
        self._sending = asyncio.Lock()
        self._expires = principal.expires_at.timestamp()
        self.code: int | None = None
        """The close code, once the socket is closed."""

    def __aiter__(self) -> AsyncIterator[F]:
        return self._frames()

    async def _frames(self) -> AsyncIterator[F]:
        """The frames as they come, until the socket is closed."""
        with contextlib.suppress(SocketClosed):
            while True:
                yield await self.receive()

    async def receive(self) -> F:
        """The next well-formed frame; `SocketClosed` when there will be none."""
        while True:
            text = await self._receive_text()
            try:
                return self._decoder.decode(text)
            except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
                await self.send(_complaint(error))

    async def _receive_text(self) -> str:
        message = await self._receive_in_time()
        if message["type"] == "websocket.disconnect":
            await self._ended(message.get("code") or CloseCode.NORMAL)
        text = message.get("text")
        if text is None:
            await self._refuse(CloseCode.UNSUPPORTED)
        if len(text) > MAX_FRAME_BYTES or len(text.encode("utf-8", "replace")) > MAX_FRAME_BYTES:
            await self._refuse(CloseCode.TOO_LARGE)
        if self._limiter.wait(""):
            RATE_LIMITED.add(1, service=self.service, by="socket")
            await self._refuse(CloseCode.RATE_LIMITED)
        return str(text)

    async def _receive_in_time(self) -> Message:
        patience = self._settings.socket_idle_seconds
        left = self._expires - time.time()
        try:
            async with asyncio.timeout(max(0.0, min(patience, left))):
                return await self._websocket.receive()
        except TimeoutError:
            expired = self._expires <= time.time()
            await self._refuse(CloseCode.TOKEN_EXPIRED if expired else CloseCode.IDLE)

    async def send(self, frame: msgspec.Struct | dict[str, Any]) -> None:
        """Hand a frame to the client. `SocketClosed` if it is gone, or too slow to take it."""
        text = msgspec.json.encode(frame).decode()
        try:
            async with asyncio.timeout(self._settings.socket_send_seconds), self._sending:
                self._check_open()
                await self._websocket.send_text(text)
        except TimeoutError:
            await self._refuse(CloseCode.SLOW)
        except (WebSocketDisconnect, RuntimeError, OSError):
            # RuntimeError: the server noticed before we did that the other side is gone.
            await self._ended(CloseCode.NORMAL)

    async def deliver(
        self,
        frame: msgspec.Struct | dict[str, Any],
        *,
        traceparent: str | None = None,
        happened_at: datetime | None = None,
    ) -> None:
        """`send` an event's frame: the last hop of its trace, counted and timed."""
        with start_span("deliver", "producer", parent=traceparent, attributes=self._in_traces):
            await self.send(frame)
        DELIVERIES.add(1, service=self.service, kind=self._principal.kind)
        if happened_at is not None:
            DELIVERY_SECONDS.record(time.time() - happened_at.timestamp(), service=self.service)

    async def close(self, code: CloseCode = CloseCode.NORMAL) -> None:
        """Close the socket; at once if the client does not answer. Safe to repeat."""
        if self.code is not None:
            return
        self.code = code
        # A client that takes nothing takes no farewell either.
        with contextlib.suppress(TimeoutError, WebSocketDisconnect, RuntimeError, OSError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._websocket.close(code, code.name.lower())

    def _check_open(self) -> None:
        if self.code is not None or self._websocket.client_state is WebSocketState.DISCONNECTED:
            raise SocketClosed(self.code or CloseCode.NORMAL)

    async def _refuse(self, code: CloseCode) -> NoReturn:
        await self.close(code)
        raise SocketClosed(self.code or code)

    async def _ended(self, code: int) -> NoReturn:
        self.code = self.code or code
        raise SocketClosed(self.code)


def _complaint(error: Exception) -> dict[str, str]:
    # msgspec names the member at fault and what it expected, never the value.
    detail = str(error) if isinstance(error, msgspec.ValidationError) else "not JSON"
    return {"frame": "error", "code": "invalid_frame", "detail": detail[:300]}


@contextlib.asynccontextmanager
async def open_socket(
    websocket: WebSocket, principal: Principal, decoder: "msgspec.json.Decoder[F]"
) -> AsyncIterator[Socket[F]]:
    """Accept the handshake of an authenticated caller; the socket is closed on leaving.

    `SocketClosed` raised inside ends the block quietly, any other error closes with 1011.
    """
    offered = websocket.scope.get("subprotocols", ())
    await websocket.accept(PROTOCOL if PROTOCOL in offered else None)
    socket = Socket(websocket, principal, decoder)
    SOCKETS_OPEN.add(1, service=socket.service, kind=principal.kind)
    try:
        yield socket
        await socket.close()
    except SocketClosed:
        pass
    except Exception:
        await socket.close(CloseCode.INTERNAL)
        raise
    finally:
        SOCKETS_OPEN.add(-1, service=socket.service, kind=principal.kind)
        SOCKETS_CLOSED.add(1, service=socket.service, code=_code_label(socket.code))


def _code_label(code: int | None) -> str:
    # A client may close with any number it likes; a label may not grow without end.
    if code in {known.value for known in CloseCode} or code in (1001, 1005, 1006):
        return str(code)
    return "other"
