"""One socket's session: hello, what was missed, then live; frames up are answered one by one.

Invariants: the live queue is opened before the database is read, so nothing falls between; an
event is shown once and in its feed's order; a cursor is the truth about what was shown, so a
reconnect loses nothing and repeats nothing.
"""

import asyncio
import contextlib
from datetime import datetime, timedelta

import structlog
from msgspec import structs
from pydantic import ValidationError

from common.auth.principal import Principal
from common.errors import InvalidInput, KefuError
from common.runtime import Service
from common.runtime.feed import FeedItem, Follower, Listener, Overrun
from common.telemetry.metrics import SOCKET_RESYNCS
from common.web.sockets import CloseCode, Socket, SocketClosed

from ..attendance import Heartbeats, SetPresence
from ..deliveries import Deliveries
from . import sights
from .frames import (
    Accepted,
    Error,
    EventFrame,
    Hello,
    Message,
    Ping,
    Pong,
    Read,
    Refused,
    Resync,
    Typing,
    Welcome,
    pack_cursor,
    unpack_cursor,
)
from .writing import mark_read, send_message, tell_typing

log = structlog.get_logger(__name__)

MOST_BEHIND = 5_000
"""Further behind than this, loading anew costs less than catching up."""
HEARTBEAT_EVERY = timedelta(seconds=10)
TYPING_EVERY = timedelta(seconds=1)

UpFrame = Hello | Message | Typing | Read | Ping


