"""What every request gets, whatever it asks for."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import Mount

from common.auth.principal import Role
from common.errors import error_kinds
from common.settings import Settings
from common.telemetry.instruments import Metrics
from common.telemetry.traces import recorded_spans

Bearer = Callable[..., dict[str, str]]
Build = Callable[..., FastAPI]
NewClient = Callable[..., httpx.AsyncClient]


def assert_problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert problem["code"] == code
    assert problem["type"] == f"urn:kefu:problem:{code}"
    assert problem["status"] == status
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert code in {kind.code for kind in error_kinds()}
    return problem


@pytest.mark.parametrize(
    "method, path, status, code",
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("GET", "/v1/greeting/", 404, "not_found"),
        ("DELETE", "/v1/greeting", 405, "method_not_allowed"),
        ("BREW", "/v1/greeting", 405, "method_not_allowed"),
        ("GET", "/broken/conflict", 409, "conflict"),
        ("GET", "/broken/bug", 500, "internal_error"),
        ("GET", "/broken/database", 503, "unavailable"),
        ("GET", "/broken/connection", 503, "unavailable"),
        ("GET", "/broken/timeout", 503, "unavailable"),
        ("GET", "/broken/part", 503, "unavailable"),
        ("GET", "/v1/notes", 401, "unauthorized"),
    ],
)
async def test_every_error_leaves_as_a_problem_document(
    client: httpx.AsyncClient, method: str, path: str, status: int, code: str
) -> None:
    problem = assert_problem(await client.request(method, path), status, code)
    assert problem["hint"]


async def test_no_word_of_an_unforeseen_error_leaves_the_service(
    client: httpx.AsyncClient,
) -> None:
    answer = await client.get("/broken/bug")
    for word in ("13800138000", "secret", "Traceback", "ValueError"):
        assert word not in answer.text
    answer = await client.get("/broken/database")
    assert "disk" not in answer.text
    assert "SELECT" not in answer.text


async def test_what_is_down_says_when_to_come_back(client: httpx.AsyncClient) -> None:
    answer = await client.get("/broken/database")
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.json()["retry_after"] == int(answer.headers["retry-after"])


async def test_a_wrong_method_names_the_right_ones(client: httpx.AsyncClient) -> None:
    answer = await client.delete("/v1/greeting")
    assert answer.headers["allow"] == "GET"


async def test_security_headers_stand_on_answers_and_on_errors(client: httpx.AsyncClient) -> None:
    for path in ("/v1/greeting", "/nowhere", "/broken/bug"):
        headers = (await client.get(path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "server" not in headers


async def test_a_request_id_is_kept_when_it_is_harmless(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/greeting", headers={"X-Request-Id": "web-1.2_3"})
    assert answer.headers["x-request-id"] == "web-1.2_3"


@pytest.mark.parametrize("given", [b"", b"a b", b"\xe5\xae\xa2", b"x" * 65, b"a\tb", b"{}"])
async def test_a_request_id_that_could_do_harm_is_replaced(
    client: httpx.AsyncClient, given: bytes
) -> None:
    answer = await client.get("/v1/greeting", headers={b"X-Request-Id": given})
    assert answer.headers["x-request-id"].encode() != given
    assert len(answer.headers["x-request-id"]) == 36


async def test_a_declared_body_above_the_limit_is_refused_unread(
    build: Build, new_client: NewClient, bearer: Bearer
) -> None:
    read = False

    async def unread() -> AsyncIterator[bytes]:
        nonlocal read
        read = True
        yield b" " * 2000

    headers = bearer(Role.BUYER) | {"Content-Length": "2000", "Idempotency-Key": "k"}
    async with new_client(build(max_body_bytes=1024)) as client:
        answer = await client.post("/v1/notes", content=unread(), headers=headers)
    problem = assert_problem(answer, 413, "too_large")
    assert problem["max_bytes"] == 1024
    assert not read


async def test_a_chunked_body_above_the_limit_is_cut_off_while_it_streams(
    build: Build, new_client: NewClient, bearer: Bearer
) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 512
            yield b" " * 512

    headers = bearer(Role.BUYER) | {"Idempotency-Key": "k", "Content-Type": "application/json"}
    async with new_client(build(max_body_bytes=2048)) as client:
        answer = await client.post("/v1/notes", content=endless(), headers=headers)
    assert_problem(answer, 413, "too_large")
    assert sent <= 2048 + 2 * 512


async def test_a_body_that_does_not_arrive_in_time_is_given_up(
    build: Build, served: Callable[[FastAPI], Any], bearer: Bearer
) -> None:
    authorization = bearer(Role.BUYER)["Authorization"]
    async with served(build(body_timeout_seconds=0.2)) as (host, port):
        reader, writer = await asyncio.open_connection(host, port)
        head = (
            f"POST /v1/notes HTTP/1.1\r\nHost: {host}\r\nAuthorization: {authorization}\r\n"
            "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
        )
        writer.write(head.encode())
        async with asyncio.timeout(10):
            answer = await reader.read(4096)
        writer.close()
    assert b" 408 " in answer.splitlines()[0]
    assert b"request_timeout" in answer


async def test_an_address_above_its_rate_waits_and_others_do_not(
    build: Build, new_client: NewClient, metrics: Metrics
) -> None:
    app = build(rate_limit_address_rps=0.01, rate_limit_address_burst=3)
    async with new_client(app, "10.0.0.1") as noisy, new_client(app, "10.0.0.2") as quiet:
        answers = [await noisy.get("/v1/greeting") for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert_problem(answers[-1], 429, "rate_limited")
        assert 90 <= int(answers[-1].headers["retry-after"]) <= 101
        assert (await quiet.get("/v1/greeting")).status_code == 200
        # A flood must not make the probes fail, or the process would be restarted for it.
        assert (await noisy.get("/healthz")).status_code == 200
    exposed = metrics.exposition().decode()
    assert 'kefu_http_rate_limited_total{by="address",service="demo"} 1.0' in exposed


async def test_a_subject_above_its_rate_waits_whatever_its_address_and_token(
    build: Build, new_client: NewClient, bearer: Bearer
) -> None:
    app = build(rate_limit_token_rps=0.01, rate_limit_token_burst=2)
    async with new_client(app, "10.0.0.1") as one, new_client(app, "10.0.0.2") as two:
        first, second = bearer(Role.AGENT), bearer(Role.AGENT, seconds=900)
        assert (await one.get("/v1/notes", headers=first)).status_code == 200
        assert (await two.get("/v1/notes", headers=second)).status_code == 200
        assert_problem(await two.get("/v1/notes", headers=first), 429, "rate_limited")
        other = bearer(Role.AGENT, subject="a2")
        assert (await one.get("/v1/notes", headers=other)).status_code == 200
        elsewhere = bearer(Role.AGENT, shop="other")
        assert (await one.get("/v1/notes", headers=elsewhere)).status_code == 200


async def test_requests_are_measured_by_template_not_by_path(
    client: httpx.AsyncClient, metrics: Metrics, bearer: Bearer
) -> None:
    await client.get("/v1/notes/n1", headers=bearer(Role.AGENT))
    await client.get("/v1/notes/x1", headers=bearer(Role.AGENT))
    await client.get("/nowhere/13800138000")
    await client.request("BREW", "/v1/greeting")
    exposed = metrics.exposition().decode()
    count = "kefu_http_request_duration_seconds_count"
    for labels in (
        'method="GET",route="/v1/notes/{note_id}",service="demo",status="200"',
        'method="GET",route="/v1/notes/{note_id}",service="demo",status="404"',
        'method="GET",route="none",service="demo",status="404"',
        'method="OTHER",route="/v1/greeting",service="demo",status="405"',
    ):
        assert f"{count}{{{labels}}} 1.0" in exposed
    assert "13800138000" not in exposed


async def test_behind_a_mount_templates_are_the_applications_own(
    build: Build, new_client: NewClient, metrics: Metrics
) -> None:
    async with new_client(Starlette(routes=[Mount("/demo", build())])) as client:
        assert (await client.get("/demo/v1/greeting")).status_code == 200
        assert_problem(await client.get("/demo/nowhere"), 404, "not_found")
        assert (await client.get("/demo/healthz")).status_code == 200
    exposed = metrics.exposition().decode()
    count = "kefu_http_request_duration_seconds_count"
    own = 'method="GET",route="/v1/greeting",service="demo",status="200"'
    assert f"{count}{{{own}}} 1.0" in exposed
    assert f'{count}{{method="GET",route="none",service="demo",status="404"}} 1.0' in exposed


async def test_a_request_goes_on_with_the_trace_it_came_with(client: httpx.AsyncClient) -> None:
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    with recorded_spans() as spans:
        await client.get(
            "/v1/notes/a", headers={"traceparent": f"00-{trace_id}-00f067aa0ba902b7-01"}
        )
        await client.get("/broken/bug", headers={"traceparent": "garbage"})
        first, second = spans.get_finished_spans()
    assert f"{first.context.trace_id:032x}" == trace_id
    assert first.name == "GET /v1/notes/{note_id}"
    assert first.attributes is not None
    assert first.attributes["http.response.status_code"] == 401
    assert first.status.is_unset
    assert second.parent is None
    assert not second.status.is_ok
    assert second.attributes is not None
    assert second.attributes["error.type"] == "500"


async def test_pages_of_known_origins_may_call_and_read_what_they_need(
    build: Build, new_client: NewClient
) -> None:
    asked = {"Origin": "https://desk.example", "Access-Control-Request-Method": "POST"}
    async with new_client(build(cors_origins=("https://desk.example",))) as client:
        preflight = await client.options("/v1/notes", headers=asked)
        assert preflight.headers["access-control-allow-origin"] == "https://desk.example"
        refused = await client.options("/v1/notes", headers=asked | {"Origin": "https://evil"})
        assert "access-control-allow-origin" not in refused.headers
        # Errors too: a page that cannot read a 429 cannot wait.
        error = await client.get("/nowhere", headers={"Origin": "https://desk.example"})
        assert error.headers["access-control-allow-origin"] == "https://desk.example"
        assert "Retry-After" in error.headers["access-control-expose-headers"]


async def test_without_origins_no_page_may_call(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/greeting", headers={"Origin": "https://desk.example"})
    assert "access-control-allow-origin" not in answer.headers


async def test_the_docs_page_is_for_development_only(build: Build, new_client: NewClient) -> None:
    async with new_client(build()) as client:
        assert (await client.get("/docs")).status_code == 200
    async with new_client(build(env="prod", allow_local_tokens=True)) as client:
        assert (await client.get("/docs")).status_code == 404
        assert (await client.get("/openapi.json")).status_code == 200


def test_settings_of_the_edge_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEFU_MAX_BODY_BYTES", "2048")
    assert Settings().max_body_bytes == 2048
