"""Orders that waited for a person: somebody has seen to it."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter
from pydantic import Field

from common.web.etags import IfMatch
from common.web.idempotency import IdempotencyKey
from common.web.serving import RunningService
from common.web.types import Body, ExternalId, Text, View

from ..resolutions import OrderResolved, ResolveOrder
from .callers import Agent

router = APIRouter(prefix="/v1", tags=["orders"])


class NewResolution(Body):
    """What was done about it, for the order's history. Line breaks become spaces."""

    note: Annotated[Text, Field(max_length=500)] | None = None


class ResolutionView(View):
    """Who saw to the order, and when."""

    order_id: str
    resolved_by: str
    resolved_at: datetime
    note: str


@router.post("/orders/{order_id}/resolutions", status_code=201)
async def resolve_order(
    caller: Agent,
    key: IdempotencyKey,
    expected: IfMatch,
    order_id: ExternalId,
    body: NewResolution,
    service: RunningService,
) -> ResolutionView:
    """Say that a person has seen to an order: `needs_person` is false until something new comes
    up. If-Match names the version that was looked at, so that nothing unseen is taken for seen."""
    command = ResolveOrder(
        shop_id=caller.shop_id,
        order_id=order_id,
        note=" ".join((body.note or "").split()),
        actor=caller.subject,
        expected=expected,
    )
    resolved: OrderResolved = await service.submit(command, key)
    return ResolutionView.model_validate(resolved)
