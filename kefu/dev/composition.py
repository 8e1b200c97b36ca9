"""The four services as one application: mounted, started and stopped together, on one bus."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route

from common.auth.verifiers import build_verifier
from common.bus.embedded import EmbeddedBus
from common.db.migrate import migrate
from common.runtime.service import Service
from common.settings import Settings
from common.web.app import product_version
from common.web.serving import service_app
from kefu.dev.openapi import Document, combine
from kefu.sandbox import Sandbox
from kefu.services import SERVICE_NAMES, build_service

DOCS = Path(__file__).with_name("docs.html")
TITLE = "Kefu: customer service for online shops"


class Composition:
    """Everything that runs in the one process."""

    def __init__(self, settings: Settings) -> None:
        self.bus = EmbeddedBus(settings.home / "bus.db")
        self.services: dict[str, Service] = {
            name: build_service(name, settings, self.bus) for name in SERVICE_NAMES
        }
        self.apps: dict[str, FastAPI] = {
            name: service_app(service, verifier=build_verifier(settings))
            for name, service in self.services.items()
        }
        self.sandbox = Sandbox(self.bus, settings.home / "sandbox.db")
        self.seeded = False
        self._document: Document | None = None
        self.app = Starlette(routes=self._routes(), lifespan=self._life)

    async def migrate(self) -> None:
        """Brings every schema up to date."""
        for service in self.services.values():
            made_of = service.definition
            await migrate(service.database, made_of.migrations, metadata=made_of.metadata)

    @contextlib.asynccontextmanager
    async def _life(self, _app: Starlette) -> AsyncIterator[None]:
        await self.bus.start()
        await self.bus.dismiss_members()  # the home's lock says that we are alone
        try:
            async with contextlib.AsyncExitStack() as running:
                # Entered one after the other, left the other way round: the sandbox first.
                for app in self.apps.values():
                    await running.enter_async_context(app.router.lifespan_context(app))
                await running.enter_async_context(self.sandbox.running())
                yield
        finally:
            await self.bus.close()

    def _routes(self) -> list[Route | Mount]:
        return [
            Route("/", self._home),
            Route("/healthz", self._healthz),
            Route("/openapi.json", self._openapi),
            Route("/docs", self._docs),
            *(Mount(f"/{name}", app) for name, app in self.apps.items()),
        ]

    async def _home(self, _request: Request) -> Response:
        return RedirectResponse("/docs")

    async def _healthz(self, _request: Request) -> Response:
        """200 once every service is ready and the demo shop is there."""
        answers = await asyncio.gather(*(app.state.probes.ready() for app in self.apps.values()))
        reasons = {
            f"{name}.{part}": reason
            for name, health in zip(self.apps, answers, strict=True)
            for part, reason in health.reasons.items()
        }
        if not self.seeded:
            reasons["demo shop"] = "being set up"
        status = "failing" if reasons else "ok"
        return JSONResponse({"status": status, "reasons": reasons}, 503 if reasons else 200)

    async def _openapi(self, _request: Request) -> Response:
        return Response(
            json.dumps(self.document(), ensure_ascii=False), media_type="application/json"
        )

    def document(self) -> dict[str, Any]:
        """The combined OpenAPI document, made when first asked for."""
        if self._document is None:
            documents = {name: app.openapi() for name, app in self.apps.items()}
            self._document = combine(documents, TITLE, product_version())
        return self._document

    async def _docs(self, _request: Request) -> Response:
        """A page of our own: the usual ones load their scripts from elsewhere."""
        return FileResponse(DOCS, media_type="text/html")
