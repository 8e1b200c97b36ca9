"""The whole system in a test: all four services on one bus behind one port, and a shop at work.

`whole()` runs it inside the test (its buses, databases and logs can be looked into); `System`
alone speaks to one that runs as a process of its own, such as `kefu dev`.
"""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import jwt
import sqlalchemy as sa
from websockets.asyncio.client import ClientConnection, connect

from common.auth.keys import load_or_create_signing_key
from common.auth.principal import Role
from common.auth.tokens import issue_token
from common.contracts import Envelope, Event, encode
from common.ids import new_id
from common.runtime import Service
from common.runtime.dead_letters import LETTERS
from common.settings import Settings
from common.web.serve import server_options
from kefu.dev.composition import Composition
from kefu.serving import Server
from tests.support.harness import idle, publish, published, until

SHOP = "demo"
OTHER_SHOP = "elsewhere"
AGENT = "xiaomei"
BUYER = "lihua"
STAFF = {
    Role.BUYER: BUYER,
    Role.AGENT: AGENT,
    Role.SENIOR_AGENT: "ahmei",
    Role.SUPERVISOR: "linjie",
    Role.OPERATIONS: "wangfang",
    Role.ADMIN: "admin",
    Role.SYSTEM: "erp",
}
# A test sends in seconds what people send in hours.
NO_LIMITS: dict[str, Any] = {
    "rate_limit_token_rps": 100_000,
    "rate_limit_token_burst": 100_000,
    "rate_limit_address_rps": 100_000,
    "rate_limit_address_burst": 100_000,
}
_AT = {"created_at": "2026-03-01T02:00:00Z", "modified_at": "2026-03-01T02:00:00Z"}


class System:
    """A running system as its clients see it."""

    def __init__(self, base_url: str, settings: Settings) -> None:
        self.base_url = base_url
        self.settings = settings
        self.http = httpx.AsyncClient(base_url=base_url, timeout=30, trust_env=False)
        self._key = load_or_create_signing_key(settings)
        self._tokens: dict[tuple[str, Role, str], str] = {}

    def token(self, role: Role, subject: str | None = None, shop: str = SHOP) -> str:
        """A token that holds."""
        who = (subject or STAFF[role], role, shop)
        if who not in self._tokens:
            self._tokens[who] = issue_token(
                self._key, self.settings, subject=who[0], roles=[role], shop_id=shop
            )
        return self._tokens[who]

    def signed(self, claims: Mapping[str, Any], **headers: Any) -> str:
        """A token with these claims, whatever they say, signed with the right key."""
        stated = {"kid": self._key.key_id} | headers
        return jwt.encode(dict(claims), self._key.private, "ES256", headers=stated)

    async def call(
        self,
        method: str,
        path: str,
        role: Role | None = None,
        *,
        subject: str | None = None,
        shop: str = SHOP,
        headers: Mapping[str, str] | None = None,
        **rest: Any,
    ) -> httpx.Response:
        """A request, with a token unless `role` is None, and with a new Idempotency-Key."""
        sent = {"Idempotency-Key": new_id()} if method == "POST" else {}
        if method == "PUT":
            sent["If-Match"] = "*"
        if role is not None:
            sent["Authorization"] = f"Bearer {self.token(role, subject, shop)}"
        return await self.http.request(method, path, headers={**sent, **(headers or {})}, **rest)

    async def ok(self, method: str, path: str, role: Role, **rest: Any) -> Any:
        """The JSON answer of a request that must succeed."""
        answer = await self.call(method, path, role, **rest)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json()

    async def document(self) -> dict[str, Any]:
        """The combined OpenAPI document."""
        found: dict[str, Any] = (await self.http.get("/openapi.json")).json()
        return found

    @contextlib.asynccontextmanager
    async def connected(
        self, token: str | None, *, query: str = "", **rest: Any
    ) -> AsyncIterator[ClientConnection]:
        """A socket before its hello; `InvalidStatus` when the handshake is refused."""
        headers = dict(rest.pop("additional_headers", {}))
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        url = "ws" + self.base_url.removeprefix("http") + "/chat_router/v1/socket" + query
        async with connect(url, additional_headers=headers, proxy=None, **rest) as connection:
            yield connection

    @contextlib.asynccontextmanager
    async def listening(
        self, role: Role, subject: str | None = None, shop: str = SHOP, *topics: str
    ) -> AsyncIterator["Listening"]:
        """A socket that has said hello and was welcomed."""
        async with self.connected(self.token(role, subject, shop)) as connection:
            client = Listening(connection)
            await client.send("hello", topics=topics)
            welcome = await client.next()
            assert welcome["frame"] == "welcome", welcome
            yield client


