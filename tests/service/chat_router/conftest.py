"""A running chat_router on each database, its HTTP client, and callers of every kind."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from chat_router.app import SERVICE
from common.auth.keys import load_or_create_signing_key
from common.auth.principal import Role
from common.auth.tokens import issue_token
from common.contracts import Event
from common.ids import new_id
from common.runtime import Service
from common.web.serving import service_app
from tests.support.harness import MovableClock, publish, published, running, until

SHOP = "demo"


@dataclass
class Caller:
    """Somebody with a token who calls the API."""

    http: httpx.AsyncClient
    token: str
    subject: str

    async def call(self, method: str, path: str, **rest: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.token}"} | rest.pop("headers", {})
        if method == "POST":
            headers = {"Idempotency-Key": new_id()} | headers
        return await self.http.request(method, f"/v1{path}", headers=headers, **rest)

    async def get(self, path: str, **params: Any) -> Any:
        answer = await self.call("GET", path, params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def post(self, path: str, body: Any = None, **rest: Any) -> httpx.Response:
        return await self.call("POST", path, json=body, **rest)

    async def put(self, path: str, body: Any, version: str = "*") -> httpx.Response:
        return await self.call("PUT", path, json=body, headers={"If-Match": version})

    async def write(self, text: str, **fields: Any) -> dict[str, Any]:
        """Post a message; the answer."""
        body = {"client_message_id": new_id(), "text": text} | fields
        answer = await self.post("/messages", body)
        assert answer.status_code == 201, answer.text
        accepted: dict[str, Any] = answer.json()
        return accepted

    async def be(self, presence: str) -> None:
        """Set one's own presence."""
        answer = await self.call(
            "PUT", f"/agents/{self.subject}/presence", json={"presence": presence}
        )
        assert answer.status_code == 200, answer.text


class Chat:
    """A running chat_router and everything a test does to it."""

    def __init__(self, service: Service, clock: MovableClock, app: FastAPI) -> None:
        self.service = service
        self.clock = clock
        self.app = app
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        self.http = httpx.AsyncClient(transport=transport, base_url="http://chat")
        self._key = load_or_create_signing_key(service.settings)

    def token(self, subject: str, role: str, shop: str = SHOP) -> str:
        return issue_token(
            self._key, self.service.settings, subject=subject, roles=[Role(role)], shop_id=shop
        )

    def caller(self, subject: str, role: str, shop: str = SHOP) -> Caller:
        return Caller(self.http, self.token(subject, role, shop), subject)

    def buyer(self, subject: str, shop: str = SHOP) -> Caller:
        return self.caller(subject, "buyer", shop)

    def agent(self, subject: str, shop: str = SHOP) -> Caller:
        return self.caller(subject, "agent", shop)

    @property
    def supervisor(self) -> Caller:
        return self.caller("linjie", "supervisor")

    @property
    def system(self) -> Caller:
        return self.caller("erp", "system")

    async def add_agent(self, subject: str, *, capacity: int = 5, **setup: Any) -> Caller:
        """An agent who is set up and online."""
        answer = await self.supervisor.put(f"/agents/{subject}", {"capacity": capacity} | setup)
        assert answer.status_code == 200, answer.text
        agent = self.agent(subject)
        await agent.be("online")
        return agent

    async def rules(self, **changed: Any) -> None:
        """Change some of the shop's rules."""
        rules = await self.supervisor.get("/shop_settings")
        answer = await self.supervisor.put("/shop_settings", rules | changed)
        assert answer.status_code == 200, answer.text

    async def conversation(self, conversation_id: str) -> dict[str, Any]:
        found: dict[str, Any] = await self.supervisor.get(f"/conversations/{conversation_id}")
        return found

    async def open_of(self, buyer_id: str) -> dict[str, Any] | None:
        found = await self.supervisor.get("/conversations", buyer_id=buyer_id)
        return next((one for one in found["items"] if one["state"] != "closed"), None)

    async def assigned(self, conversation_id: str, agent_id: str | None = None) -> dict[str, Any]:
        """Wait until a conversation is assigned (to this agent)."""

        async def there() -> dict[str, Any] | None:
            found = await self.conversation(conversation_id)
            fits = agent_id in (None, found["agent_id"])
            return found if found["state"] == "assigned" and fits else None

        found = await until(there)
        assert found is not None
        return found

    async def messages(self, conversation_id: str) -> list[dict[str, Any]]:
        found = await self.supervisor.get(f"/conversations/{conversation_id}/messages", limit=200)
        items: list[dict[str, Any]] = found["items"]
        return items

    async def publish(self, *events: Event, ids: tuple[str, ...] = ()) -> None:
        await publish(self.service.bus, *events, ids=ids)

    async def seen(self, *types: type[Event]) -> list[Any]:
        """Everything published so far on our topics, of these types."""
        topics = ("kefu.conversations", "kefu.agents", "kefu.cases")
        found = await published(self.service.bus, *topics)  # type: ignore[arg-type]
        return [one for one in found if isinstance(one, types)]

    async def until_seen(self, type_: type[Event], count: int = 1) -> list[Any]:
        """Wait for so many published events of a type."""

        async def enough() -> list[Any]:
            found = await self.seen(type_)
            return found if len(found) >= count else []

        return await until(enough)


@contextlib.asynccontextmanager
async def open_chat(
    tmp_path: Path, url: str, clock: MovableClock | None = None, **settings: Any
) -> AsyncIterator[Chat]:
    """A running chat_router with a clock of the test's own."""
    clock = clock or MovableClock()
    async with running(SERVICE, tmp_path, url, clock=clock, **settings) as service:
        chat = Chat(service, clock, service_app(service, runs_service=False))
        try:
            yield chat
        finally:
            await chat.http.aclose()


@pytest.fixture
async def chat(tmp_path: Path, database_url: str) -> AsyncIterator[Chat]:
    async with open_chat(tmp_path, database_url) as opened:
        yield opened
