"""A socket on the terminal: what `websocat` would show, with pings, without installing it."""

import asyncio
import contextlib
import json
import sys

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from kefu.cli.failures import UNAVAILABLE, CommandFailed

PING_SECONDS = 15.0


async def listen_in(url: str, token: str, count: int, cursor: str | None) -> None:
    """Prints frames as they come; stops after `count` events unless it is 0."""
    headers = {"authorization": f"Bearer {token}"}
    try:
        async with connect(url, additional_headers=headers, proxy=None) as socket:
            hello = {"frame": "hello"} | ({"cursor": cursor} if cursor else {})
            await socket.send(json.dumps(hello))
            pinging = asyncio.create_task(_ping(socket))
            try:
                await _print(socket, count)
            finally:
                pinging.cancel()
    except InvalidStatus as refusal:
        status = refusal.response.status_code
        raise CommandFailed(f"{url} answers {status}: is the token good?", UNAVAILABLE) from None
    except ConnectionClosed as closed:
        raise CommandFailed(f"the socket was closed: {closed}", UNAVAILABLE) from None


async def _print(socket: ClientConnection, count: int) -> None:
    events = 0
    async for frame in socket:
        shown = json.loads(frame)
        if shown["frame"] == "pong":
            continue
        sys.stdout.write(json.dumps(shown, ensure_ascii=False) + "\n")
        sys.stdout.flush()
        events += shown["frame"] == "event"
        if count and events >= count:
            return


async def _ping(socket: ClientConnection) -> None:
    with contextlib.suppress(ConnectionClosed):
        while True:
            await asyncio.sleep(PING_SECONDS)
            await socket.send('{"frame":"ping"}')