class Listening:
    """A client on a socket."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.frames: list[dict[str, Any]] = []

    async def send(self, frame: str, **fields: Any) -> None:
        """Send a frame."""
        await self.connection.send(json.dumps({"frame": frame} | fields))

    async def next(self) -> dict[str, Any]:
        """The next frame."""
        async with asyncio.timeout(30):
            frame: dict[str, Any] = json.loads(await self.connection.recv())
        self.frames.append(frame)
        return frame

    async def until(self, frame: str, type_: str | None = None, **body: Any) -> dict[str, Any]:
        """The next frame of this kind, event type and members of the body."""
        while True:
            found = await self.next()
            shown = found.get("body", {})
            fits = all(shown.get(name) == value for name, value in body.items())
            if found["frame"] == frame and type_ in (None, found.get("type")) and fits:
                return found

    async def pong(self) -> list[dict[str, Any]]:
        """Everything that was shown up to the answer to a ping."""
        await self.send("ping")
        await self.until("pong")
        return self.frames


class Whole(System):
    """The system inside this process."""

    def __init__(self, base_url: str, settings: Settings, composition: Composition) -> None:
        super().__init__(base_url, settings)
        self.composition = composition
        self.services: dict[str, Service] = composition.services
        self.bus = composition.bus

    async def idle(self) -> None:
        """Until every service has read everything there is and published what it wrote."""
        ends: Any = None
        while True:
            for service in self.services.values():
                await idle(service)
            now = await self.bus.reader.execute_fetchall("SELECT topic, partition, next FROM ends")
            if (found := sorted(tuple(row) for row in now)) == ends:
                return
            ends = found

    async def publish(self, *events: Event, ids: tuple[str, ...] = ()) -> None:
        """Put events on the bus, as another system would."""
        await publish(self.bus, *events, ids=ids)

    async def put(
        self,
        event: Event,
        *,
        value: bytes | None = None,
        topic: str | None = None,
        key: bytes | None = None,
        headers: Mapping[str, str | None] | None = None,
    ) -> None:
        """Put a record on the bus in which something is not as the contract says."""
        sound = encode(Envelope.of(event, id=new_id(), source="erp", time=_now()))
        changed = dict(headers or {})
        kept = [(name, text) for name, text in sound.headers if name not in changed]
        added = [(name, text.encode()) for name, text in changed.items() if text is not None]
        record = sound._replace(
            topic=topic or sound.topic,
            key=sound.key if key is None else key,
            value=sound.value if value is None else value,
            headers=kept + added,
        )
        await self.bus.publish([record])

    async def letters(self, service: str) -> list[Any]:
        """The dead letters of a service, in log order."""
        async with self.services[service].database.read() as conn:
            found = await conn.execute(sa.select(LETTERS).order_by(LETTERS.c.created_at))
            return list(found)

    async def until_letters(self, service: str, count: int) -> list[Any]:
        """Wait until a service has so many dead letters."""

        async def enough() -> list[Any]:
            found = await self.letters(service)
            return found if len(found) >= count else []

        return await until(enough)

    async def events(self, *topics: str) -> list[Event]:
        """Everything published on these topics so far."""
        return await published(self.bus, *topics)

    async def records(self, topic: str) -> list[dict[str, str]]:
        """The headers of every record on a topic so far."""
        query = "SELECT headers FROM log WHERE topic = ? ORDER BY at, partition, offset"
        found = await self.bus.reader.execute_fetchall(query, (topic,))
        return [dict(json.loads(headers)) for (headers,) in found]

    async def rows(self) -> dict[str, int]:
        """How many rows each of the services' own tables has; the backbone's left out."""
        counted: dict[str, int] = {}
        for name, service in self.services.items():
            tables = [binding.table.name for binding in service.definition.bindings]
            async with service.database.read() as conn:
                for table in dict.fromkeys(tables):
                    query = sa.select(sa.func.count()).select_from(sa.text(table))
                    counted[f"{name}.{table}"] = (await conn.execute(query)).scalar_one()
        return counted


def _now() -> Any:
    from common.clock import utc_now

    return utc_now()


@contextlib.asynccontextmanager
async def whole(
    home: Path, database_url: str | None = None, **settings: Any
) -> AsyncIterator[Whole]:
    """The four services in this process, behind a real server; SQLite unless a URL is given."""
    if database_url is not None and not database_url.startswith("sqlite"):
        settings["database_url"] = database_url
    configured = Settings(home=home, db_pool_size=5, **(NO_LIMITS | settings))
    composition = Composition(configured)
    await composition.migrate()
    composition.seeded = True  # tests make their shops themselves
    with socket.create_server(("127.0.0.1", 0)) as bound:
        options = server_options(configured)
        server = Server(uvicorn_config(composition, options))
        serving = asyncio.create_task(server.serve([bound]))
        system = Whole(f"http://127.0.0.1:{bound.getsockname()[1]}", configured, composition)
        try:
            await until(lambda: _started(server, serving))
            yield system
        finally:
            await system.http.aclose()
            server.should_exit = True
            await serving


def uvicorn_config(composition: Composition, options: dict[str, Any]) -> Any:
    """The server's configuration, as `kefu dev` has it."""
    import uvicorn

    return uvicorn.Config(composition.app, **options)


