"""A shop in front of a running order_ops: its API, its events, its clock."""

import itertools
from datetime import timedelta
from typing import Any

import httpx
import msgspec

from common.auth.keys import load_or_create_signing_key
from common.auth.principal import Role
from common.auth.tokens import issue_token
from common.bus.embedded import EmbeddedBus
from common.contracts import Event, MessageSent, ReminderDue, ShopOrder
from common.runtime import Service
from common.web.serving import service_app
from tests.support.harness import MovableClock, idle, publish, published, until
from tests.support.order_examples import TEN

_keys = itertools.count()


class Shop:
    """One shop's view of a running service: its tokens, its events, its clock."""

    def __init__(self, service: Service, clock: MovableClock) -> None:
        self.service = service
        self.clock = clock
        self.http = httpx.AsyncClient(
            transport=httpx.ASGITransport(service_app(service, runs_service=False)),
            base_url="http://order_ops",
        )

    def token(self, role: Role = Role.AGENT, subject: str = "xiaomei", shop_id: str = "s1") -> str:
        key = load_or_create_signing_key(self.service.settings)
        return issue_token(
            key,
            self.service.settings,
            subject=subject,
            shop_id=shop_id,
            roles=[role],
        )

    async def call(
        self,
        method: str,
        path: str,
        *,
        role: Role = Role.AGENT,
        subject: str = "xiaomei",
        shop_id: str = "s1",
        headers: dict[str, str] | None = None,
        **rest: Any,
    ) -> httpx.Response:
        """A request with a token of this role, and a new Idempotency-Key unless one is given."""
        sent = {
            "Authorization": f"Bearer {self.token(role, subject, shop_id)}",
            "Idempotency-Key": f"key-{next(_keys)}",
        }
        return await self.http.request(method, path, headers=sent | (headers or {}), **rest)

    async def tell(self, *events: Event) -> None:
        """Publish events and wait until they took effect."""
        await publish(self.service.bus, *events)
        await idle(self.service)

    async def events(self, *topics: str) -> list[Any]:
        """What was published on these topics so far."""
        await idle(self.service)
        assert isinstance(self.service.bus, EmbeddedBus)
        return await published(self.service.bus, *topics)

    async def reminders(self, **filters: str) -> list[dict[str, Any]]:
        """All reminders, by order and stage."""
        found: list[dict[str, Any]] = []
        params: dict[str, str] = {"limit": "200"} | filters
        while True:
            page = (await self.call("GET", "/v1/reminders", params=params)).json()
            found += page["items"]
            if page["next_cursor"] is None:
                return sorted(found, key=lambda r: (r["order_id"], r["stage"]))
            params["cursor"] = page["next_cursor"]

    async def move_to(self, **offset: float) -> None:
        """Set the clock to so long after ten and wait until every due timer has fired."""
        self.clock.now = TEN + timedelta(**offset)
        self.service.wake([])
        await until(self._nothing_due)
        await idle(self.service)

    async def _nothing_due(self) -> bool:
        async with self.service.database.read() as conn:
            found = (await conn.exec_driver_sql("SELECT min(run_at) FROM timers")).scalar()
        if isinstance(found, str):
            return found > self.clock.now.strftime("%Y-%m-%d %H:%M:%S.%f")
        return found is None or found > self.clock.now


def message_of(due: ReminderDue) -> MessageSent:
    """The chat's report that a reminder was written to the buyer."""
    return MessageSent(
        shop_id=due.shop_id,
        conversation_id="c1",
        buyer_id=due.buyer_id,
        unread_agent=0,
        unread_buyer=1,
        unanswered_since=None,
        message_id=f"m-{due.reminder_id}",
        client_message_id=due.idempotency_key,
        sender_kind="system",
        sender_id="system",
        kind="text",
        text=due.text,
        seq=1,
        sent_at=due.due_at,
        received_at=due.due_at,
        state="closed",
        reminder_id=due.reminder_id,
    )


def body_of(event: ShopOrder, **changes: Any) -> dict[str, Any]:
    """The HTTP body of a snapshot."""
    body: dict[str, Any] = msgspec.to_builtins(event)
    return body | changes


NO_HOLDOUT: dict[str, Any] = {"holdout_basis_points": 0}


async def set_policy(shop: Shop, **changes: Any) -> httpx.Response:
    """Change the shop's policy, whatever it is."""
    policy = (await shop.call("GET", "/v1/reminder_policies/current")).json()
    for name in ("edition", "changed_by", "changed_at"):
        del policy[name]
    answer = await shop.call(
        "PUT",
        "/v1/reminder_policies/current",
        role=Role.SUPERVISOR,
        headers={"If-Match": "*"},
        json=policy | changes,
    )
    assert answer.status_code == 200, answer.text
    return answer
