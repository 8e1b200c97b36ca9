"""The shop's rules: hours, greeting, time-outs, affinity, what counts."""

import msgspec
from fastapi import APIRouter, Response

from common.web.etags import IfMatch, etag
from common.web.serving import RunningService

from ..shop_settings import ShopSettings
from ..staffing import Edited, EditSettings
from ..store import lists
from .agents import EditedView
from .bodies import ShopRules
from .callers import StaffOrSystem, Supervisor

router = APIRouter(prefix="/v1/shop_settings", tags=["settings"])


@router.get("")
async def get_shop_settings(
    caller: StaffOrSystem, service: RunningService, response: Response
) -> ShopRules:
    """The rules in force; the defaults, with ETag "0", for a shop that never set any."""
    async with service.database.read() as conn:
        found = await lists.settings(conn, caller.shop_id)
    response.headers["ETag"] = etag(found.edition)
    kept = msgspec.to_builtins(found)
    return ShopRules.model_validate(
        {name: value for name, value in kept.items() if name not in ("shop_id", "edition")}
    )


@router.put("")
async def put_shop_settings(
    caller: Supervisor,
    service: RunningService,
    expected: IfMatch,
    body: ShopRules,
    response: Response,
) -> EditedView:
    """Replace the rules as a whole."""
    rules = body.model_dump() | {"shop_id": caller.shop_id}
    command = EditSettings(settings=msgspec.convert(rules, ShopSettings), expected=expected)
    edited: Edited = await service.submit(command)
    response.headers["ETag"] = etag(edited.edition)
    return EditedView(edition=edited.edition)
