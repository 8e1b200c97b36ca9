"""Puts a service behind its HTTP application, and gives endpoints the service they belong to."""

import contextlib
from collections.abc import AsyncIterator
from typing import Annotated

import asyncpg
import sqlalchemy.exc
from fastapi import Depends, FastAPI
from starlette.requests import HTTPConnection

from common.auth.verifiers import Verifier, build_verifier
from common.runtime.service import Service
from common.web.app import create_app
from common.web.health import Probes

# Drivers' ways of saying that the database cannot be used now: 503, not 500.
OUTAGES: tuple[type[Exception], ...] = (
    sqlalchemy.exc.InterfaceError,
    sqlalchemy.exc.OperationalError,
    sqlalchemy.exc.TimeoutError,
    asyncpg.PostgresConnectionError,
    ConnectionError,
    TimeoutError,
)


def service_app(
    service: Service, *, verifier: Verifier | None = None, runs_service: bool = True
) -> FastAPI:
    """The application of a service. With `runs_service` it starts and stops the service too."""

    @contextlib.asynccontextmanager
    async def life(_app: FastAPI) -> AsyncIterator[None]:
        if not runs_service:
            yield
            return
        await service.start()
        try:
            yield
        finally:
            await service.stop()

    app = create_app(
        service.definition.title,
        service.name,
        service.settings,
        routers=service.definition.routers,
        verifier=verifier or build_verifier(service.settings),
        probes=_probes(service),
        unavailable_on=OUTAGES,
        lifespan=life,
    )
    app.state.runtime = service
    return app


def _probes(service: Service) -> Probes:
    def stuck() -> str | None:
        stalled = service.stalled()
        return f"stuck loops: {', '.join(stalled)}" if stalled else None

    probes = Probes()
    probes.liveness["loops"] = stuck
    probes.checks["loops"] = service.check_loops
    probes.checks["database"] = service.database.ping
    probes.checks["bus"] = service.bus.ping
    return probes


async def service_of(connection: HTTPConnection) -> Service:
    """The service that an endpoint belongs to."""
    service: Service = connection.app.state.runtime
    return service


RunningService = Annotated[Service, Depends(service_of)]
