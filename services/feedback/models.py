"""Tables of the feedback service."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from common.db.models import partial_index, service_registry
from common.db.types import UtcDateTime

LIVE_SPIKES = "state <> 'past'"


class FeedbackTable(SQLModel, registry=service_registry()):
    """Base of this service's tables, with metadata of its own."""


class ItemRow(FeedbackTable, table=True):
    """A piece of feedback, once per source and id."""

    __tablename__ = "items"
    __table_args__ = (
        sa.UniqueConstraint("shop_id", "source", "source_id", name="uq_items_source"),
        sa.Index("ix_items_newest", "shop_id", "occurred_at", "item_id"),
        sa.Index("ix_items_product", "shop_id", "product_id", "occurred_at", "item_id"),
    )
    shop_id: str = Field(primary_key=True)
    item_id: str = Field(primary_key=True)
    source: str
    source_id: str
    product_id: str | None = None
    order_id: str | None = None
    buyer_id: str | None = None
    rating: int | None = None
    text: str
    tags: list[Any] = Field(sa_type=sa.JSON)
    sentiment: str
    taxonomy_version: int
    corrected: bool
    occurred_at: datetime = Field(sa_type=UtcDateTime)
    day: str
    updated_at: datetime = Field(sa_type=UtcDateTime)
    version: int


class CorrectionRow(FeedbackTable, table=True):
    """What a person changed about an item."""

    __tablename__ = "corrections"
    __table_args__ = (sa.Index("ix_corrections_item", "shop_id", "item_id"),)
    shop_id: str = Field(primary_key=True)
    correction_id: str = Field(primary_key=True)
    item_id: str
    tags: list[Any] = Field(sa_type=sa.JSON)
    sentiment: str
    previous_tags: list[Any] = Field(sa_type=sa.JSON)
    previous_sentiment: str
    taxonomy_version: int
    corrected_by: str
    corrected_at: datetime = Field(sa_type=UtcDateTime)


class ThreadRow(FeedbackTable, table=True):
    """The buyer's side of a conversation."""

    __tablename__ = "threads"
    shop_id: str = Field(primary_key=True)
    conversation_id: str = Field(primary_key=True)
    buyer_id: str
    product_id: str | None = None
    order_id: str | None = None
    text: str
    tags: list[Any] = Field(sa_type=sa.JSON)
    polarity: float
    messages: int
    started_at: datetime = Field(sa_type=UtcDateTime)
    closed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    version: int


class HitRow(FeedbackTable, table=True):
    """A tag of an item: the ledger behind the daily counts."""

    __tablename__ = "hits"
    __table_args__ = (
        sa.Index("ix_hits_tag", "shop_id", "tag", "item_id"),
        sa.Index("ix_hits_stream", "shop_id", "product_id", "tag", "day"),
    )
    shop_id: str = Field(primary_key=True)
    item_id: str = Field(primary_key=True)
    tag: str = Field(primary_key=True)
    product_id: str | None = None
    buyer_id: str | None = None
    day: str
    score: float
    counted: bool


class DailyHitsRow(FeedbackTable, table=True):
    """Complaints per product, tag and local day."""

    __tablename__ = "daily_hits"
    __table_args__ = (
        sa.Index("ix_daily_hits_day", "shop_id", "day"),
        sa.Index("ix_daily_hits_updated", "updated_at"),
    )
    shop_id: str = Field(primary_key=True)
    product_id: str = Field(primary_key=True)
    tag: str = Field(primary_key=True)
    day: str = Field(primary_key=True)
    hits: int
    updated_at: datetime = Field(sa_type=UtcDateTime)


class DailyOrdersRow(FeedbackTable, table=True):
    """Paid order lines per product and local day."""

    __tablename__ = "daily_orders"
    __table_args__ = (sa.Index("ix_daily_orders_day", "shop_id", "day"),)
    shop_id: str = Field(primary_key=True)
    product_id: str = Field(primary_key=True)
    day: str = Field(primary_key=True)
    orders: int


class SoldLineRow(FeedbackTable, table=True):
    """An order line that was counted."""

    __tablename__ = "sold_lines"
    shop_id: str = Field(primary_key=True)
    order_id: str = Field(primary_key=True)
    line_id: str = Field(primary_key=True)
    product_id: str
    buyer_id: str
    day: str


class LatestOrderRow(FeedbackTable, table=True):
    """Each buyer's newest paid order."""

    __tablename__ = "latest_orders"
    shop_id: str = Field(primary_key=True)
    buyer_id: str = Field(primary_key=True)
    order_id: str
    product_ids: list[str] = Field(sa_type=sa.JSON)
    paid_at: datetime = Field(sa_type=UtcDateTime)


class SpikeRow(FeedbackTable, table=True):
    """A stream that rose; at most one per product and tag is not past."""

    __tablename__ = "spikes"
    __table_args__ = (
        partial_index(
            "uq_spikes_live", "shop_id", "product_id", "tag", unique=True, where=LIVE_SPIKES
        ),
        sa.Index("ix_spikes_newest", "shop_id", "detected_at", "spike_id"),
    )
    shop_id: str = Field(primary_key=True)
    spike_id: str = Field(primary_key=True)
    product_id: str
    tag: str
    state: str
    level: str
    window_start: str
    window_end: str
    count: int
    expected: float
    exposure_orders: int
    baseline_hits: int
    baseline_orders: int
    p_value: float
    q_value: float
    task_id: str | None = None
    detected_at: datetime = Field(sa_type=UtcDateTime)
    quiet_until: datetime | None = Field(default=None, sa_type=UtcDateTime)
    ended_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    version: int


class SpikeWatchRow(FeedbackTable, table=True):
    """When each shop was last judged, and over how many streams."""

    __tablename__ = "spike_watches"
    shop_id: str = Field(primary_key=True)
    evaluated_at: datetime = Field(sa_type=UtcDateTime, index=True)
    streams: int
    version: int


class TaskRow(FeedbackTable, table=True):
    """A task for the department that can mend the cause."""

    __tablename__ = "tasks"
    __table_args__ = (
        sa.Index("ix_tasks_newest", "shop_id", "opened_at", "task_id"),
        partial_index("ix_tasks_unproven", "proof_due_at", where="proof_due_at IS NOT NULL"),
    )
    shop_id: str = Field(primary_key=True)
    task_id: str = Field(primary_key=True)
    spike_id: str | None = None
    product_id: str
    tag: str
    owner_role: str
    state: str
    overdue: bool
    note: str
    evidence: list[Any] = Field(sa_type=sa.JSON)
    answers: list[Any] = Field(sa_type=sa.JSON)
    hits_before: int
    orders_before: int
    opened_at: datetime = Field(sa_type=UtcDateTime)
    deadline_at: datetime = Field(sa_type=UtcDateTime)
    outcome: str | None = None
    closed_by: str | None = None
    closed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    proof_due_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    # none_as_null: a missing proof is SQL NULL, not the JSON word null.
    proof: dict[str, Any] | None = Field(default=None, sa_type=sa.JSON(none_as_null=True))
    version: int


class PolicyRow(FeedbackTable, table=True):
    """A shop's own policy."""

    __tablename__ = "policies"
    shop_id: str = Field(primary_key=True)
    deadline_hours: dict[str, int] = Field(sa_type=sa.JSON)
    proof_days: int
    rules: dict[str, Any] = Field(sa_type=sa.JSON)
    changed_by: str
    changed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    version: int
    edition: int = Field(sa_column_kwargs={"server_default": "0"})
