"""The demo application, tokens for it, and a client."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from common.auth.keys import SigningKey, load_or_create_signing_key
from common.auth.principal import Role
from common.auth.tokens import issue_token
from common.auth.verifiers import build_verifier
from common.settings import Settings
from common.telemetry.instruments import Metrics, counted
from common.web.app import create_app
from common.web.health import Probes
from common.web.serve import server_options

from .demo import demo_routes, failing_routes

Bearer = Callable[..., dict[str, str]]
Build = Callable[..., FastAPI]


@pytest.fixture
def metrics() -> Iterator[Metrics]:
    with counted() as running:
        yield running


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, port=0)


@pytest.fixture
def key(settings: Settings) -> SigningKey:
    return load_or_create_signing_key(settings)


@pytest.fixture
def token(key: SigningKey, settings: Settings) -> Callable[..., str]:
    def make(*roles: Role, subject: str = "a1", shop: str = "demo", seconds: float = 600) -> str:
        return issue_token(
            key, settings, subject=subject, roles=roles, shop_id=shop, lifetime_seconds=seconds
        )

    return make


@pytest.fixture
def bearer(token: Callable[..., str]) -> Bearer:
    def make(*roles: Role, **rest: Any) -> dict[str, str]:
        return {"Authorization": f"Bearer {token(*roles, **rest)}"}

    return make


@pytest.fixture
def build(settings: Settings, metrics: Metrics) -> Build:
    """Makes the demo application, with some settings changed."""

    def make(**changed: Any) -> FastAPI:
        probes = changed.pop("probes", Probes())
        return create_app(
            "Demo",
            "demo",
            (changed_settings := settings.model_copy(update=changed)),
            routers=[demo_routes(), failing_routes()],
            verifier=build_verifier(changed_settings),
            probes=probes,
            unavailable_on=(LookupError,),
        )

    return make


@pytest.fixture
def unlimited(build: Build) -> FastAPI:
    return build(rate_limit_address_rps=1e9, rate_limit_token_rps=1e9)


def client_of(app: Any, address: str = "127.0.0.1") -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=(address, 1))
    return httpx.AsyncClient(transport=transport, base_url="http://demo")


@pytest.fixture
def new_client() -> Callable[..., httpx.AsyncClient]:
    return client_of


@pytest.fixture
async def client(build: Build) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(build()) as opened:
        yield opened


@contextlib.asynccontextmanager
async def serving(app: FastAPI, settings: Settings) -> AsyncIterator[tuple[str, int]]:
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, **server_options(settings)))
    running = asyncio.create_task(server.serve([listener]))
    async with asyncio.timeout(10):
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event to wait for
            await asyncio.sleep(0.01)
    try:
        yield listener.getsockname()
    finally:
        server.should_exit = True
        await running


@pytest.fixture
def served(settings: Settings) -> Callable[[FastAPI], Any]:
    """Serves an application with uvicorn on a port of its own."""
    return lambda app: serving(app, settings)
