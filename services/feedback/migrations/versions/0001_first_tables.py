"""The tables of the feedback service."""

import sqlalchemy as sa
from alembic import op

from common.db.backbone import create_backbone, drop_backbone
from common.db.types import UtcDateTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_backbone(op)
    op.create_table(
        "corrections",
        sa.Column("shop_id", sa.String(), nullable=False),
        sa.Column("correction_id", sa.String(), nullable=False),
        sa.Column("item_id", sa.String(), nullable=False),
        sa.Column("tags", sa.JSON, nullable=False),
        sa.Column("sentiment", sa.String(), nullable=False),
        sa.Column("previous_tags", sa.JSON, nullable=False),
        sa.Column("previous_sentiment", sa.String(), nullable=False),
        sa.Column("taxonomy_version", sa.Integer, nullable=False),
        sa.Column("corrected_by", sa.String(), nullable=False),
        sa.Column("corrected_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("shop_id", "correction_id"),
    )
    op.create_index("ix_corrections_item", "corrections", ["shop_id", "item_id"], unique=False)
    op.create_table(
        "daily_hits",
        sa.Column("shop_id", sa.String(), nullable=False),
        sa.Column("product_id", sa.String(), nullable=False),
        sa.Column("tag", sa.String(), nullable=False),
        sa.Column("day", sa.String(), nullable=False),
        sa.Column("hits", sa.Integer, nullable=False),
        sa.Column("updated_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("shop_id", "product_id", "tag", "day"),
    )
    op.create_index("ix_daily_hits_day", "daily_hits", ["shop_id", "day"], unique=False)
    op.create_index("ix_daily_hits_updated", "daily_hits", ["updated_at"], unique=False)
    op.create_table(
        "daily_orders",
        sa.Column("shop_id", sa.String(), nullable=False),
        sa.Column("product_id", sa.String(), nullable=False),
        sa.Column("day", sa.String(), nullable=False),
        sa.Column("orders", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("shop_id", "product_id", "day"),
    )
    op.create_index("ix_daily_orders_day", "daily_orders", ["shop_id", "day"], unique=False)
    op.create_table(
        "hits",
        sa.Column("shop_id", sa.String(), nullable=False),
        sa.Column("item_id", sa.String(), nullable=False),
        sa.Column("tag", sa.String(), nullable=False),
        sa.Column("product_id", sa.String(), nullable=True),
        sa.Column("buyer_id", sa.String(), nullable=True),
        sa.Column("day", sa.String(), nullable=False),
        sa.Column("score", sa.Float, nullable=False),
        sa.Column("counted", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("shop_id", "item_id", "tag"),
    )
    op.create_index("ix_hits_stream", "hits", ["shop_id", "product_id", "tag", "day"], unique=False)
    op.create_index("ix_hits_tag", "hits", ["shop_id", "tag", "item_id"], unique=False)
    op.create_table(
        "items",
        sa.Column("shop_id", sa.String(), nullable=False),
        sa.Column("item_id", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("source_id", sa.String(), nullable=False),
        sa.Column("product_id", sa.String(), nullable=True),
        sa.Column("order_id", sa.String(), nullable=True),
        sa.Column("buyer_id", sa.String(), nullable=True),
        sa.Column("rating", sa.Integer, nullable=True),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("tags", sa.JSON, nullable=False),
        sa.Column("sentiment", sa.String(), nullable=False),
        sa.Column("taxonomy_version", sa.Integer, nullable=False),
        sa.Column("corrected", sa.Boolean, nullable=False),
        sa.Column("occurred_at", UtcDateTime, nullable=False),
        sa.Column("day", sa.String(), nullable=False),
        sa.Column("updated_at", UtcDateTime, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("shop_id", "item_id"),
        sa.UniqueConstraint("shop_id", "source", "source_id", name="uq_items_source"),
    )
    op.create_index("ix_items_newest", "items", ["shop_id", "occurred_at", "item_id"], unique=False)
    op.create_index(
        "ix_items_product",
        "items",
        ["shop_id", "product_id", "occurred_at", "item_id"],
        unique=False,
    )
    op.create_table(
        "latest_orders",
        sa.Column("shop_id", sa.String(), nullable=False),
        sa.Column("buyer_id", sa.String(), nullable=False),
        sa.Column("order_id", sa.String(), nullable=False),
        sa.Column("product_ids", sa.JSON, nullable=False),
        sa.Column("paid_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("shop_id", "buyer_id"),
    )
    op.create_table(
        "policies",
        sa.Column("shop_id", sa.String(), nullable=False),
        sa.Column("deadline_hours", sa.JSON, nullable=False),
        sa.Column("proof_days", sa.Integer, nullable=False),
        sa.Column("rules", sa.JSON, nullable=False),
        sa.Column("changed_by", sa.String(), nullable=False),
        sa.Column("changed_at", UtcDateTime, nullable=True),
        sa.Column("version", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("shop_id"),
    )
    op.create_table(
        "sold_lines",
        sa.Column("shop_id", sa.String(), nullable=False),
        sa.Column("order_id", sa.String(), nullable=False),
        sa.Column("line_id", sa.String(), nullable=False),
        sa.Column("product_id", sa.String(), nullable=False),
        sa.Column("buyer_id", sa.String(), nullable=False),
        sa.Column("day", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("shop_id", "order_id", "line_id"),
    )
    op.create_table(
        "spike_watches",
        sa.Column("shop_id", sa.String(), nullable=False),
        sa.Column("evaluated_at", UtcDateTime, nullable=False),
        sa.Column("streams", sa.Integer, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("shop_id"),
    )
    op.create_index(
        "ix_spike_watches_evaluated_at", "spike_watches", ["evaluated_at"], unique=False
    )
    op.create_table(
        "spikes",
        sa.Column("shop_id", sa.String(), nullable=False),
        sa.Column("spike_id", sa.String(), nullable=False),
        sa.Column("product_id", sa.String(), nullable=False),
        sa.Column("tag", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("level", sa.String(), nullable=False),
        sa.Column("window_start", sa.String(), nullable=False),
        sa.Column("window_end", sa.String(), nullable=False),
        sa.Column("count", sa.Integer, nullable=False),
        sa.Column("expected", sa.Float, nullable=False),
        sa.Column("exposure_orders", sa.Integer, nullable=False),
        sa.Column("baseline_hits", sa.Integer, nullable=False),
        sa.Column("baseline_orders", sa.Integer, nullable=False),
        sa.Column("p_value", sa.Float, nullable=False),
        sa.Column("q_value", sa.Float, nullable=False),
        sa.Column("task_id", sa.String(), nullable=True),
        sa.Column("detected_at", UtcDateTime, nullable=False),
        sa.Column("quiet_until", UtcDateTime, nullable=True),
        sa.Column("ended_at", UtcDateTime, nullable=True),
        sa.Column("version", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("shop_id", "spike_id"),
    )
    op.create_index(
        "ix_spikes_newest", "spikes", ["shop_id", "detected_at", "spike_id"], unique=False
    )
    op.create_index(
        "uq_spikes_live",
        "spikes",
        ["shop_id", "product_id", "tag"],
        unique=True,
        postgresql_where=sa.text("state <> 'past'"),
        sqlite_where=sa.text("state <> 'past'"),
    )
    op.create_table(
        "tasks",
        sa.Column("shop_id", sa.String(), nullable=False),
        sa.Column("task_id", sa.String(), nullable=False),
        sa.Column("spike_id", sa.String(), nullable=True),
        sa.Column("product_id", sa.String(), nullable=False),
        sa.Column("tag", sa.String(), nullable=False),
        sa.Column("owner_role", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("overdue", sa.Boolean, nullable=False),
        sa.Column("note", sa.String(), nullable=False),
        sa.Column("evidence", sa.JSON, nullable=False),
        sa.Column("answers", sa.JSON, nullable=False),
        sa.Column("hits_before", sa.Integer, nullable=False),
        sa.Column("orders_before", sa.Integer, nullable=False),
        sa.Column("opened_at", UtcDateTime, nullable=False),
        sa.Column("deadline_at", UtcDateTime, nullable=False),
        sa.Column("outcome", sa.String(), nullable=True),
        sa.Column("closed_by", sa.String(), nullable=True),
        sa.Column("closed_at", UtcDateTime, nullable=True),
        sa.Column("proof_due_at", UtcDateTime, nullable=True),
        sa.Column("proof", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("version", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("shop_id", "task_id"),
    )
    op.create_index("ix_tasks_newest", "tasks", ["shop_id", "opened_at", "task_id"], unique=False)
    op.create_index(
        "ix_tasks_unproven",
        "tasks",
        ["proof_due_at"],
        unique=False,
        postgresql_where=sa.text("proof_due_at IS NOT NULL"),
        sqlite_where=sa.text("proof_due_at IS NOT NULL"),
    )
    op.create_table(
        "threads",
        sa.Column("shop_id", sa.String(), nullable=False),
        sa.Column("conversation_id", sa.String(), nullable=False),
        sa.Column("buyer_id", sa.String(), nullable=False),
        sa.Column("product_id", sa.String(), nullable=True),
        sa.Column("order_id", sa.String(), nullable=True),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("tags", sa.JSON, nullable=False),
        sa.Column("polarity", sa.Float, nullable=False),
        sa.Column("messages", sa.Integer, nullable=False),
        sa.Column("started_at", UtcDateTime, nullable=False),
        sa.Column("closed_at", UtcDateTime, nullable=True),
        sa.Column("version", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("shop_id", "conversation_id"),
    )


def downgrade() -> None:

    op.drop_table("threads")
    op.drop_index(
        "ix_tasks_unproven",
        table_name="tasks",
        postgresql_where=sa.text("proof_due_at IS NOT NULL"),
        sqlite_where=sa.text("proof_due_at IS NOT NULL"),
    )
    op.drop_index("ix_tasks_newest", table_name="tasks")
    op.drop_table("tasks")
    op.drop_index(
        "uq_spikes_live",
        table_name="spikes",
        postgresql_where=sa.text("state <> 'past'"),
        sqlite_where=sa.text("state <> 'past'"),
    )
    op.drop_index("ix_spikes_newest", table_name="spikes")
    op.drop_table("spikes")
    op.drop_index("ix_spike_watches_evaluated_at", table_name="spike_watches")
    op.drop_table("spike_watches")
    op.drop_table("sold_lines")
    op.drop_table("policies")
    op.drop_table("latest_orders")
    op.drop_index("ix_items_product", table_name="items")
    op.drop_index("ix_items_newest", table_name="items")
    op.drop_table("items")
    op.drop_index("ix_hits_tag", table_name="hits")
    op.drop_index("ix_hits_stream", table_name="hits")
    op.drop_table("hits")
    op.drop_index("ix_daily_orders_day", table_name="daily_orders")
    op.drop_table("daily_orders")
    op.drop_index("ix_daily_hits_updated", table_name="daily_hits")
    op.drop_index("ix_daily_hits_day", table_name="daily_hits")
    op.drop_table("daily_hits")
    op.drop_index("ix_corrections_item", table_name="corrections")
    op.drop_table("corrections")
    drop_backbone(op)
