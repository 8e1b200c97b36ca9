"""Spikes, and what buyers say about one product."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import Field

from common.contracts import SpikeLevel
from common.errors import InvalidInput
from common.web.pages import Moment, Page, PageQuery, page_of
from common.web.serving import RunningService
from common.web.types import AwareDatetime, Day, View
from feedback import store
from feedback.api.callers import ProductFilter, ProductPath, Reader, TagFilter
from feedback.days import day_after, shop_day

router = APIRouter(prefix="/v1", tags=["spikes"])

DEFAULT_DAYS = 28


class SpikeView(View):
    """Complaints of one kind about one product that rose beyond what its orders explain."""

    spike_id: str
    product_id: str
    tag: str
    state: Literal["open", "quiet", "past"]
    level: SpikeLevel
    window_start: str = Field(description="First local day of the window.")
    window_end: str = Field(description="Last local day of the window.")
    count: int
    expected: float
    exposure_orders: int
    baseline_hits: int
    baseline_orders: int
    p_value: float
    q_value: float
    task_id: str | None
    detected_at: AwareDatetime
    quiet_until: AwareDatetime | None
    ended_at: AwareDatetime | None


class TagCount(View):
    """Complaints of one kind. `per_100_orders` is null when nothing was sold."""

    tag: str
    hits: int
    per_100_orders: float | None


class ProductTags(View):
    """Complaints about a product, most frequent first."""

    product_id: str
    from_day: str
    to_day: str
    orders: int
    tags: list[TagCount]


@router.get("/spikes")
async def list_spikes(
    caller: Reader,
    service: RunningService,
    page: PageQuery,
    state: Literal["open", "quiet", "past"] | None = None,
    level: SpikeLevel | None = None,
    product_id: ProductFilter = None,
    tag: TagFilter = None,
) -> Page[SpikeView]:
    """Spikes, newest first."""
    filters = {"state": state, "level": level, "product_id": product_id, "tag": tag}
    before = page.after(tuple[Moment, str])
    async with service.database.read() as conn:
        found = await store.spikes_page(
            conn, caller.shop_id, filters=filters, before=before, limit=page.limit + 1
        )
    views = [SpikeView.model_validate(dict(row)) for row in found]
    return page_of(views, page.limit, lambda spike: (spike.detected_at, spike.spike_id))


@router.get("/products/{product_id}/tags")
async def product_tags(
    caller: Reader,
    service: RunningService,
    product_id: ProductPath,
    first: Annotated[
        Day | None, Query(alias="from", description="First local day; 28 days back by default.")
    ] = None,
    last: Annotated[
        Day | None, Query(alias="to", description="Last local day; today by default.")
    ] = None,
) -> ProductTags:
    """Complaints about one product per tag, with rates per 100 orders."""
    to_day = last or shop_day(service.clock())
    from_day = first or _days_back(to_day)
    if from_day > to_day:
        raise InvalidInput("`from` lies after `to`")
    async with service.database.read() as conn:
        hits = await store.tag_totals(conn, caller.shop_id, product_id, from_day, to_day)
        orders = await store.orders_total(conn, caller.shop_id, product_id, from_day, to_day)
    counts = [
        TagCount(tag=tag, hits=count, per_100_orders=100 * count / orders if orders else None)
        for tag, count in sorted(hits.items(), key=lambda entry: (-entry[1], entry[0]))
    ]
    return ProductTags(
        product_id=product_id, from_day=from_day, to_day=to_day, orders=orders, tags=counts
    )


def _days_back(to_day: str) -> str:
    try:
        return day_after(to_day, 1 - DEFAULT_DAYS)
    except (OverflowError, ValueError) as error:
        raise InvalidInput("`to` lies before the calendar") from error
