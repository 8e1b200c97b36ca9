"""Runs an application on a socket until Ctrl-C or SIGTERM, and ends with status 0."""

import asyncio
import contextlib
import signal
import socket
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import TYPE_CHECKING, Any

import uvicorn

from common.settings import Settings
from common.web.serve import server_options
from kefu.starting import spare_the_collector

if TYPE_CHECKING:
    from starlette.types import ASGIApp

STARTED_POLL_SECONDS = 0.02

Ready = Callable[[], Awaitable[None]]


def run_async(main: Coroutine[Any, Any, None]) -> None:
    """Runs a server's coroutine on the quickest loop there is."""
    factory = None
    with contextlib.suppress(ImportError):
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main)


class Server(uvicorn.Server):
    """uvicorn, with signals taken by `serve`: it would end by dying of them."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leaves signals alone."""
        yield


async def serve(
    app: "ASGIApp", settings: Settings, bound: socket.socket, ready: Ready | None = None
) -> bool:
    """Serves until told to stop; False when the application could not start.

    `ready` runs once the application has started. When it fails, so does the server.
    """
    server = Server(uvicorn.Config(app, **_options(settings)))
    _take_signals(server)
    serving = asyncio.create_task(server.serve(sockets=[bound]))
    try:
        while not server.started and not serving.done():
            await asyncio.wait([serving], timeout=STARTED_POLL_SECONDS)
        if server.started:
            spare_the_collector()
        if server.started and ready is not None:
            await _until_ready(ready(), serving)
    except BaseException:
        server.should_exit = True
        raise
    finally:
        await serving
    return server.started


async def until_stopped() -> None:
    """Returns on Ctrl-C or SIGTERM."""
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    await stopped.wait()


def _options(settings: Settings) -> dict[str, Any]:
    options = server_options(settings)
    for given_by_the_socket in ("host", "port"):
        options.pop(given_by_the_socket, None)
    return options


async def _until_ready(ready: Awaitable[None], serving: "asyncio.Task[None]") -> None:
    """Waits for `ready`, unless the server is stopped meanwhile."""
    preparing = asyncio.ensure_future(ready)
    await asyncio.wait([preparing, serving], return_when=asyncio.FIRST_COMPLETED)
    if preparing.done():
        preparing.result()
    else:
        preparing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await preparing


def _take_signals(server: Server) -> None:
    loop = asyncio.get_running_loop()

    def stop(number: int) -> None:
        # A second Ctrl-C means: now.
        server.force_exit = server.should_exit and number == signal.SIGINT
        server.should_exit = True

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, number)
