"""Refund snapshots of shop systems that have no bus: the same as the event shop.refund."""

import msgspec
from fastapi import APIRouter, Response

from aftersales.api.bodies import CaseView, RefundSnapshot, case_view
from aftersales.api.callers import ShopSystem
from aftersales.cases import Case
from aftersales.snapshots import TakeRefund
from common.contracts import ShopRefund
from common.web.etags import etag
from common.web.idempotency import IdempotencyKey
from common.web.serving import RunningService

router = APIRouter(prefix="/v1/refunds", tags=["refunds"])


@router.post("")
async def take_refund(
    caller: ShopSystem,
    service: RunningService,
    key: IdempotencyKey,
    body: RefundSnapshot,
    response: Response,
) -> CaseView:
    """Take a snapshot in; answers the case as it now is. Older and repeated ones change nothing."""
    caller.require_shop(body.shop_id)
    fields = body.model_dump() | {
        "shop_id": caller.shop_id,
        "description": body.description or "",
    }
    snapshot = msgspec.convert(fields, ShopRefund)
    taken = TakeRefund(shop_id=caller.shop_id, order_id=body.order_id, snapshot=snapshot)
    case: Case = await service.submit(taken, key)
    response.headers["ETag"] = etag(case.revision)
    return case_view(case)
