"""Probes: does the process move (`/healthz`), can it serve (`/readyz`), what does it count.

Liveness looks at nothing outside the process: a restart does not bring a database back.
Readiness asks the parts that serving needs, at most once a second however often it is asked.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.responses import JSONResponse, Response

from common.auth.guards import public
from common.telemetry.instruments import setup_metrics

CHECK_SECONDS = 2.0
REMEMBER_SECONDS = 1.0

Liveness = Callable[[], str | None]
"""None while a loop moves, else what is wrong with it (English, no personal data)."""
Check = Callable[[], Awaitable[None]]
"""Returns when the part answers, raises when it does not."""


_EXPOSITION: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/plain": {"schema": {"type": "string"}}}}
}


class Health(BaseModel):
    """The state of a process."""

    status: str = Field(description="`ok` or `failing`.", examples=["ok"])
    reasons: dict[str, str] = Field(
        default_factory=dict, description="What fails, by the name of the part."
    )


_FAILING: dict[int | str, dict[str, Any]] = {503: {"model": Health, "description": "Failing"}}


@dataclass(slots=True)
class Probes:
    """What decides about a process's health. The composition root adds to it as it starts parts.

    Until `started` is set the process is alive but not ready; when `draining` is set it stays
    alive, finishes what it has and gets no new work.
    """

    liveness: dict[str, Liveness] = field(default_factory=dict)
    checks: dict[str, Check] = field(default_factory=dict)
    started: bool = False
    draining: bool = False
    _seen: Health | None = None
    _seen_at: float = float("-inf")
    _asking: asyncio.Lock = field(default_factory=asyncio.Lock)

    def alive(self) -> Health:
        """Whether every loop moves."""
        found = {name: probe() for name, probe in self.liveness.items()}
        return _health({name: reason for name, reason in found.items() if reason})

    async def ready(self) -> Health:
        """Whether requests can be served now."""
        if self.draining:
            return _health({"process": "shutting down"})
        if not self.started:
            return _health({"process": "starting"})
        async with self._asking:
            if self._seen is None or time.monotonic() - self._seen_at > REMEMBER_SECONDS:
                self._seen = await self._ask()
                self._seen_at = time.monotonic()
            return self._seen

    async def _ask(self) -> Health:
        answers = await asyncio.gather(*(_reason(check) for check in self.checks.values()))
        reasons = dict(zip(self.checks, answers, strict=True))
        return _health({name: reason for name, reason in reasons.items() if reason})


def _health(reasons: dict[str, str]) -> Health:
    return Health(status="failing" if reasons else "ok", reasons=reasons)


async def _reason(check: Check) -> str | None:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            await check()
    except TimeoutError:
        return f"no answer within {CHECK_SECONDS:g} s"
    except Exception as error:
        # The class only: a driver's message may name hosts and users.
        return type(error).__name__
    return None


def _answer(health: Health) -> Response:
    return JSONResponse(health.model_dump(), 200 if health.status == "ok" else 503)


def probe_routes(probes: Probes) -> APIRouter:
    """`/healthz`, `/readyz` and `/metrics`."""
    router = APIRouter(tags=["operations"], dependencies=[public()])

    @router.get("/healthz", response_model=Health, responses=_FAILING)
    async def healthz() -> Response:
        """Does the process move? 503 with the stuck loops asks for a restart."""
        return _answer(probes.alive())

    @router.get("/readyz", response_model=Health, responses=_FAILING)
    async def readyz() -> Response:
        """Can it serve now? 503 with the missing parts asks for no traffic."""
        return _answer(await probes.ready())

    @router.get("/metrics", response_class=Response, responses=_EXPOSITION)
    async def metrics() -> Response:
        """Every metric in Prometheus' text format (docs/common/telemetry.md lists them)."""
        counted = setup_metrics()  # started already; the same again
        return Response(counted.exposition(), headers={"content-type": counted.content_type})

    return router
