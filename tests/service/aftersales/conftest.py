"""A running service, callers of every role, and events from other systems."""

import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta
from itertools import groupby
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from aftersales.app import SERVICE
from common.auth.keys import load_or_create_signing_key
from common.auth.principal import Role
from common.auth.tokens import issue_token
from common.bus.embedded import EmbeddedBus
from common.contracts import (
    CommandRequested,
    CommandSucceeded,
    Event,
    OrderLine,
    OrderPaid,
    ReturnRequested,
    ShopRefund,
    registry,
)
from common.ids import new_id
from common.runtime import Service
from common.web.serving import service_app
from tests.support.harness import MovableClock, idle, make, publish, published

STAFF = ("agent", "senior_agent", "supervisor", "operations", "admin")


class Shop:
    """One shop's aftersales: what others publish, what callers ask, what came of it."""

    def __init__(self, service: Service, clock: MovableClock) -> None:
        self.service = service
        self.clock = clock
        self.key = load_or_create_signing_key(service.settings)
        app = service_app(service, runs_service=False)
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        self.http = httpx.AsyncClient(transport=transport, base_url="http://test")

    @property
    def bus(self) -> EmbeddedBus:
        assert isinstance(self.service.bus, EmbeddedBus)
        return self.service.bus

    # -- callers ------------------------------------------------------------------------------

    def headers(self, role: str, subject: str, shop: str) -> dict[str, str]:
        token = issue_token(
            self.key, self.service.settings, subject=subject, roles=[Role(role)], shop_id=shop
        )
        return {"Authorization": f"Bearer {token}"}

    async def get(
        self, path: str, role: str = "agent", subject: str = "", shop: str = "demo", **rest: Any
    ) -> httpx.Response:
        headers = self.headers(role, subject or role, shop) | rest.pop("headers", {})
        return await self.http.get(path, headers=headers, **rest)

    async def post(
        self,
        path: str,
        body: Any,
        role: str = "agent",
        subject: str = "",
        shop: str = "demo",
        match: str | None = "*",
        key: str | None = None,
    ) -> httpx.Response:
        headers = self.headers(role, subject or role, shop)
        headers["Idempotency-Key"] = key or new_id()
        if match is not None:
            headers["If-Match"] = match
        return await self.http.post(path, json=body, headers=headers)

    async def put(
        self, path: str, body: Any, role: str = "supervisor", match: str | None = "*"
    ) -> httpx.Response:
        headers = self.headers(role, role, "demo")
        if match is not None:
            headers["If-Match"] = match
        return await self.http.put(path, json=body, headers=headers)

    # -- other systems ------------------------------------------------------------------------

    async def tell(self, *events: Event) -> None:
        """Publish, and wait until the service has taken it in; topic by topic, in this order."""
        for _, together in groupby(events, lambda event: registry.of(type(event)).topic):
            await publish(self.bus, *together)
            await idle(self.service)

    async def events(self, kind: type[Event]) -> list[Any]:
        await idle(self.service)
        found = await published(self.bus, "kefu.cases", "kefu.commands")
        return [event for event in found if isinstance(event, kind)]

    async def carry_out(self) -> int:
        """The platform carries out every command so far; how many there were."""
        commands: list[CommandRequested] = await self.events(CommandRequested)
        await self.tell(*[self.done(command) for command in commands])
        return len({command.command_id for command in commands})

    def done(self, command: CommandRequested) -> CommandSucceeded:
        return CommandSucceeded(
            shop_id=command.shop_id,
            command_id=command.command_id,
            action=command.action,
            target_id=command.target_id,
            requested_service=command.requested_service,
            at=self.clock.now,
        )

    async def cases(self, **narrowed: Any) -> list[Any]:
        answer = await self.get("/v1/cases", params={"limit": 200, **narrowed})
        assert answer.status_code == 200, answer.text
        found: list[Any] = answer.json()["items"]
        return found

    async def case(self) -> Any:
        (only,) = await self.cases()
        return only

    # -- what is told -------------------------------------------------------------------------

    def order(self, order_id: str = "o1", **other: Any) -> OrderPaid:
        """A paid order of one line of 100.00 yuan, without freight."""
        line = OrderLine(
            line_id="l1",
            product_id="coat",
            title="外套",
            quantity=1,
            unit_price_fen=10_000,
            paid_fen=10_000,
        )
        fields: dict[str, Any] = {
            "shop_id": "demo",
            "platform": "taobao",
            "order_id": order_id,
            "buyer_id": "b1",
            "status": "paid",
            "version": 1,
            "total_fen": 10_000,
            "paid_fen": 10_000,
            "postage_fen": 0,
            "lines": (line,),
            "occurred_at": self.clock.now,
            "created_at": self.clock.now,
        }
        return OrderPaid(**(fields | other))

    def refund(self, refund_id: str = "rf1", minute: int = 0, **other: Any) -> ShopRefund:
        at = self.clock.now + timedelta(minutes=minute)
        fields: dict[str, Any] = {
            "shop_id": "demo",
            "platform": "taobao",
            "refund_id": refund_id,
            "order_id": "o1",
            "line_id": "l1",
            "buyer_id": "b1",
            "kind": "refund_only",
            "phase": "onsale",
            "status": "wait_seller_agree",
            "refund_version": 1,
            "amount_fen": 10_000,
            "reason": "质量问题",
            "created_at": self.clock.now,
            "modified_at": at,
        }
        return msgspec.convert(fields | other, ShopRefund)

    def request(self, request_id: str = "rq1", **other: Any) -> ReturnRequested:
        fields: dict[str, Any] = {
            "shop_id": "demo",
            "request_id": request_id,
            "conversation_id": "c1",
            "buyer_id": "b1",
            "order_id": "o1",
            "line_id": "l1",
            "kind": "return_and_refund",
            "reason": "质量问题",
            "goods_received": True,
            "requested_by": "b1",
            "requested_at": self.clock.now,
        }
        return msgspec.convert(fields | other, ReturnRequested)


@contextlib.asynccontextmanager
async def open_shop(
    tmp_path: Path, url: str, clock: MovableClock, bus: EmbeddedBus | None = None
) -> AsyncIterator[Shop]:
    """A shop whose service runs until the block ends."""
    service = await make(SERVICE, tmp_path, url, bus=bus, clock=clock)
    await service.start()
    shop = Shop(service, clock)
    try:
        yield shop
    finally:
        await shop.http.aclose()
        await service.stop()
        if bus is None:
            await service.bus.close()


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock()


@pytest.fixture
async def shop(tmp_path: Path, database_url: str, clock: MovableClock) -> AsyncIterator[Shop]:
    async with open_shop(tmp_path, database_url, clock) as running:
        yield running
