"""The application factory: what every service's HTTP and WebSocket edge has in common."""

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.telemetry import TelemetryConfig
from starlette.middleware.cors import CORSMiddleware

from common.auth.gate import Gate
from common.auth.guards import assert_every_route_declares_roles
from common.auth.principal import Principal
from common.auth.verifiers import Verifier
from common.errors import RateLimited
from common.settings import Settings
from common.telemetry.instruments import setup_metrics
from common.telemetry.metrics import RATE_LIMITED
from common.web.edge import Edge, Limits
from common.web.health import Probes, probe_routes
from common.web.limits import Limiter
from common.web.openapi import describe_api, duplicate_operation_ids
from common.web.problems import install_problem_handlers

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]

ALLOWED_HEADERS = (
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "If-Match",
    "If-None-Match",
    "X-Request-Id",
    "traceparent",
)
EXPOSED_HEADERS = ("ETag", "Location", "Retry-After", "X-Request-Id")

# FastAPI would record spans and logs of its own beside ours, query strings included.
_OWN_TELEMETRY = TelemetryConfig(tracing=False, metrics=False, logs=False, auto_configure=False)


@contextlib.asynccontextmanager
async def _nothing(_app: FastAPI) -> AsyncIterator[None]:
    yield


def create_app(
    title: str,
    service: str,
    settings: Settings,
    *,
    routers: Sequence[APIRouter],
    verifier: Verifier,
    lifespan: Lifespan = _nothing,
    probes: Probes | None = None,
    description: str = "",
    unavailable_on: tuple[type[Exception], ...] = (),
) -> FastAPI:
    """An application with the conventions of docs/api.md.

    `lifespan` starts and stops what the service needs; the process is ready once it was entered.
    `probes` decide about health, `unavailable_on` lists exception classes that become 503.
    Raises `AssertionError` for a route that does not declare who may call it, or for two routes
    of one name. The application closes the verifier when it stops.
    """
    setup_metrics()
    probes = probes or Probes()
    app = FastAPI(
        title=title,
        version=product_version(),
        description=description,
        lifespan=_around(lifespan, probes, verifier),
        docs_url="/docs" if settings.env == "dev" else None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry=_OWN_TELEMETRY,
    )
    app.state.gate = Gate(
        verifier, origins=settings.cors_origins, admit=_subject_limit(service, settings)
    )
    app.state.settings = settings
    app.state.service = service
    app.state.probes = probes
    for router in (*routers, probe_routes(probes)):
        # Not `include_router`: it builds every route a second time, with all its dependencies and
        # models, to apply what is said at the inclusion. Here nothing is.
        app.router.routes.extend(router.routes)
    install_problem_handlers(app)
    app.add_middleware(
        Edge, service=service, limits=Limits.by(settings), unavailable_on=unavailable_on
    )
    _allow_origins(app, settings.cors_origins)
    _describe(app, service)
    return app


def product_version() -> str:
    """The installed version of the product."""
    try:
        return version("kefu")
    except PackageNotFoundError:
        return "0"


def _around(lifespan: Lifespan, probes: Probes, verifier: Verifier) -> Lifespan:
    @contextlib.asynccontextmanager
    async def whole(app: FastAPI) -> AsyncIterator[None]:
        try:
            async with lifespan(app):
                probes.started = True
                try:
                    yield
                finally:
                    probes.draining = True
        finally:
            await verifier.close()

    return whole


def _subject_limit(service: str, settings: Settings) -> Callable[[Principal], None]:
    rate, burst = settings.rate_limit_token_rps, settings.rate_limit_token_burst
    factor = settings.rate_limit_system_factor
    usual = Limiter(rate, burst)
    systems = Limiter(rate * factor, int(burst * factor))

    def admit(principal: Principal) -> None:
        limiter = systems if principal.kind == "system" else usual
        try:
            limiter.take(f"{principal.shop_id}/{principal.subject}")
        except RateLimited:
            RATE_LIMITED.add(1, service=service, by="subject")
            raise

    return admit


def _allow_origins(app: FastAPI, origins: tuple[str, ...]) -> None:
    if origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=ALLOWED_HEADERS,
            expose_headers=EXPOSED_HEADERS,
            max_age=600,
        )


def _describe(app: FastAPI, service: str) -> None:
    assert_every_route_declares_roles(app)
    if doubles := duplicate_operation_ids(app, service):
        raise AssertionError(f"two routes have the same name: {doubles}")

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = describe_api(app, service)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
