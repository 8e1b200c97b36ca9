"""Items: what was collected, how it was tagged, and people's corrections."""

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Response
from pydantic import Field, StringConstraints

from common.contracts import FeedbackSource, Sentiment, ShopReview
from common.contracts import Platform as ShopPlatform
from common.errors import InvalidInput, NotFound
from common.web.etags import etag
from common.web.idempotency import IdempotencyKey
from common.web.pages import Moment, Page, PageQuery, page_of
from common.web.serving import RunningService
from common.web.types import AwareDatetime, Body, Day, ExternalId, ShopId, Text, View
from feedback import store
from feedback.api.callers import (
    ItemReader,
    ProductFilter,
    Reader,
    ShopSystem,
    TagFilter,
    TagName,
)
from feedback.commands import CollectReview, CorrectItem
from feedback.taxonomy import current_taxonomy

router = APIRouter(prefix="/v1", tags=["items"])

ItemId = Annotated[
    str,
    StringConstraints(min_length=3, max_length=128, pattern=r"^[a-z_]+:[A-Za-z0-9_.:@-]+$"),
    Path(description="`source:source_id`", examples=["review:rv-9001"]),
]


class TagView(View):
    """A tag of an item. A score below 0.5 is a question or a fear, not a complaint."""

    tag: str
    score: float
    evidence: str = ""


class ItemView(View):
    """A piece of feedback."""

    item_id: str
    source: FeedbackSource
    source_id: str
    product_id: str | None
    order_id: str | None
    buyer_id: str | None
    rating: int | None
    text: str
    tags: list[TagView]
    sentiment: Sentiment
    taxonomy_version: int
    corrected: bool
    occurred_at: AwareDatetime
    day: str = Field(description="Local day of the shop.")
    updated_at: AwareDatetime
    version: int


class NewReview(Body):
    """A buyer's review, as on the topic `shop.reviews`."""

    shop_id: ShopId | None = None
    platform: ShopPlatform | None = None
    review_id: ExternalId
    order_id: ExternalId | None = None
    product_id: ExternalId
    buyer_id: ExternalId
    rating: Annotated[int, Field(strict=True, ge=1, le=5)]
    text: Text | Literal[""] = ""
    created_at: AwareDatetime


class ReviewAccepted(View):
    """The item that the review is."""

    item_id: str
    created: bool


class NewCorrection(Body):
    """What the tags and the sentiment should have been."""

    tags: Annotated[list[TagName], Field(max_length=50)]
    sentiment: Sentiment


class CorrectionAccepted(View):
    """The stored correction."""

    correction_id: str
    item_id: str


@router.get("/items")
async def list_items(
    caller: ItemReader,
    service: RunningService,
    page: PageQuery,
    product_id: ProductFilter = None,
    tag: TagFilter = None,
    source: FeedbackSource | None = None,
    day: Annotated[Day | None, Query(description="Only this local day.")] = None,
    sentiment: Sentiment | None = None,
) -> Page[ItemView]:
    """Items, newest first."""
    filters = {"product_id": product_id, "source": source, "day": day, "sentiment": sentiment}
    before = page.after(tuple[Moment, str])
    async with service.database.read() as conn:
        found = await store.items_page(
            conn, caller.shop_id, filters=filters, tag=tag, before=before, limit=page.limit + 1
        )
    views = [ItemView.model_validate(dict(row)) for row in found]
    return page_of(views, page.limit, lambda item: (item.occurred_at, item.item_id))


@router.get("/items/{item_id}")
async def get_item(
    caller: ItemReader, service: RunningService, item_id: ItemId, response: Response
) -> ItemView:
    """One item."""
    async with service.database.read() as conn:
        found = await store.one(conn, store.ITEMS, caller.shop_id, item_id)
    if found is None:
        raise NotFound("there is no such item")
    response.headers["ETag"] = etag(found["version"])
    return ItemView.model_validate(dict(found))


@router.post("/items/{item_id}/corrections", status_code=201)
async def correct_item(
    caller: Reader,
    service: RunningService,
    item_id: ItemId,
    body: NewCorrection,
    key: IdempotencyKey,
) -> CorrectionAccepted:
    """Put your tags and sentiment in place of the tagger's."""
    unknown = sorted(set(body.tags) - current_taxonomy().tag_ids())
    if unknown:
        raise InvalidInput("a tag is not in the taxonomy", extra={"unknown_tags": unknown})
    command = CorrectItem(
        shop_id=caller.shop_id,
        item_id=item_id,
        tags=tuple(body.tags),
        sentiment=body.sentiment,
        by=caller.subject,
    )
    return CorrectionAccepted.model_validate(await service.submit(command, key))


@router.post("/reviews", status_code=202)
async def post_review(
    caller: ShopSystem, service: RunningService, body: NewReview, key: IdempotencyKey
) -> ReviewAccepted:
    """Hand in a review. The same `review_id` again is the same review, edited perhaps."""
    shop_id = caller.require_shop(body.shop_id)
    review = ShopReview(**body.model_dump(exclude={"shop_id"}), shop_id=shop_id)
    answer = await service.submit(CollectReview(review=review), key)
    return ReviewAccepted.model_validate(answer)
