"""A small shop for these tests: its events, its clock, its callers."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import sqlalchemy as sa

from common.auth.keys import load_or_create_signing_key
from common.auth.principal import Role
from common.auth.tokens import issue_token
from common.bus.embedded import EmbeddedBus
from common.contracts import (
    CaseClosed,
    CaseOpened,
    CaseOutcome,
    ConversationClosed,
    ConversationRated,
    Event,
    MessageKind,
    MessageReceived,
    OrderLine,
    OrderPaid,
    ShopReview,
)
from common.ids import new_id
from common.runtime import Service
from common.web.serving import service_app
from feedback.app import SERVICE
from tests.support.harness import MovableClock, idle, published, running

START = datetime(2026, 3, 2, 2, 0, tzinfo=UTC)
WAITING: dict[str, Any] = {"unread_agent": 1, "unread_buyer": 0, "unanswered_since": START}


@contextlib.asynccontextmanager
async def feedback(
    tmp_path: Path, url: str, clock: MovableClock | None = None
) -> AsyncIterator[Service]:
    """The running service."""
    async with running(SERVICE, tmp_path, url, clock=clock or MovableClock(START)) as service:
        yield service


@contextlib.asynccontextmanager
async def client(
    service: Service, *roles: Role, subject: str = "wang", shop_id: str = "demo"
) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody with a token."""
    settings = service.settings
    key = load_or_create_signing_key(settings)
    token = issue_token(key, settings, subject=subject, roles=roles, shop_id=shop_id)
    transport = httpx.ASGITransport(app=service_app(service, runs_service=False))
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(
        transport=transport, base_url="http://test", headers=headers
    ) as session:
        yield session


def key() -> dict[str, str]:
    """A new Idempotency-Key."""
    return {"Idempotency-Key": new_id()}


async def settled(service: Service) -> None:
    """Wait until the service has read all, its own events included."""
    await idle(service)


async def events_of(service: Service, kind: type[Event]) -> list[Any]:
    """Every event of a kind that the service has published."""
    assert isinstance(service.bus, EmbeddedBus)
    found = await published(service.bus, "kefu.feedback")
    return [event for event in found if isinstance(event, kind)]


async def query(service: Service, sql: str) -> Sequence[Any]:
    """Rows straight from the database."""
    async with service.database.read() as conn:
        return [tuple(row) for row in await conn.execute(sa.text(sql))]


def review(
    n: int,
    text: str = "穿两次就起球",
    *,
    product: str = "coat",
    rating: int = 2,
    buyer: str | None = None,
    days: float = 0,
    shop: str = "demo",
) -> ShopReview:
    return ShopReview(
        shop_id=shop,
        platform="taobao",
        review_id=f"rv-{n}",
        order_id=f"o-{n}",
        product_id=product,
        buyer_id=buyer or f"b-{n}",
        rating=rating,
        text=text,
        created_at=START + timedelta(days=days),
    )


def paid(n: int, *products: str, days: float = 0, buyer: str | None = None) -> OrderPaid:
    moment = START + timedelta(days=days)
    lines = tuple(
        OrderLine(
            line_id=f"o-{n}-{position}",
            product_id=product,
            title=product,
            quantity=2,
            unit_price_fen=100,
            paid_fen=200,
        )
        for position, product in enumerate(products or ("coat",))
    )
    return OrderPaid(
        shop_id="demo",
        platform="taobao",
        order_id=f"o-{n}",
        buyer_id=buyer or f"b-{n}",
        status="paid",
        version=2,
        total_fen=200,
        paid_fen=200,
        postage_fen=0,
        lines=lines,
        occurred_at=moment,
        created_at=moment,
        paid_at=moment,
    )


def message(
    seq: int,
    text: str | None = None,
    *,
    conversation: str = "c1",
    buyer: str = "b-1",
    product: str | None = None,
    order: str | None = None,
) -> MessageReceived:
    kind: MessageKind = "product_card" if product else "order_card" if order else "text"
    return MessageReceived(
        shop_id="demo",
        conversation_id=conversation,
        buyer_id=buyer,
        message_id=f"{conversation}-{seq}",
        client_message_id=f"{conversation}-{seq}",
        sender_kind="buyer",
        sender_id=buyer,
        kind=kind,
        text=text,
        product_id=product,
        order_id=order,
        seq=seq,
        sent_at=START,
        received_at=START + timedelta(seconds=seq),
        state="assigned",
        **WAITING,
    )


def closed(conversation: str = "c1", buyer: str = "b-1") -> ConversationClosed:
    return ConversationClosed(
        shop_id="demo",
        conversation_id=conversation,
        buyer_id=buyer,
        opened_at=START,
        closed_at=START + timedelta(hours=1),
        reason="agent",
        messages_buyer=1,
        messages_agent=1,
        rounds=1,
        rounds_within_3min=1,
        **WAITING,
    )


def rated(rating: int, reason: str | None = None, conversation: str = "c1") -> ConversationRated:
    return ConversationRated(
        shop_id="demo",
        conversation_id=conversation,
        buyer_id="b-1",
        rating=rating,
        reason=reason,
        rated_at=START + timedelta(hours=2),
        **WAITING,
    )


def _case(product: str | None, n: int, **fields: Any) -> dict[str, Any]:
    return {
        "shop_id": "demo",
        "case_id": f"case-{n}",
        "order_id": f"o-{n}",
        "line_id": f"o-{n}-0",
        "product_id": product,
        "buyer_id": f"b-{n}",
        "kind": "return_and_refund",
        "phase": "onsale",
        "amount_fen": 100,
        "reason": "质量问题",
        "description": "洗了一次就掉色",
        "version": 1,
        "actor": f"b-{n}",
        "actor_role": "buyer",
        "occurred_at": START,
    } | fields


def opened_case(n: int, product: str | None = None) -> CaseOpened:
    return CaseOpened(**_case(product, n, state="wait_seller_agree"))


def closed_case(n: int, outcome: CaseOutcome, product: str | None = None) -> CaseClosed:
    fields = _case(product, n, state="success", outcome=outcome, version=4)
    return CaseClosed(**fields)
