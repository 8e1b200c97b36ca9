"""Asking to give goods back or be refunded."""

from typing import Annotated

from fastapi import APIRouter

from common.auth.guards import requires
from common.auth.principal import Principal, Role
from common.web.idempotency import IdempotencyKey
from common.web.serving import RunningService
from common.web.types import View

from ..returns import RequestReturn
from .bodies import NewReturn
from .callers import acting_as

router = APIRouter(prefix="/v1", tags=["returns"])

Asker = Annotated[Principal, requires(Role.BUYER, Role.AGENT)]


class ReturnView(View):
    """On its way to after-sales, which opens a case or refuses; the conversation will show it."""

    request_id: str
    conversation_id: str | None
    buyer_id: str
    order_id: str


@router.post("/return_requests", status_code=202, responses={404: {}})
async def request_return(
    caller: Asker, service: RunningService, key: IdempotencyKey, body: NewReturn
) -> ReturnView:
    """A buyer, or an agent for them, asks to give goods back or to be refunded."""
    caller.require_shop(body.shop_id)
    command = RequestReturn(
        shop_id=caller.shop_id,
        buyer_id=caller.subject if caller.kind == "buyer" else None,
        order_id=body.order_id,
        line_id=body.line_id,
        kind=body.kind,
        amount_fen=body.amount_fen,
        reason=body.reason,
        description=body.description,
        goods_received=body.goods_received,
        actor=caller.subject,
        actor_role=acting_as(caller),
    )
    return ReturnView.model_validate(await service.submit(command, key))
