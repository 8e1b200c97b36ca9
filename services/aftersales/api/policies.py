"""How long each state may wait in this shop, and what then happens."""

import msgspec
from fastapi import APIRouter, Response

from aftersales import store
from aftersales.api.bodies import NewPolicies, PoliciesView, policies_view
from aftersales.api.callers import Supervisor
from aftersales.policies import PolicyBook, PolicyWish, PutPolicies, book_of
from common.web.etags import IfMatch, etag
from common.web.serving import RunningService

router = APIRouter(prefix="/v1/deadline_policies", tags=["deadline policies"])


@router.get("")
async def get_deadline_policies(
    caller: Supervisor, service: RunningService, response: Response
) -> PoliciesView:
    """The shop's own rules, newest first, then the defaults behind them."""
    async with service.database.read() as conn:
        book = book_of(await store.policies_of(conn, caller.shop_id))
    response.headers["ETag"] = etag(book.version)
    return policies_view(book)


@router.put("")
async def put_deadline_policies(
    caller: Supervisor,
    service: RunningService,
    expected: IfMatch,
    body: NewPolicies,
    response: Response,
) -> PoliciesView:
    """Add rules, in force from their `valid_from`. States that began earlier keep their rule."""
    wishes = tuple(msgspec.convert(one.model_dump(), PolicyWish) for one in body.policies)
    asked = PutPolicies(
        shop_id=caller.shop_id, actor=caller.subject, expected=expected, policies=wishes
    )
    book: PolicyBook = await service.submit(asked)
    response.headers["ETag"] = etag(book.version)
    return policies_view(book)
