"""What shop and buyer do with a case. Each names the version it answers (If-Match)."""

from typing import Any

from fastapi import APIRouter, Response

from aftersales import answers
from aftersales.api.bodies import (
    Agreement,
    CaseView,
    Receipt,
    Refusal,
    ReturnParcel,
    Withdrawal,
    case_view,
)
from aftersales.api.callers import (
    Asker,
    Buyer,
    CaseId,
    Refuser,
    Staff,
    actor_of,
    case_seen_by,
)
from aftersales.cases import Case
from common.auth.principal import Principal
from common.runtime import Idempotency, Service
from common.web.etags import ExpectedVersion, IfMatch, etag
from common.web.idempotency import IdempotencyKey
from common.web.serving import RunningService

router = APIRouter(prefix="/v1/cases/{case_id}", tags=["cases"])


async def _named(
    caller: Principal, service: Service, case_id: str, expected: ExpectedVersion
) -> dict[str, Any]:
    """What every answer says. The order is looked up, for its lock is taken first."""
    case = await case_seen_by(caller, service, case_id)
    return {
        "shop_id": caller.shop_id,
        "order_id": case.order_id,
        "case_id": case_id,
        "actor": actor_of(caller),
        "expected": expected,
    }


async def _submit(
    service: Service, answer: answers.Answer, key: Idempotency, response: Response
) -> CaseView:
    case: Case = await service.submit(answer, key)
    response.headers["ETag"] = etag(case.revision)
    return case_view(case)


@router.post("/agreements")
async def agree(
    caller: Staff,
    service: RunningService,
    case_id: CaseId,
    key: IdempotencyKey,
    expected: IfMatch,
    body: Agreement,
    response: Response,
) -> CaseView:
    """Agree to the request: goods come back first, or the money goes back at once."""
    named = await _named(caller, service, case_id, expected)
    answer = answers.Agree(
        **named,
        amount_fen=body.amount_fen,
        refund_version=body.refund_version,
        reason=body.reason,
    )
    return await _submit(service, answer, key, response)


@router.post("/refusals")
async def refuse(
    caller: Refuser,
    service: RunningService,
    case_id: CaseId,
    key: IdempotencyKey,
    expected: IfMatch,
    body: Refusal,
    response: Response,
) -> CaseView:
    """Refuse the request, with a reason for the buyer and, on Tmall, with proof."""
    named = await _named(caller, service, case_id, expected)
    answer = answers.Refuse(**named, reason=body.reason, proof_url=body.proof_url)
    return await _submit(service, answer, key, response)


@router.post("/returns")
async def ship_return(
    caller: Asker,
    service: RunningService,
    case_id: CaseId,
    key: IdempotencyKey,
    expected: IfMatch,
    body: ReturnParcel,
    response: Response,
) -> CaseView:
    """Name the parcel that brings the goods back."""
    named = await _named(caller, service, case_id, expected)
    answer = answers.ShipReturn(**named, tracking_no=body.tracking_no, courier=body.courier)
    return await _submit(service, answer, key, response)


@router.post("/receipts")
async def receive(
    caller: Staff,
    service: RunningService,
    case_id: CaseId,
    key: IdempotencyKey,
    expected: IfMatch,
    body: Receipt,
    response: Response,
) -> CaseView:
    """Returned goods are here. Intact ones are refunded at once; others wait for a decision."""
    named = await _named(caller, service, case_id, expected)
    answer = answers.Receive(**named, intact=body.intact, note=body.note)
    return await _submit(service, answer, key, response)


@router.post("/withdrawals")
async def withdraw(
    caller: Buyer,
    service: RunningService,
    case_id: CaseId,
    key: IdempotencyKey,
    expected: IfMatch,
    body: Withdrawal,
    response: Response,
) -> CaseView:
    """The buyer gives the request up."""
    named = await _named(caller, service, case_id, expected)
    return await _submit(service, answers.Withdraw(**named, reason=body.reason), key, response)
