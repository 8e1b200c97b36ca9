"""The probes tell the truth about the process."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import httpx
from fastapi import FastAPI

from common.web.health import Probes

Build = Callable[..., FastAPI]
NewClient = Callable[..., httpx.AsyncClient]


async def test_a_stuck_loop_fails_liveness_and_is_named(
    build: Build, new_client: NewClient
) -> None:
    stuck: list[str] = []
    probes = Probes(liveness={"relay": lambda: stuck[0] if stuck else None})
    async with new_client(build(probes=probes)) as client:
        assert (await client.get("/healthz")).json() == {"status": "ok", "reasons": {}}
        stuck.append("no round for 31 s")
        answer = await client.get("/healthz")
    assert answer.status_code == 503
    assert answer.json()["reasons"] == {"relay": "no round for 31 s"}


async def test_a_process_is_ready_from_its_start_to_its_drain(
    build: Build, new_client: NewClient
) -> None:
    probes = Probes()
    app = build(probes=probes)
    async with new_client(app) as client:
        assert (await client.get("/readyz")).json()["reasons"] == {"process": "starting"}
        async with app.router.lifespan_context(app):
            assert (await client.get("/readyz")).status_code == 200
        answer = await client.get("/readyz")
        assert answer.status_code == 503
        assert answer.json()["reasons"] == {"process": "shutting down"}
        assert (await client.get("/healthz")).status_code == 200


async def test_a_part_that_is_down_or_silent_fails_readiness_and_not_liveness(
    build: Build, new_client: NewClient, monkeypatch: Any
) -> None:
    monkeypatch.setattr("common.web.health.CHECK_SECONDS", 0.05)

    async def down() -> None:
        raise ConnectionRefusedError("10.1.2.3 as user kefu")

    async def silent() -> None:
        await asyncio.Event().wait()

    async def fine() -> None:
        return None

    probes = Probes(checks={"bus": down, "database": silent, "cache": fine}, started=True)
    async with new_client(build(probes=probes)) as client:
        answer = await client.get("/readyz")
        assert (await client.get("/healthz")).status_code == 200
    assert answer.status_code == 503
    reasons = answer.json()["reasons"]
    assert reasons["bus"] == "ConnectionRefusedError"
    assert "no answer" in reasons["database"]
    assert "cache" not in reasons
    assert "10.1.2.3" not in answer.text


async def test_a_flood_of_readiness_questions_asks_the_parts_once() -> None:
    asked = 0

    async def ask() -> None:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0)

    probes = Probes(checks={"database": ask}, started=True)
    began = time.monotonic()
    await asyncio.gather(*(probes.ready() for _ in range(100)))
    assert asked <= 1 + (time.monotonic() - began)


async def test_metrics_are_exposed_as_prometheus_reads_them(client: httpx.AsyncClient) -> None:
    answer = await client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert "# TYPE kefu_http_request_duration_seconds histogram" in answer.text
    assert "process_resident_memory_bytes" in answer.text
