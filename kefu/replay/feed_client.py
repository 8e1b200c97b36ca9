"""A client of the socket: shows each event once, comes back by its cursor, writes until accepted.

The cursor it says hello with is that of the last event that is in the journal, so whatever is
killed, the feed goes on behind what was seen.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus, WebSocketException

from kefu.replay.http import WAIT_STATUSES, GaveUp, Outage, RefusedByApi
from kefu.replay.journal import Journal
from kefu.replay.records import Acknowledged, Delivered, Joined, Resynced

PING_SECONDS = 5.0
ANSWER_SECONDS = 10.0
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 2.0
MAX_FRAME = 2**20
FINAL_CLOSES = {4401: "token_expired", 4403: "forbidden", 4409: "replaced"}

Show = Callable[[Delivered], Awaitable[None]]
Reload = Callable[[], Awaitable[None]]


class FeedClient:
    """One receiver's socket, for as long as `start` and `stop` say."""

    def __init__(
        self, url: str, token: str, receiver: str, cursor: int | None, journal: Journal,
        show: Show, reload: Reload, outage: Outage, *, patience: float,
    ) -> None:  # fmt: skip
        self.receiver = receiver
        self._url = url
        self._token = token
        self._cursor = cursor
        self._journal = journal
        self._show = show
        self._reload = reload
        self._outage = outage
        self._patience = patience
        self._socket: ClientConnection | None = None
        self._welcomed = asyncio.Event()
        self._answers: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._task: asyncio.Task[None] | None = None
        self._refusal: RefusedByApi | None = None

    # -- life -------------------------------------------------------------------------------

    def start(self) -> None:
        """Connects, and reconnects until stopped."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=self.receiver)

    @property
    def running(self) -> bool:
        """Whether it is connected, or trying to be."""
        return self._task is not None

    async def stop(self) -> None:
        """Closes the socket as a browser does."""
        if self._socket is not None:
            await self._socket.close()
        await self.cut()

    async def cut(self) -> None:
        """Drops the connection without a word, as a lost network does."""
        task, self._task = self._task, None
        if task is not None:
            if self._socket is not None:
                self._socket.transport.abort()
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._welcomed.clear()

    async def connected(self) -> None:
        """Returns once the socket is welcomed. `GaveUp` when that took too long."""
        try:
            async with asyncio.timeout(self._patience):
                await self._welcomed.wait()
        except TimeoutError:
            raise GaveUp(f"{self.receiver}: no socket for {self._patience:.0f} s") from None
        if self._refusal is not None:
            raise self._refusal

    async def _run(self) -> None:
        pause = FIRST_PAUSE
        while self._refusal is None:
            began = time.monotonic()
            try:
                await self._session()
            except (OSError, TimeoutError, WebSocketException) as error:
                self._refusal = _final(error)
            self._welcomed.clear()
            self._outage.begins()
            if time.monotonic() - began > LONGEST_PAUSE:
                pause = FIRST_PAUSE
            await asyncio.sleep(pause)
            pause = min(LONGEST_PAUSE, pause * 2)
        self._welcomed.set()

    async def _session(self) -> None:
        async with connect(
            self._url,
            additional_headers={"authorization": f"Bearer {self._token}"},
            open_timeout=ANSWER_SECONDS,
            close_timeout=1.0,
            max_size=MAX_FRAME,
            proxy=None,
        ) as socket:
            self._socket = socket
            await self._send({"frame": "hello"} | self._hello())
            pinging = asyncio.create_task(self._ping())
            try:
                async for frame in socket:
                    await self._take(msgspec.json.decode(frame))
            finally:
                self._socket = None
                pinging.cancel()

    def _hello(self) -> dict[str, str]:
        if self._cursor is None:
            return {}
        return {"cursor": f"{quote(self.receiver, safe=':@')}={self._cursor}"}

    async def _ping(self) -> None:
        with contextlib.suppress(WebSocketException, OSError):
            while True:
                await asyncio.sleep(PING_SECONDS)
                await self._send({"frame": "ping"})

    async def _send(self, frame: dict[str, Any]) -> None:
        if self._socket is None:
            raise ConnectionError("no socket")
        await self._socket.send(msgspec.json.encode(frame).decode())

    # -- frames down ------------------------------------------------------------------------

    async def _take(self, frame: dict[str, Any]) -> None:
        match frame["frame"]:
            case "welcome":
                self._welcome(number_in(frame["cursor"]))
            case "event":
                await self._event(frame)
            case "resync":
                self._journal.note(Resynced(at=time.time(), receiver=self.receiver))
                self._join(number_in(frame["cursor"]))
                await self._reload()
            case "accepted" | "refused":
                answer = self._answers.get(frame["client_message_id"])
                if answer is not None and not answer.done():
                    answer.set_result(frame)
            case _:
                pass

    def _welcome(self, cursor: int) -> None:
        self._outage.ends()
        if self._cursor is None:
            self._join(cursor)
        self._welcomed.set()

    def _join(self, cursor: int) -> None:
        self._cursor = cursor
        self._journal.note(Joined(at=time.time(), receiver=self.receiver, cursor=cursor))

    async def _event(self, frame: dict[str, Any]) -> None:
        if frame["type"] == "typing":
            return  # shown and forgotten, without a number of its own
        record = delivered(self.receiver, frame)
        self._cursor = record.cursor
        await self._show(record)

    # -- writing ----------------------------------------------------------------------------

    async def write(self, action: str, body: dict[str, Any]) -> Acknowledged:
        """Sends a message until it is accepted. `RefusedByApi` or `GaveUp` when it is not."""
        sent_at, began = time.time(), time.monotonic()
        while True:
            await self.connected()
            answer = await self._ask(action, body)
            if answer is not None and answer["frame"] == "accepted":
                return _accepted(action, sent_at, answer)
            if answer is not None and answer.get("retry_after") is None:
                raise RefusedByApi(422, answer["code"], answer["detail"])
            if time.monotonic() - began > self._patience:
                raise GaveUp(f"{self.receiver}: not accepted for {self._patience:.0f} s")
            await asyncio.sleep(min((answer or {}).get("retry_after") or 0.1, LONGEST_PAUSE))

    async def _ask(self, action: str, body: dict[str, Any]) -> dict[str, Any] | None:
        """The answer to one attempt; None if the socket was lost or silent."""
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._answers[action] = answer
        try:
            await self._send({"frame": "message"} | body)
            async with asyncio.timeout(ANSWER_SECONDS):
                return await answer
        except (OSError, TimeoutError, WebSocketException):
            return None
        finally:
            del self._answers[action]


def number_in(cursor: str) -> int:
    """The event number in the cursor of a socket with one receiver."""
    return int(cursor.rpartition("=")[2] or 0)


def delivered(receiver: str, frame: dict[str, Any]) -> Delivered:
    """The record of an event frame."""
    body = frame["body"]
    order = body.get("order") or {}
    return Delivered(
        at=time.time(),
        receiver=receiver,
        cursor=number_in(frame["cursor"]),
        type=frame["type"],
        conversation_id=body.get("conversation_id"),
        buyer_id=body.get("buyer_id"),
        message_id=body.get("message_id"),
        client_message_id=body.get("client_message_id"),
        seq=body.get("seq"),
        agent_id=body.get("agent_id"),
        reminder_id=body.get("reminder_id"),
        order_id=body.get("order_id") or order.get("order_id"),
        waited_seconds=body.get("waited_seconds"),
        hint=body.get("hint") is not None,
    )


def _accepted(action: str, sent_at: float, frame: dict[str, Any]) -> Acknowledged:
    return Acknowledged(
        at=time.time(),
        action=action,
        sent_at=sent_at,
        conversation_id=frame["conversation_id"],
        message_id=frame["message_id"],
        seq=frame["seq"],
    )


def _final(error: Exception) -> RefusedByApi | None:
    """The refusal that reconnecting would only repeat; None for anything else."""
    if isinstance(error, InvalidStatus) and error.response.status_code not in WAIT_STATUSES:
        return RefusedByApi(error.response.status_code, "socket_refused", "handshake refused")
    code = getattr(getattr(error, "rcvd", None), "code", None)
    return RefusedByApi(403, FINAL_CLOSES[code], "socket closed") if code in FINAL_CLOSES else None