class Session:
    """A socket and the caller behind it."""

    def __init__(self, service: Service, caller: Principal, socket: Socket[UpFrame]) -> None:
        self.service = service
        self.caller = caller
        self.socket = socket
        self.receivers: tuple[str, ...] = ()
        self.shown: dict[str, int] = {}
        """The last number shown of each receiver's feed."""
        self._deliveries = Deliveries(service, caller.shop_id)
        self._last_beat: datetime | None = None
        self._last_typing: datetime | None = None

    async def run(self) -> None:
        """Serve the socket until it is closed."""
        hello = await self.socket.receive()
        if not isinstance(hello, Hello):
            await self.socket.send(Error(code="hello_first", detail="the first frame is hello"))
            await self.socket.close(CloseCode.UNSUPPORTED)
            return
        self.receivers = sights.receivers_of(self.caller, hello.topics)
        await self._come()
        tasks = [
            asyncio.create_task(self._show_all(hello)),
            asyncio.create_task(self._deliveries.run()),
        ]
        try:
            async for frame in self.socket:
                await self._take(frame)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._deliveries.keep()

    async def _come(self) -> None:
        if sights.serves_buyers(self.caller):
            self._last_beat = self.service.clock()
            command = SetPresence(
                shop_id=self.caller.shop_id,
                agent_id=self.caller.subject,
                presence=None,
                reason="connected",
            )
            await self.service.submit(command)

    # -- showing ------------------------------------------------------------------------------

    async def _show_all(self, hello: Hello) -> None:
        try:
            await self._follow(hello)
        except SocketClosed:
            return
        except Exception as error:
            log.warning("socket_failed", error=repr(error))
            await self.socket.close(CloseCode.INTERNAL)

    async def _follow(self, hello: Hello) -> None:
        greeted = False
        while True:
            with self.service.feed.listen(self.caller.shop_id, self.receivers) as listener:
                if not greeted:
                    await self._welcome(hello)
                    greeted = True
                with contextlib.suppress(Overrun):
                    await self._show(listener)

    async def _welcome(self, hello: Hello) -> None:
        heads = await self.service.feed.heads(self.caller.shop_id, self.receivers)
        reason = None
        if hello.cursor is None:
            self.shown = heads
        else:
            seen = unpack_cursor(hello.cursor)
            reason = "unknown_cursor" if seen is None else await self._unusable(seen, heads)
            self.shown = heads if reason or seen is None else _own(seen, heads)
        cursor = pack_cursor(self.shown)
        now = self.service.clock()
        await self.socket.send(Welcome(cursor=cursor, server_now=now, receivers=self.receivers))
        if reason:
            SOCKET_RESYNCS.add(service=self.service.name, reason=reason)
            await self.socket.send(Resync(reason=reason, cursor=cursor))

    async def _unusable(self, seen: dict[str, int], heads: dict[str, int]) -> str | None:
        """Why a cursor cannot be gone on from; None if it can."""
        behind = {name: heads[name] - seen[name] for name in heads if name in seen}
        if any(missed < 0 for missed in behind.values()):
            return "unknown_cursor"
        if sum(behind.values()) > MOST_BEHIND:
            return "too_far_behind"
        for name, missed in behind.items():
            if missed and not await self._is_kept(name, seen[name] + 1):
                return "too_old"
        return None

    async def _is_kept(self, receiver: str, seq: int) -> bool:
        found = await self.service.feed.since(self.caller.shop_id, receiver, seq - 1, 1)
        return bool(found) and found[0].seq == seq

    async def _show(self, listener: Listener) -> None:
        follower = Follower(self.service.feed, listener, self.shown)
        async for item in follower.catch_up():
            await self._show_item(item)
        while True:
            for item in await follower.next():
                await self._show_item(item)

    async def _show_item(self, item: FeedItem) -> None:
        if item.seq:
            if item.seq <= self.shown.get(item.receiver, 0):
                return
            self.shown[item.receiver] = item.seq
        type_ = sights.short_type(item.type)
        body = sights.body_for(item, self.service.clock())
        frame = EventFrame(
            cursor=pack_cursor(self.shown), receiver=item.receiver, type=type_, body=body
        )
        await self.socket.deliver(
            frame, traceparent=item.traceparent, happened_at=sights.happened_at(type_, body)
        )
        taken = sights.taken_by(item.receiver, type_, body)
        if taken is not None:
            self._deliveries.took(item.receiver, taken)

    # -- frames up ----------------------------------------------------------------------------

    async def _take(self, frame: UpFrame) -> None:
        await self._beat()
        if isinstance(frame, Message):
            await self._write(frame)
        elif isinstance(frame, Ping):
            await self.socket.send(Pong(server_now=self.service.clock()))
        elif isinstance(frame, Hello):
            await self.socket.send(Error(code="hello_once", detail="hello was said already"))
        else:
            await self._note(frame)

    async def _beat(self) -> None:
        """Any frame is a sign of life; one in ten seconds is kept."""
        now = self.service.clock()
        if self._last_beat is None or now - self._last_beat < HEARTBEAT_EVERY:
            return
        self._last_beat = now
        with contextlib.suppress(KefuError):
            await self.service.submit(
                Heartbeats(shop_id=self.caller.shop_id, agent_ids=(self.caller.subject,))
            )

    async def _write(self, frame: Message) -> None:
        try:
            kept = await send_message(self.service, self.caller, frame)
        except ValidationError as error:
            await self._refuse(frame, InvalidInput(_first_fault(error)))
        except KefuError as error:
            await self._refuse(frame, error)
        else:
            await self.socket.send(Accepted(**structs.asdict(kept)))

    async def _refuse(self, frame: Message, error: KefuError) -> None:
        refused = Refused(
            client_message_id=frame.client_message_id,
            code=error.code,
            detail=error.detail or error.title,
            retry_after=error.retry_after,
        )
        await self.socket.send(refused)

    async def _note(self, frame: Typing | Read) -> None:
        try:
            if isinstance(frame, Read):
                await mark_read(self.service, self.caller, frame)
            elif self._may_tell_typing():
                await tell_typing(self.service, self.caller, frame)
        except KefuError as error:
            await self.socket.send(Error(code=error.code, detail=error.detail or error.title))

    def _may_tell_typing(self) -> bool:
        now = self.service.clock()
        if self._last_typing is not None and now - self._last_typing < TYPING_EVERY:
            return False
        self._last_typing = now
        return True


def _own(seen: dict[str, int], heads: dict[str, int]) -> dict[str, int]:
    """What was seen of the caller's own feeds; a feed that is new to the cursor begins now."""
    return {name: seen.get(name, head) for name, head in heads.items()}


def _first_fault(error: ValidationError) -> str:
    fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
    return f"{'.'.join(str(part) for part in fault['loc']) or 'message'}: {fault['msg']}"
