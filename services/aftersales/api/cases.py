"""Cases: opened, listed, read, and their history."""

from typing import Annotated

from fastapi import APIRouter, Header, Query, Response

from aftersales import store
from aftersales.api.bodies import CaseView, EntryView, NewCase, case_view, entry_view
from aftersales.api.callers import Asker, CaseId, Reader, actor_of, case_seen_by
from aftersales.cases import Case
from aftersales.requests import OpenCase
from common.auth.principal import Principal
from common.contracts import CaseState
from common.web.etags import etag, not_modified
from common.web.idempotency import IdempotencyKey
from common.web.pages import Number, Page, PageQuery, page_of
from common.web.serving import RunningService
from common.web.types import AwareDatetime, ExternalId

router = APIRouter(prefix="/v1/cases", tags=["cases"])


@router.post("", status_code=201, responses={404: {}})
async def open_case(
    caller: Asker,
    service: RunningService,
    key: IdempotencyKey,
    body: NewCase,
    response: Response,
) -> CaseView:
    """Open a case; buyers for their own orders. An order not known yet is waited for."""
    caller.require_shop(body.shop_id)
    if body.buyer_id is not None:
        caller.require_self(body.buyer_id)
    case: Case = await service.submit(_asked(body, caller), key)
    response.headers["Location"] = f"/v1/cases/{case.case_id}"
    response.headers["ETag"] = etag(case.revision)
    return case_view(case)


def _asked(body: NewCase, caller: Principal) -> OpenCase:
    return OpenCase(
        shop_id=caller.shop_id,
        order_id=body.order_id,
        line_id=body.line_id,
        buyer_id=body.buyer_id,
        conversation_id=body.conversation_id,
        kind=body.kind,
        amount_fen=body.amount_fen,
        reason=body.reason,
        description=body.description or "",
        goods_received=body.goods_received,
        actor=actor_of(caller),
    )


@router.get("")
async def list_cases(
    caller: Reader,
    service: RunningService,
    page: PageQuery,
    state: CaseState | None = None,
    buyer_id: ExternalId | None = None,
    order_id: ExternalId | None = None,
    deadline_before: Annotated[
        AwareDatetime | None, Query(description="Only cases whose deadline is earlier.")
    ] = None,
) -> Page[CaseView]:
    """Cases of the shop, newest first; a buyer sees own ones only."""
    if caller.kind == "buyer":
        caller.require_self(buyer_id or caller.subject)
        buyer_id = caller.subject
    after = page.after(tuple[str])
    narrowed = store.CaseFilter(
        state=state,
        buyer_id=buyer_id,
        order_id=order_id,
        deadline_before=deadline_before,
        before_case_id=after[0] if after else None,
    )
    async with service.database.read() as conn:
        found = await store.page_of_cases(conn, caller.shop_id, narrowed, page.limit + 1)
    return page_of([case_view(case) for case in found], page.limit, lambda view: (view.case_id,))


@router.get("/{case_id}", responses={304: {"description": "The caller has this version."}})
async def get_case(
    caller: Reader,
    service: RunningService,
    case_id: CaseId,
    response: Response,
    if_none_match: Annotated[str | None, Header(max_length=500)] = None,
) -> CaseView:
    """One case, with its version as ETag."""
    case = await case_seen_by(caller, service, case_id)
    response.headers["ETag"] = etag(case.revision)
    if not_modified(if_none_match, case.revision):
        response.status_code = 304
    return case_view(case)


@router.get("/{case_id}/history")
async def get_history(
    caller: Reader, service: RunningService, case_id: CaseId, page: PageQuery
) -> Page[EntryView]:
    """Every change of a case, oldest first: what, by whom, why."""
    await case_seen_by(caller, service, case_id)
    after = page.after(tuple[Number])
    async with service.database.read() as conn:
        found = await store.history_of(
            conn, caller.shop_id, case_id, after[0] if after else None, page.limit + 1
        )
    views = [entry_view(entry) for entry in found]
    return page_of(views, page.limit, lambda view: (view.version,))
