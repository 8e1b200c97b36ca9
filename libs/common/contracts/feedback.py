"""What buyers say, tagged; spikes of complaints; the tasks that answer them."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from .base import Event, contract
from .vocabulary import (
    Count,
    Excerpt,
    Id,
    Note,
    Probability,
    Text,
    Time,
    Word,
)

FeedbackSource = Literal["conversation", "review", "return_reason", "rating", "case"]
Sentiment = Literal["negative", "neutral", "positive"]
SpikeLevel = Literal["page", "digest"]
OwnerRole = Literal["operations", "product", "warehouse", "courier", "training"]
TaskOutcome = Literal["fixed", "not_a_problem", "cannot_fix", "expired"]


class Tag(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A tag of the taxonomy, how sure the tagger is, and the words it was found by."""

    tag: Word
    score: Probability
    evidence: Excerpt = ""


@contract(
    name="feedback.tagged",
    topic="kefu.feedback",
    key=("shop_id", "item_id"),
    producers=("feedback",),
    consumers=("feedback",),
    summary="A piece of feedback got its tags and sentiment.",
    examples=[
        {
            "shop_id": "demo",
            "item_id": "review:rv-9001",
            "source": "review",
            "product_id": "coat-001",
            "order_id": "260100001",
            "buyer_id": "tb_lihua88",
            "tags": [
                {"tag": "quality.pilling", "score": 0.96, "evidence": "起球"},
                {"tag": "description.colour", "score": 0.81, "evidence": "颜色也比图片浅"},
            ],
            "sentiment": "negative",
            "taxonomy_version": 1,
            "text_excerpt": "洗了一次就起球,颜色也比图片浅。",
            "occurred_at": "2025-06-12T12:15:00Z",
        }
    ],
)
class FeedbackTagged(Event, frozen=True, kw_only=True, omit_defaults=True):
    """`item_id` names the source too (`review:rv-9001`): tagged again, the newest replaces."""

    item_id: Id
    source: FeedbackSource
    product_id: Id | None = None
    order_id: Id | None = None
    buyer_id: Id | None = None
    tags: Annotated[tuple[Tag, ...], Meta(max_length=50)]
    sentiment: Sentiment
    taxonomy_version: Count
    text_excerpt: Excerpt
    occurred_at: Time


@contract(
    name="feedback.spiked",
    topic="kefu.feedback",
    key=("shop_id", "product_id"),
    producers=("feedback",),
    consumers=("chat_router",),
    summary="Complaints of one kind about one product rose beyond what its orders explain.",
    examples=[
        {
            "shop_id": "demo",
            "spike_id": "01977c3e-0000-7000-8000-000000000071",
            "product_id": "coat-001",
            "tag": "quality.pilling",
            "window_start": "2025-06-10T00:00:00Z",
            "window_end": "2025-06-13T00:00:00Z",
            "count": 9,
            "expected": 1.4,
            "exposure_orders": 320,
            "p_value": 0.00002,
            "q_value": 0.004,
            "level": "page",
            "detected_at": "2025-06-13T00:00:05Z",
        }
    ],
)
class FeedbackSpiked(Event, frozen=True, kw_only=True, omit_defaults=True):
    """`p_value`: Gamma-Poisson predictive, with orders as exposure. `q_value`: after
    Benjamini-Hochberg over all streams of the shop. `page` wakes someone, `digest` can wait."""

    spike_id: Id
    product_id: Id
    tag: Word
    window_start: Time
    window_end: Time
    count: Count
    expected: Annotated[float, Meta(ge=0)]
    exposure_orders: Count
    p_value: Probability
    q_value: Probability
    level: SpikeLevel
    detected_at: Time


@contract(
    name="feedback.task_opened",
    topic="kefu.feedback",
    key=("shop_id", "product_id"),
    producers=("feedback",),
    consumers=("chat_router",),
    summary="Someone got the task to find and mend the cause of complaints.",
    examples=[
        {
            "shop_id": "demo",
            "task_id": "01977c3e-0000-7000-8000-000000000081",
            "spike_id": "01977c3e-0000-7000-8000-000000000071",
            "product_id": "coat-001",
            "tag": "quality.pilling",
            "owner_role": "product",
            "deadline_at": "2025-06-16T00:00:05Z",
            "opened_at": "2025-06-13T00:00:05Z",
        }
    ],
)
class FeedbackTaskOpened(Event, frozen=True, kw_only=True, omit_defaults=True):
    """`spike_id` is None for a task that a person opened."""

    task_id: Id
    spike_id: Id | None = None
    product_id: Id
    tag: Word
    owner_role: OwnerRole
    note: Note = ""
    deadline_at: Time
    opened_at: Time


@contract(
    name="feedback.task_closed",
    topic="kefu.feedback",
    key=("shop_id", "product_id"),
    producers=("feedback",),
    consumers=("chat_router",),
    summary="A task was answered.",
    examples=[
        {
            "shop_id": "demo",
            "task_id": "01977c3e-0000-7000-8000-000000000081",
            "product_id": "coat-001",
            "tag": "quality.pilling",
            "answer": "已换面料批次,详情页补充洗涤说明。",
            "outcome": "fixed",
            "closed_by": "wangfang",
            "closed_at": "2025-06-15T03:00:00Z",
        }
    ],
)
class FeedbackTaskClosed(Event, frozen=True, kw_only=True, omit_defaults=True):
    """`closed_by` is the person who answered, or `system` for one that expired."""

    task_id: Id
    product_id: Id
    tag: Word
    answer: Text
    outcome: TaskOutcome
    closed_by: Id
    closed_at: Time
