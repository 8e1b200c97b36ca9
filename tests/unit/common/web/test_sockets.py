"""WebSockets: who gets in, what is taken, and how a socket ends."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, WebSocket
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Origin, Subprotocol

from common.auth.principal import Role
from common.auth.verifiers import build_verifier
from common.telemetry.instruments import Metrics
from common.telemetry.traces import new_traceparent, recorded_spans
from common.web.app import create_app
from common.web.sockets import MAX_FRAME_BYTES, CloseCode, open_socket

from .demo import UP_FRAMES, Staff, demo_routes

Build = Callable[..., FastAPI]
Served = Callable[[FastAPI], Any]
Token = Callable[..., str]


@contextlib.asynccontextmanager
async def connected(
    address: tuple[str, int], token: str, **options: Any
) -> AsyncIterator[ClientConnection]:
    uri = f"ws://{address[0]}:{address[1]}/v1/socket"
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with connect(
        uri, additional_headers=headers | options.pop("headers", {}), **options
    ) as socket:
        yield socket


async def said(socket: ClientConnection, frame: Any) -> Any:
    await socket.send(frame if isinstance(frame, str | bytes) else json.dumps(frame))
    async with asyncio.timeout(10):
        return json.loads(await socket.recv())


async def close_code(socket: ClientConnection) -> int:
    async with asyncio.timeout(10):
        with contextlib.suppress(ConnectionClosed):
            while True:
                await socket.recv()
    assert socket.close_code is not None
    return socket.close_code


async def refusal(address: tuple[str, int], token: str, **options: Any) -> httpx.Response:
    with pytest.raises(InvalidStatus) as refused:
        async with connected(address, token, **options):
            pass
    answer = refused.value.response
    return httpx.Response(
        answer.status_code, headers=dict(answer.headers.raw_items()), content=bytes(answer.body)
    )


# ---------------------------------------------------------------- the handshake


async def test_a_token_may_come_by_header_subprotocol_or_cookie(
    build: Build, served: Served, token: Token
) -> None:
    held = token(Role.AGENT)
    async with served(build()) as address:
        async with connected(address, held) as socket:
            assert await said(socket, {"type": "ping"}) == {"type": "answer", "text": "pong"}
        offered = [Subprotocol("kefu.v1"), Subprotocol(f"bearer.{held}")]
        async with connected(address, "", subprotocols=offered) as socket:
            assert socket.subprotocol == "kefu.v1"
            assert await said(socket, {"type": "say", "text": "您好"})
        cookie = {"Cookie": f"kefu_token={held}"}
        own = Origin(f"http://{address[0]}:{address[1]}")
        async with connected(address, "", headers=cookie, origin=own) as socket:
            assert await said(socket, {"type": "ping"})


async def test_a_handshake_without_rights_is_answered_with_a_problem(
    build: Build, served: Served, token: Token
) -> None:
    async with served(build()) as address:
        for held, status, code in (
            ("", 401, "unauthorized"),
            ("x.y.z", 401, "unauthorized"),
            (token(Role.AGENT, seconds=-60), 401, "token_expired"),
            (token(Role.BUYER), 403, "forbidden"),
        ):
            answer = await refusal(address, held)
            assert answer.status_code == status
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["code"] == code


async def test_the_cookie_counts_only_from_pages_we_know(
    build: Build, served: Served, token: Token
) -> None:
    cookie = {"Cookie": f"kefu_token={token(Role.AGENT)}"}
    async with served(build(cors_origins=("https://desk.example",))) as address:
        for origin in (None, Origin("https://evil.example"), Origin("null")):
            answer = await refusal(address, "", headers=cookie, origin=origin)
            assert answer.json()["code"] == "origin_not_allowed"
        known = Origin("https://desk.example")
        async with connected(address, "", headers=cookie, origin=known) as socket:
            assert await said(socket, {"type": "ping"})


async def test_a_token_in_the_address_opens_no_socket(
    build: Build, served: Served, token: Token
) -> None:
    async with served(build()) as (host, port):
        with pytest.raises(InvalidStatus):
            async with connect(f"ws://{host}:{port}/v1/socket?token={token(Role.AGENT)}"):
                pass


async def test_handshakes_count_against_the_address(
    build: Build, served: Served, token: Token
) -> None:
    app = build(rate_limit_address_rps=0.01, rate_limit_address_burst=1)
    async with served(app) as address:
        async with connected(address, token(Role.AGENT)):
            pass
        answer = await refusal(address, token(Role.AGENT))
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) > 1


# ---------------------------------------------------------------- frames


@pytest.mark.parametrize(
    "frame",
    ["", "{", "[]", '{"type": "say"}', '{"type": "shout"}', '{"type":"say","text":7}', "[" * 9999],
)
async def test_a_frame_that_is_not_understood_is_answered_and_the_socket_goes_on(
    build: Build, served: Served, token: Token, frame: str
) -> None:
    async with served(build()) as address, connected(address, token(Role.AGENT)) as socket:
        answer = await said(socket, frame)
        assert answer["frame"] == "error"
        assert answer["code"] == "invalid_frame"
        assert (await said(socket, {"type": "ping"}))["text"] == "pong"


async def test_frames_too_large_binary_or_too_many_close_the_socket(
    build: Build, served: Served, token: Token, metrics: Metrics
) -> None:
    app = build(socket_frames_rps=0.01, socket_frames_burst=5)
    async with served(app) as address:
        async with connected(address, token(Role.AGENT)) as socket:
            await socket.send("x" * (MAX_FRAME_BYTES + 1))
            assert await close_code(socket) == CloseCode.TOO_LARGE
        async with connected(address, token(Role.AGENT)) as socket:
            await socket.send(b"{}")
            assert await close_code(socket) == CloseCode.UNSUPPORTED
        async with connected(address, token(Role.AGENT)) as socket:
            for _ in range(6):
                await socket.send('{"type": "ping"}')
            assert await close_code(socket) == CloseCode.RATE_LIMITED
    exposed = metrics.exposition().decode()
    assert 'kefu_sockets_closed_total{code="4429",service="demo"} 1.0' in exposed
    assert 'kefu_sockets_open{kind="staff",service="demo"} 0.0' in exposed


# ---------------------------------------------------------------- the end


async def test_a_silent_socket_is_closed(build: Build, served: Served, token: Token) -> None:
    async with (
        served(build(socket_idle_seconds=0.2)) as address,
        connected(address, token(Role.AGENT)) as socket,
    ):
        assert await close_code(socket) == CloseCode.IDLE


async def test_a_socket_does_not_outlive_its_token(
    build: Build, served: Served, token: Token
) -> None:
    async with (
        served(build()) as address,
        connected(address, token(Role.AGENT, seconds=1)) as socket,
    ):
        assert await said(socket, {"type": "ping"})
        assert await close_code(socket) == CloseCode.TOKEN_EXPIRED


async def test_a_failure_inside_says_only_that_it_failed(
    build: Build, served: Served, token: Token
) -> None:
    async with served(build()) as address, connected(address, token(Role.AGENT)) as socket:
        await socket.send('{"type": "say", "text": "break"}')
        assert await close_code(socket) == CloseCode.INTERNAL
        assert "broken by request" not in (socket.close_reason or "")


async def test_a_client_that_takes_nothing_is_dropped_and_holds_up_nobody(
    build: Build, served: Served, token: Token, settings: Any
) -> None:
    ended: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
    app = build(socket_send_seconds=0.3)

    @app.websocket("/v1/flood")
    async def flood(websocket: WebSocket, caller: Staff) -> None:
        async with open_socket(websocket, caller, UP_FRAMES) as socket:
            try:
                while True:
                    await socket.send({"type": "event", "body": "x" * 60_000})
            finally:
                ended.set_result(socket.code)

    async with served(app) as (host, port):
        reader, writer = await asyncio.open_connection(host, port, limit=1024)
        writer.write(
            (
                f"GET /v1/flood HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\n"
                "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                f"Sec-WebSocket-Version: 13\r\nAuthorization: Bearer {token(Role.AGENT)}\r\n\r\n"
            ).encode()
        )
        await reader.readuntil(b"\r\n\r\n")
        async with asyncio.timeout(20):
            assert await ended == CloseCode.SLOW
        writer.close()


async def test_a_delivery_ends_the_trace_of_its_event(
    build: Build, served: Served, token: Token, metrics: Metrics
) -> None:
    app = build()
    traceparent = new_traceparent()[:-2] + "01"

    @app.websocket("/v1/feed")
    async def feed(websocket: WebSocket, caller: Staff) -> None:
        async with open_socket(websocket, caller, UP_FRAMES) as socket:
            await socket.deliver({"type": "event"}, traceparent=traceparent)
            await socket.receive()

    headers = {"Authorization": f"Bearer {token(Role.AGENT)}"}
    with recorded_spans() as spans:
        async with (
            served(app) as (host, port),
            connect(f"ws://{host}:{port}/v1/feed", additional_headers=headers) as socket,
        ):
            assert json.loads(await socket.recv()) == {"type": "event"}
        (span,) = [one for one in spans.get_finished_spans() if one.name == "deliver"]
    assert f"{span.context.trace_id:032x}" == traceparent[3:35]
    exposed = metrics.exposition().decode()
    assert 'kefu_sockets_deliveries_total{kind="staff",service="demo"} 1.0' in exposed


def test_every_close_code_says_what_a_client_should_do() -> None:
    assert len({code.value for code in CloseCode}) == len(CloseCode)
    assert all(code < 1016 or 4000 <= code < 5000 for code in CloseCode)


def test_an_application_with_an_undeclared_socket_does_not_start(settings: Any) -> None:
    router = demo_routes()

    @router.websocket("/open")
    async def undeclared(websocket: WebSocket) -> None:
        await websocket.accept()

    with pytest.raises(AssertionError, match="/v1/open"):
        create_app("Demo", "demo", settings, routers=[router], verifier=build_verifier(settings))
