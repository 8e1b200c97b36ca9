"""Items: each piece of feedback once, with its tags, and the events that announce them."""

import hashlib
import re
from collections.abc import Iterable
from datetime import datetime

import msgspec

from common.contracts import FeedbackSource, FeedbackTagged, Sentiment, Tag
from feedback.days import shop_day
from feedback.tagging import Tagging

COUNTED_SCORE = 0.5
"""Tags at or above this are complaints; below it the buyer only asked or hinted."""

EXCERPT_LENGTH = 200
MAX_ITEM_ID = 128
_SAFE_ID = re.compile(r"[A-Za-z0-9_.:@-]+")


class Item(msgspec.Struct, kw_only=True):
    """One piece of feedback. `item_id` names the source too: `review:rv-9001`.

    `day` is the shop's local day of `occurred_at`. `corrected` items keep what a person decided
    until the buyer changes the text.
    """

    shop_id: str
    item_id: str
    source: FeedbackSource
    source_id: str
    product_id: str | None
    order_id: str | None
    buyer_id: str | None
    rating: int | None
    text: str
    tags: tuple[Tag, ...]
    sentiment: Sentiment
    taxonomy_version: int
    corrected: bool = False
    occurred_at: datetime
    day: str
    updated_at: datetime
    version: int = 0


class Correction(msgspec.Struct, kw_only=True):
    """What a person changed about an item, kept beside what it was, so that it can be learnt."""

    shop_id: str
    correction_id: str
    item_id: str
    tags: tuple[Tag, ...]
    sentiment: Sentiment
    previous_tags: tuple[Tag, ...]
    previous_sentiment: Sentiment
    taxonomy_version: int
    corrected_by: str
    corrected_at: datetime


class Collected(msgspec.Struct, frozen=True, kw_only=True):
    """What a source says, before it is tagged."""

    shop_id: str
    source: FeedbackSource
    source_id: str
    product_id: str | None = None
    order_id: str | None = None
    buyer_id: str | None = None
    rating: int | None = None
    text: str
    occurred_at: datetime

    @property
    def item_id(self) -> str:
        """The id of the item this becomes."""
        return item_id_of(self.source, self.source_id)


def item_id_of(source: FeedbackSource, source_id: str) -> str:
    """`source:source_id`; hashed where the platform's id is too long or unfit for a path."""
    plain = f"{source}:{source_id}"
    if len(plain) <= MAX_ITEM_ID and _SAFE_ID.fullmatch(plain):
        return plain
    return f"{source}:{hashlib.sha256(source_id.encode()).hexdigest()[:40]}"


def new_item(collected: Collected, tagging: Tagging, now: datetime) -> Item:
    """The item of a source seen for the first time."""
    return Item(
        shop_id=collected.shop_id,
        item_id=collected.item_id,
        source=collected.source,
        source_id=collected.source_id,
        product_id=collected.product_id,
        order_id=collected.order_id,
        buyer_id=collected.buyer_id,
        rating=collected.rating,
        text=collected.text,
        tags=tagging.tags,
        sentiment=tagging.sentiment,
        taxonomy_version=tagging.taxonomy_version,
        occurred_at=collected.occurred_at,
        day=shop_day(collected.occurred_at),
        updated_at=now,
    )


def revise(item: Item, collected: Collected, tagging: Tagging, now: datetime) -> bool:
    """Bring a known item up to date; True when its readers should hear of it.

    The same words again change nothing, whatever a newer taxonomy would say (a conversation has
    said more than its stored text can hold); what a person corrected stays until the words change.
    """
    before = _announced(item)
    if item.text != collected.text:
        item.corrected = False
    grown = item.source == "conversation"
    if not item.corrected and (grown or _said(item) != _said(collected)):
        item.tags, item.sentiment = tagging.tags, tagging.sentiment
        item.taxonomy_version = tagging.taxonomy_version
    item.text, item.rating = collected.text, collected.rating
    item.product_id = item.product_id or collected.product_id
    item.order_id = item.order_id or collected.order_id
    if _announced(item) == before:
        return False
    item.updated_at = now
    return True


def correct(
    item: Item,
    tags: Iterable[str],
    sentiment: Sentiment,
    by: str,
    now: datetime,
    correction_id: str,
) -> Correction:
    """Put a person's tags and sentiment in place of the tagger's; the record of the change.

    A tag that stays keeps its evidence; all tags a person sets are certain.
    """
    evidence = {tag.tag: tag.evidence for tag in item.tags}
    chosen = tuple(
        Tag(tag=name, score=1.0, evidence=evidence.get(name, "")) for name in dict.fromkeys(tags)
    )
    record = Correction(
        shop_id=item.shop_id,
        correction_id=correction_id,
        item_id=item.item_id,
        tags=chosen,
        sentiment=sentiment,
        previous_tags=item.tags,
        previous_sentiment=item.sentiment,
        taxonomy_version=item.taxonomy_version,
        corrected_by=by,
        corrected_at=now,
    )
    item.tags, item.sentiment, item.corrected, item.updated_at = chosen, sentiment, True, now
    return record


def tagged(item: Item) -> FeedbackTagged:
    """The event that says what an item's tags now are."""
    return FeedbackTagged(
        shop_id=item.shop_id,
        item_id=item.item_id,
        source=item.source,
        product_id=item.product_id,
        order_id=item.order_id,
        buyer_id=item.buyer_id,
        tags=item.tags,
        sentiment=item.sentiment,
        taxonomy_version=item.taxonomy_version,
        text_excerpt=excerpt(item.text),
        occurred_at=item.occurred_at,
    )


def excerpt(text: str) -> str:
    """The beginning of a text, short enough to be shown in a list."""
    return text if len(text) <= EXCERPT_LENGTH else text[: EXCERPT_LENGTH - 1] + "…"


def _said(words: Item | Collected) -> tuple[str, int | None]:
    return words.text, words.rating


def _announced(item: Item) -> tuple[object, ...]:
    return item.tags, item.sentiment, item.product_id, item.order_id, item.text, item.rating