async def _started(server: Server, serving: "asyncio.Task[None]") -> bool:
    assert not serving.done(), "the server ended before it had started"
    return server.started


@dataclass(frozen=True)
class Scene:
    """What there is in a shop, by the names of path parameters."""

    ids: dict[str, str]
    tag: str = "quality.pilling"


# Nothing in the scene changes by itself, however long a test looks at it.
STANDING_STILL = dict.fromkeys(
    ("heartbeat_timeout_seconds", "grace_seconds", "warning_seconds", "idle_close_seconds"), 86_400
)


async def set_scene(system: System, shop: str = SHOP) -> Scene:
    """One of everything: a conversation with an agent, orders, a case, a complaint, a task."""
    name = f"-{shop}"
    await _staff(system, shop)
    first = {"client_message_id": "m1", "text": "质量太差,袖口开线了,要退货"}
    accepted = await system.ok(
        "POST", "/chat_router/v1/messages", Role.BUYER, shop=shop, json=first
    )
    order = snapshot(f"o1{name}", status="signed", paid_at=_AT["created_at"], paid_fen=20_600)
    for body in (order, snapshot(f"o2{name}", status="unpaid", closes_at="2200-01-01T00:00:00Z")):
        await system.ok("POST", "/order_ops/v1/orders", Role.SYSTEM, shop=shop, json=body)
    await system.ok(
        "POST", "/aftersales/v1/refunds", Role.SYSTEM, shop=shop, json=refund(f"rf1{name}", order)
    )
    review = await system.ok(
        "POST", "/feedback/v1/reviews", Role.SYSTEM, shop=shop, json=a_review(f"rv1{name}")
    )
    tag = await _a_tag(system, shop)
    asked = {"product_id": "coat-001", "tag": tag}
    task = await system.ok("POST", "/feedback/v1/tasks", Role.OPERATIONS, shop=shop, json=asked)
    case = await until(lambda: _first_case(system, shop))
    assert case is not None
    return Scene(
        {
            "conversation_id": accepted["conversation_id"],
            "agent_id": AGENT,
            "group_id": "presale",
            "buyer_id": BUYER,
            "order_id": f"o1{name}",
            "case_id": case["case_id"],
            "item_id": review["item_id"],
            "product_id": "coat-001",
            "task_id": task["task_id"],
        },
        tag,
    )


