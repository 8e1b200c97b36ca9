"""Response figures: live, or made anew from the stored messages."""

from datetime import date, datetime
from typing import Annotated

from fastapi import APIRouter, Query

from common.errors import Forbidden, InvalidInput
from common.web.serving import RunningService
from common.web.types import ExternalId, View

from ..metrics import day_span, figures_by_agent
from ..store import lists
from ..store import metrics as metrics_store
from .callers import Staff, acting_as

router = APIRouter(prefix="/v1/metrics", tags=["metrics"])


class ResponseFigures(View):
    """One agent's figures; `agent_id` null is for buyers whom nobody had yet. Seconds; shares
    between 0 and 1. `rounds` and the 3-minute rate (旺旺3分钟响应率) are over rounds asked
    08:00-24:00 shop time; `reply_rate` (旺旺回复率) is buyers replied to over buyers received."""

    agent_id: str | None
    rounds: int
    rounds_within_3min: int
    rate_within_3min: float | None
    unanswered_rounds: int
    average_response_seconds: float | None
    average_first_response_seconds: float | None
    buyers_received: int
    buyers_replied: int
    reply_rate: float | None
    unreplied_buyer_ids: tuple[str, ...]


class ResponseTimes(View):
    """The figures of the shop days from `starts_at` to `ends_at`."""

    items: list[ResponseFigures]
    starts_at: datetime
    ends_at: datetime
    recomputed: bool
    server_now: datetime


@router.get("/response_times")
async def get_response_times(
    caller: Staff,
    service: RunningService,
    day: Annotated[date | None, Query(description="Last day, shop time; today.")] = None,
    days: Annotated[int, Query(ge=1, le=30, description="How many days, `day` included.")] = 1,
    agent_id: Annotated[ExternalId | None, Query(description="Only this agent.")] = None,
    recompute: Annotated[
        bool, Query(description="From the stored messages, under the present settings.")
    ] = False,
) -> ResponseTimes:
    """Rounds and how quickly they were answered, per agent. Agents see their own."""
    if acting_as(caller) in ("agent", "senior_agent"):
        if agent_id not in (None, caller.subject):
            raise Forbidden("Agents see their own figures.")
        agent_id = caller.subject
    now = service.clock()
    if day is not None and not date(1971, 1, 1) <= day <= date(2199, 12, 31):
        raise InvalidInput("day lies between 1971 and 2199")
    async with service.database.read() as conn:
        settings = await lists.settings(conn, caller.shop_id)
        zone = settings.zone
        start, end = day_span(day or now.astimezone(zone).date(), zone, days)
        if recompute:
            rounds = await metrics_store.recomputed_rounds(
                conn, caller.shop_id, start, end, settings
            )
        else:
            rounds = await metrics_store.live_rounds(conn, caller.shop_id, start, end)
    found = [one for one in figures_by_agent(rounds, zone) if agent_id in (None, one.agent_id)]
    return ResponseTimes(
        items=[ResponseFigures.model_validate(one) for one in found],
        starts_at=start,
        ends_at=end,
        recomputed=recompute,
        server_now=now,
    )
