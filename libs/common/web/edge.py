"""The outermost layer of an application, once around every request.

One ASGI middleware instead of six, for their cost adds up: request id, trace, body limit and
deadline, rate limit by address, security headers, duration metric, and the last resort for
errors that nobody foresaw.
"""

import asyncio
import contextlib
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from common.errors import KefuError, RateLimited, TooLarge
from common.ids import new_id
from common.settings import Settings
from common.telemetry.logs import get_logger, request_id_var
from common.telemetry.metrics import HTTP_REQUEST_SECONDS, RATE_LIMITED
from common.telemetry.traces import Span, start_span, valid_traceparent
from common.web.limits import Limiter
from common.web.problems import deny, from_unforeseen, problem_response

Header = tuple[bytes, bytes]

METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})
PROBES = frozenset({"/healthz", "/readyz"})
SECURITY_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-site"),
]
_API_POLICY = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
_NO_STORE = (b"cache-control", b"no-store")
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may take."""

    body_bytes: int
    body_seconds: float
    addresses: Limiter

    @classmethod
    def by(cls, settings: Settings) -> "Limits":
        """The configured limits."""
        return cls(
            settings.max_body_bytes,
            settings.body_timeout_seconds,
            Limiter(settings.rate_limit_address_rps, settings.rate_limit_address_burst),
        )


class Edge:
    """The middleware. `unavailable_on` lists exception classes that mean "a part is down"."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        service: str,
        limits: Limits,
        unavailable_on: tuple[type[Exception], ...] = (),
    ) -> None:
        self.app = app
        self._service = service
        self._limits = limits
        self._unavailable_on = unavailable_on

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "http":
            await self._serve_request(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._serve_socket(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _serve_request(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange(scope, receive, send, self._limits)
        token = request_id_var.set(exchange.request_id)
        try:
            with start_span("HTTP", "server", parent=exchange.traceparent, root=True) as span:
                try:
                    self._admit(scope, exchange)
                    await self.app(scope, exchange.receive, exchange.send)
                except Exception as error:
                    await self._last_resort(scope, exchange, error)
                finally:
                    self._measure(scope, exchange, span)
        finally:
            request_id_var.reset(token)

    def _admit(self, scope: Scope, exchange: "Exchange") -> None:
        if exchange.declared_bytes > self._limits.body_bytes:
            raise too_large(self._limits.body_bytes)
        if scope["path"].removeprefix(scope.get("root_path", "")) not in PROBES:
            self._limit_address(scope)

    def _limit_address(self, scope: Scope) -> None:
        client = scope.get("client")
        try:
            self._limits.addresses.take(client[0] if client else "")
        except RateLimited:
            RATE_LIMITED.add(1, service=self._service, by="address")
            raise

    async def _last_resort(self, scope: Scope, exchange: "Exchange", error: Exception) -> None:
        if isinstance(error, KefuError):
            problem = error
        else:
            problem = from_unforeseen(error, self._unavailable_on)
            log.error(problem.code, path=scope["path"], exc_info=error)
        if exchange.status:
            # Half an answer is out; only cutting the connection tells that it is incomplete.
            raise error
        await problem_response(problem)(scope, exchange.receive, exchange.send)

    def _measure(self, scope: Scope, exchange: "Exchange", span: Span) -> None:
        method = scope["method"] if scope["method"] in METHODS else "OTHER"
        route = route_template(scope, exchange.outer_route)
        status = str(exchange.status or 499)  # 499: the client left before the answer began
        HTTP_REQUEST_SECONDS.record(
            time.perf_counter() - exchange.started,
            service=self._service,
            method=method,
            route=route,
            status=status,
        )
        if span.recording:
            span.rename(f"{method} {route}")
            span.set(
                {
                    "http.request.method": method,
                    "http.route": route,
                    "http.response.status_code": exchange.status,
                    "kefu.service": self._service,
                }
            )
            if exchange.status >= 500:
                span.fail(status)

    async def _serve_socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        token = request_id_var.set(_request_id(dict(scope["headers"]).get(b"x-request-id")))
        accepted = False

        async def note_accept(message: Message) -> None:
            nonlocal accepted
            accepted = accepted or message["type"] == "websocket.accept"
            await send(message)

        try:
            self._limit_address(scope)
            await self.app(scope, receive, note_accept)
        except WebSocketDisconnect:
            pass
        except Exception as error:
            if not isinstance(error, KefuError):
                log.error("socket_failed", path=scope["path"], exc_info=error)
            await self._end_socket(WebSocket(scope, receive, send), error, accepted)
        finally:
            request_id_var.reset(token)

    async def _end_socket(self, websocket: WebSocket, error: Exception, accepted: bool) -> None:
        with contextlib.suppress(RuntimeError, OSError):  # the other side may be gone already
            if accepted:
                await websocket.send({"type": "websocket.close", "code": 1011, "reason": ""})
                return
            known = isinstance(error, KefuError)
            problem = error if known else from_unforeseen(error, self._unavailable_on)
            assert isinstance(problem, KefuError)
            await deny(websocket, problem_response(problem))


class Exchange:
    """One request and its answer, as they pass through."""

    __slots__ = (
        "_deadline",
        "_ended",
        "_limits",
        "_receive",
        "_received",
        "_send",
        "declared_bytes",
        "outer_route",
        "request_id",
        "started",
        "status",
        "traceparent",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send, limits: Limits) -> None:
        self._receive = receive
        self._send = send
        self._limits = limits
        self._received = 0
        self._ended = False
        self._deadline: float | None = None
        self.started = time.perf_counter()
        self.status = 0
        self.outer_route = scope.get("route")
        request_id = traceparent = None
        self.declared_bytes = 0
        for name, value in scope["headers"]:
            if name == b"content-length":
                self.declared_bytes = int(value) if value.isdigit() and len(value) < 19 else 0
            elif name == b"x-request-id":
                request_id = value
            elif name == b"traceparent":
                traceparent = value.decode("latin-1")
        self.request_id = _request_id(request_id)
        self.traceparent = valid_traceparent(traceparent)

    async def receive(self) -> Message:
        """The next part of the request; 413 when it is too long, 408 when it takes too long."""
        if self._ended:
            return await self._receive()
        message = await self._receive_in_time()
        if message["type"] == "http.request":
            self._received += len(message.get("body", b""))
            if self._received > self._limits.body_bytes:
                # An HTTPException, for FastAPI turns every other error of a body into a 400.
                raise HTTPException(413)
            self._ended = not message.get("more_body", False)
        return message

    async def _receive_in_time(self) -> Message:
        loop = asyncio.get_running_loop()
        if self._deadline is None:
            self._deadline = loop.time() + self._limits.body_seconds
        timer = asyncio.timeout_at(self._deadline)
        try:
            async with timer:
                return await self._receive()
        except TimeoutError:
            if not timer.expired():
                raise
            raise HTTPException(408) from None

    async def send(self, message: Message) -> None:
        """The next part of the answer, its head with our headers."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = _completed(message.get("headers", ()), self.request_id)
            message = {**message, "headers": headers}
        await self._send(message)


def _completed(headers: Iterable[tuple[bytes, bytes]], request_id: str) -> list[Header]:
    """The headers of an answer with those that every answer has."""
    complete: list[Header] = [(b"x-request-id", request_id.encode()), *SECURITY_HEADERS]
    storable = page = False
    for header in headers:
        name, value = header
        if name == b"cache-control":
            storable = True
        elif name == b"content-security-policy" or (name == b"content-type" and b"html" in value):
            page = True
        complete.append(header)
    if not storable:
        complete.append(_NO_STORE)
    if not page:
        complete.append(_API_POLICY)
    return complete


def _request_id(given: bytes | None) -> str:
    if given is not None and _REQUEST_ID.fullmatch(given):
        return given.decode("ascii")
    return new_id()


def too_large(limit: int) -> TooLarge:
    """The error for a body above `limit` bytes."""
    return TooLarge(f"The body is larger than {limit} bytes.", extra={"max_bytes": limit})


def route_template(scope: Scope, outer_route: object = None) -> str:
    """The path's template, such as `/v1/orders/{order_id}`; `none` where no route matched.

    `outer_route` is the mount through which the request came, which is no route of ours.
    """
    included: Any = scope.get("fastapi", {}).get("effective_route_context")
    route = included or scope.get("route")
    if route is None or route is outer_route:
        return "none"
    return str(getattr(route, "path_format", "none"))