async def _staff(system: System, shop: str) -> None:
    base = "/chat_router/v1"
    lead: dict[str, Any] = {"role": Role.SUPERVISOR, "shop": shop}
    rules = await system.ok("GET", f"{base}/shop_settings", **lead)
    await system.ok("PUT", f"{base}/shop_settings", **lead, json=rules | STANDING_STILL)
    await system.ok("PUT", f"{base}/groups/presale", **lead, json={"name": f"售前 {shop}"})
    await system.ok("PUT", f"{base}/agents/{AGENT}", **lead, json={"capacity": 50})
    online = {"presence": "online"}
    await system.ok("PUT", f"{base}/agents/{AGENT}/presence", Role.AGENT, shop=shop, json=online)
    await system.ok(
        "PUT", f"{base}/buyers/{BUYER}", Role.AGENT, shop=shop, json={"name": f"李华 {shop}"}
    )
    await system.ok(
        "PUT",
        f"/order_ops/v1/reminder_blocklist/{BUYER}",
        Role.SUPERVISOR,
        shop=shop,
        json={"blocked": True, "reason": "wants none"},
    )


async def _first_case(system: System, shop: str) -> dict[str, Any] | None:
    found = await system.ok("GET", "/aftersales/v1/cases", Role.AGENT, shop=shop)
    return found["items"][0] if found["items"] else None


async def _a_tag(system: System, shop: str) -> str:
    found = await system.ok("GET", "/feedback/v1/taxonomies/current", Role.OPERATIONS, shop=shop)
    return str(found["categories"][0]["tags"][0]["tag"])


def snapshot(order_id: str, **changes: Any) -> dict[str, Any]:
    """The body of an order: one coat for 200 yuan and postage."""
    line = {
        "line_id": f"{order_id}-1",
        "product_id": "coat-001",
        "title": "外套",
        "quantity": 1,
        "unit_price_fen": 20_000,
        "paid_fen": 20_000,
    }
    order = {
        "platform": "own",
        "order_id": order_id,
        "buyer_id": BUYER,
        "status": "unpaid",
        "lines": [line],
        "goods_fen": 20_000,
        "postage_fen": 600,
        "discount_fen": 0,
        "total_fen": 20_600,
        "paid_fen": 0,
        "version": 1,
    }
    return {**order, **_AT, **changes}


def refund(refund_id: str, order: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    """The body of a refund of that order's first line."""
    body = {
        "platform": order["platform"],
        "refund_id": refund_id,
        "order_id": order["order_id"],
        "line_id": order["lines"][0]["line_id"],
        "buyer_id": order["buyer_id"],
        "kind": "refund_only",
        "phase": "aftersale",
        "status": "wait_seller_agree",
        "refund_version": 1,
        "amount_fen": 10_000,
        "reason": "质量问题",
    }
    return {**body, **_AT, **changes}


def a_review(review_id: str, **changes: Any) -> dict[str, Any]:
    """The body of a bad review."""
    body = {
        "review_id": review_id,
        "product_id": "coat-001",
        "buyer_id": BUYER,
        "rating": 1,
        "text": "洗了一次就起球,质量太差",
        "created_at": "2026-03-01T03:00:00Z",
    }
    return {**body, **changes}
