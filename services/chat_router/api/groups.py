"""Skill groups (客服分组)."""

from fastapi import APIRouter, Response

from common.errors import NotFound
from common.web.etags import IfMatch, etag
from common.web.pages import Page, page_of
from common.web.serving import RunningService

from ..staffing import Edited, EditGroup
from ..store import lists
from .agents import EditedView
from .bodies import GroupSetup
from .callers import GroupId, StaffOrSystem, Supervisor
from .views import GroupView, group_view

router = APIRouter(prefix="/v1/groups", tags=["groups"])


@router.get("")
async def list_groups(caller: StaffOrSystem, service: RunningService) -> Page[GroupView]:
    """All groups of the shop, in their order, on one page."""
    async with service.database.read() as conn:
        found = await lists.groups(conn, caller.shop_id)
    return page_of([group_view(one) for one in found], len(found), lambda one: (one.group_id,))


@router.get("/{group_id}")
async def get_group(
    caller: StaffOrSystem, service: RunningService, group_id: GroupId, response: Response
) -> GroupView:
    """One group."""
    async with service.database.read() as conn:
        found = await lists.group(conn, caller.shop_id, group_id)
    if found is None:
        raise NotFound("no such group")
    response.headers["ETag"] = etag(found.edition)
    return group_view(found)


@router.put("/{group_id}")
async def put_group(
    caller: Supervisor,
    service: RunningService,
    group_id: GroupId,
    expected: IfMatch,
    body: GroupSetup,
    response: Response,
) -> EditedView:
    """Create or change a group. `If-Match: "0"` or `*` for a new one."""
    command = EditGroup(
        shop_id=caller.shop_id,
        group_id=group_id,
        name=body.name,
        order_states=tuple(dict.fromkeys(body.order_states)),
        priority=body.priority,
        place=body.place,
        expected=expected,
    )
    edited: Edited = await service.submit(command)
    response.headers["ETag"] = etag(edited.edition)
    return EditedView(edition=edited.edition)
