"""Buyers' profiles: tags and attributes that every agent sees."""

from fastapi import APIRouter, Response

from common.errors import NotFound
from common.web.etags import IfMatch, etag
from common.web.serving import RunningService

from ..profiles import EditBuyer
from ..staffing import Edited
from ..store import lists
from .agents import EditedView
from .bodies import Profile
from .callers import BuyerId, Staff, StaffOrSystem
from .views import BuyerView, buyer_view

router = APIRouter(prefix="/v1/buyers", tags=["buyers"])


@router.get("/{buyer_id}")
async def get_buyer(
    caller: StaffOrSystem, service: RunningService, buyer_id: BuyerId, response: Response
) -> BuyerView:
    """A buyer who wrote, ordered or was set up."""
    async with service.database.read() as conn:
        found = await lists.buyer(conn, caller.shop_id, buyer_id)
    if found is None:
        raise NotFound("no such buyer")
    response.headers["ETag"] = etag(found.edition)
    return buyer_view(found)


@router.put("/{buyer_id}")
async def put_buyer(
    caller: Staff,
    service: RunningService,
    buyer_id: BuyerId,
    expected: IfMatch,
    body: Profile,
    response: Response,
) -> EditedView:
    """Replace a profile. `If-Match: "0"` or `*` for a buyer nobody knows yet."""
    command = EditBuyer(
        shop_id=caller.shop_id,
        buyer_id=buyer_id,
        name=body.name,
        tags=tuple(dict.fromkeys(body.tags)),
        attributes=dict(body.attributes),
        note=body.note,
        priority=body.priority,
        dedicated_agent_id=body.dedicated_agent_id,
        expected=expected,
    )
    edited: Edited = await service.submit(command)
    response.headers["ETag"] = etag(edited.edition)
    return EditedView(edition=edited.edition)
