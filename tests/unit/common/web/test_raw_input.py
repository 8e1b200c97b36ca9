"""Bytes that no client library would send: none of them may make the application fail."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.types import Message

from common.auth.principal import Role

Bearer = Callable[..., dict[str, str]]

HEADER_NAMES = [
    b"authorization", b"content-length", b"content-type", b"cookie", b"if-match",
    b"if-none-match", b"idempotency-key", b"x-request-id", b"traceparent", b"origin", b"host",
    b"transfer-encoding", b"accept", b"sec-websocket-protocol",
]  # fmt: skip
TARGETS = ["/v1/notes", "/v1/notes/n1", "/v1/shops/demo/notes", "/healthz", "/v1/greeting"]

headers = st.lists(st.tuples(st.sampled_from(HEADER_NAMES), st.binary(max_size=40)), max_size=6)
paths = st.sampled_from(TARGETS) | st.builds(
    lambda start, end: f"{start}/{end}", st.sampled_from(TARGETS), st.text(max_size=20)
)


async def exchange(app: FastAPI, scope: dict[str, Any], parts: list[bytes]) -> int:
    statuses: list[int] = []
    left = [
        {"type": "http.request", "body": part, "more_body": n + 1 < len(parts)}
        for n, part in enumerate(parts or [b""])
    ]

    async def receive() -> Message:
        return left.pop(0) if left else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    async with asyncio.timeout(30):
        await app(scope, receive, send)
    (status,) = statuses
    return status


@pytest.mark.parametrize("signed_in", [True, False])
@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "X-Y"]),
    path=paths,
    query=st.binary(max_size=60),
    sent=headers,
    parts=st.lists(st.binary(max_size=200), max_size=4),
)
async def test_no_bytes_make_it_fail(
    unlimited: FastAPI,
    bearer: Bearer,
    signed_in: bool,
    method: str,
    path: str,
    query: bytes,
    sent: list[tuple[bytes, bytes]],
    parts: list[bytes],
) -> None:
    if signed_in:
        token = bearer(Role.ADMIN, Role.BUYER)["Authorization"].encode()
        sent = [(b"authorization", token), (b"content-type", b"application/json"), *sent]
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "path": path,
        "raw_path": path.encode("utf-8", "surrogatepass"),
        "root_path": "",
        "query_string": query,
        "scheme": "http",
        "headers": sent,
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    assert await exchange(unlimited, scope, parts) < 500
