"""The tables of order_ops."""

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
        "buyers",
        sa.Column("shop_id", sa.String(), nullable=False),
        sa.Column("buyer_id", sa.String(), nullable=False),
        sa.Column("conversation_id", sa.String(), nullable=True),
        sa.Column("chat_active_at", UtcDateTime, nullable=True),
        sa.Column("purchases", sa.JSON(), nullable=False),
        sa.Column("blocked", sa.Boolean(), nullable=False),
        sa.Column("block_reason", sa.String(), nullable=False),
        sa.Column("blocked_by", sa.String(), nullable=False),
        sa.Column("block_changed_at", UtcDateTime, nullable=True),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("shop_id", "buyer_id"),
    )
    op.create_index(
        "ix_buyers_blocked",
        "buyers",
        ["shop_id", "buyer_id"],
        unique=False,
        postgresql_where=sa.text("blocked"),
        sqlite_where=sa.text("blocked"),
    )
    op.create_table(
        "memos",
        sa.Column("shop_id", sa.String(), nullable=False),
        sa.Column("memo_id", sa.String(), nullable=False),
        sa.Column("order_id", sa.String(), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("line", sa.String(), nullable=False),
        sa.Column("flag", sa.Integer(), nullable=True),
        sa.Column("author", sa.String(), nullable=False),
        sa.Column("author_role", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("command_id", sa.String(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("failure_code", sa.String(), nullable=False),
        sa.Column("failure_message", sa.String(), nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("requested_at", UtcDateTime, nullable=True),
        sa.Column("settled_at", UtcDateTime, nullable=True),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("shop_id", "memo_id"),
    )
    op.create_index("ix_memos_order", "memos", ["shop_id", "order_id"], unique=False)
    op.create_index("ux_memos_command", "memos", ["shop_id", "command_id"], unique=True)
    op.create_table(
        "order_cases",
        sa.Column("shop_id", sa.String(), nullable=False),
        sa.Column("case_id", sa.String(), nullable=False),
        sa.Column("order_id", sa.String(), nullable=False),
        sa.Column("is_open", sa.Boolean(), nullable=False),
        sa.Column("case_version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("shop_id", "case_id"),
    )
    op.create_index("ix_order_cases_order", "order_cases", ["shop_id", "order_id"], unique=False)
    op.create_table(
        "order_history",
        sa.Column("shop_id", sa.String(), nullable=False),
        sa.Column("entry_id", sa.String(), nullable=False),
        sa.Column("order_id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("note", sa.String(), nullable=False),
        sa.Column("occurred_at", UtcDateTime, nullable=False),
        sa.Column("recorded_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("shop_id", "entry_id"),
    )
    op.create_index(
        "ix_order_history_order", "order_history", ["shop_id", "order_id", "entry_id"], unique=False
    )
    op.create_table(
        "orders",
        sa.Column("shop_id", sa.String(), nullable=False),
        sa.Column("order_id", sa.String(), nullable=False),
        sa.Column("platform", sa.String(), nullable=False),
        sa.Column("buyer_id", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("step_status", sa.String(), nullable=False),
        sa.Column("lines", sa.JSON(), nullable=False),
        sa.Column("goods_fen", sa.BigInteger(), nullable=False),
        sa.Column("postage_fen", sa.BigInteger(), nullable=False),
        sa.Column("discount_fen", sa.BigInteger(), nullable=False),
        sa.Column("total_fen", sa.BigInteger(), nullable=False),
        sa.Column("paid_fen", sa.BigInteger(), nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("paid_at", UtcDateTime, nullable=True),
        sa.Column("shipped_at", UtcDateTime, nullable=True),
        sa.Column("signed_at", UtcDateTime, nullable=True),
        sa.Column("finished_at", UtcDateTime, nullable=True),
        sa.Column("closed_at", UtcDateTime, nullable=True),
        sa.Column("closes_at", UtcDateTime, nullable=True),
        sa.Column("close_reason", sa.String(), nullable=True),
        sa.Column("modified_at", UtcDateTime, nullable=False),
        sa.Column("source_version", sa.BigInteger(), nullable=True),
        sa.Column("latest_status", sa.String(), nullable=False),
        sa.Column("fingerprint", sa.String(), nullable=False),
        sa.Column("region", sa.String(), nullable=True),
        sa.Column("parcels", sa.JSON(), nullable=False),
        sa.Column("seller_memo", sa.String(), nullable=True),
        sa.Column("flag", sa.Integer(), nullable=True),
        sa.Column("buyer_grade", sa.String(), nullable=True),
        sa.Column("refund_open", sa.Boolean(), nullable=False),
        sa.Column("case_open", sa.Boolean(), nullable=False),
        sa.Column("passed", sa.JSON(), nullable=False),
        sa.Column("anomalies", sa.JSON(), nullable=False),
        sa.Column("needs_person", sa.Boolean(), nullable=False),
        sa.Column("exposed_as", sa.String(), nullable=True),
        sa.Column("exposed_at", UtcDateTime, nullable=True),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("shop_id", "order_id"),
    )
    op.create_index(
        "ix_orders_buyer", "orders", ["shop_id", "buyer_id", "created_at", "order_id"], unique=False
    )
    op.create_index(
        "ix_orders_exposed",
        "orders",
        ["shop_id", "exposed_at"],
        unique=False,
        postgresql_where=sa.text("exposed_at IS NOT NULL"),
        sqlite_where=sa.text("exposed_at IS NOT NULL"),
    )
    op.create_index(
        "ix_orders_needs_person",
        "orders",
        ["shop_id", "created_at", "order_id"],
        unique=False,
        postgresql_where=sa.text("needs_person"),
        sqlite_where=sa.text("needs_person"),
    )
    op.create_index(
        "ix_orders_newest", "orders", ["shop_id", "created_at", "order_id"], unique=False
    )
    op.create_index(
        "ix_orders_unpaid",
        "orders",
        ["shop_id", "buyer_id"],
        unique=False,
        postgresql_where=sa.text("status = 'unpaid'"),
        sqlite_where=sa.text("status = 'unpaid'"),
    )
    op.create_table(
        "reminder_policies",
        sa.Column("shop_id", sa.String(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("stages", sa.JSON(), nullable=False),
        sa.Column("max_per_day", sa.Integer(), nullable=False),
        sa.Column("quiet_from", sa.String(), nullable=False),
        sa.Column("quiet_until", sa.String(), nullable=False),
        sa.Column("time_zone", sa.String(), nullable=False),
        sa.Column("minimum_fen", sa.BigInteger(), nullable=False),
        sa.Column("grades", sa.JSON(), nullable=False),
        sa.Column("recent_purchase_seconds", sa.Integer(), nullable=False),
        sa.Column("live_chat_seconds", sa.Integer(), nullable=False),
        sa.Column("minimum_gap_seconds", sa.Integer(), nullable=False),
        sa.Column("late_tolerance_seconds", sa.Integer(), nullable=False),
        sa.Column("acknowledge_seconds", sa.Integer(), nullable=False),
        sa.Column("holdout_basis_points", sa.Integer(), nullable=False),
        sa.Column("changed_by", sa.String(), nullable=False),
        sa.Column("changed_at", UtcDateTime, nullable=True),
        sa.Column("edition", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("shop_id"),
    )
    op.create_table(
        "reminders",
        sa.Column("shop_id", sa.String(), nullable=False),
        sa.Column("order_id", sa.String(), nullable=False),
        sa.Column("stage", sa.Integer(), nullable=False),
        sa.Column("reminder_id", sa.String(), nullable=False),
        sa.Column("buyer_id", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("planned_for", UtcDateTime, nullable=False),
        sa.Column("due_at", UtcDateTime, nullable=False),
        sa.Column("mode", sa.String(), nullable=True),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("pending_reason", sa.String(), nullable=True),
        sa.Column("fired_at", UtcDateTime, nullable=True),
        sa.Column("settle_at", UtcDateTime, nullable=True),
        sa.Column("settled_at", UtcDateTime, nullable=True),
        sa.Column("message_id", sa.String(), nullable=True),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("recent", sa.Boolean(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("shop_id", "order_id", "stage"),
    )
    op.create_index("ix_reminders_buyer", "reminders", ["shop_id", "buyer_id"], unique=False)
    op.create_index(
        "ix_reminders_recent",
        "reminders",
        ["shop_id", "buyer_id"],
        unique=False,
        postgresql_where=sa.text("recent"),
        sqlite_where=sa.text("recent"),
    )
    op.create_index("ix_reminders_settled", "reminders", ["shop_id", "settled_at"], unique=False)
    op.create_index("ux_reminders_id", "reminders", ["shop_id", "reminder_id"], unique=True)


def downgrade() -> None:
    op.drop_index("ux_reminders_id", table_name="reminders")
    op.drop_index("ix_reminders_settled", table_name="reminders")
    op.drop_index(
        "ix_reminders_recent",
        table_name="reminders",
        postgresql_where=sa.text("recent"),
        sqlite_where=sa.text("recent"),
    )
    op.drop_index("ix_reminders_buyer", table_name="reminders")
    op.drop_table("reminders")
    op.drop_table("reminder_policies")
    op.drop_index(
        "ix_orders_unpaid",
        table_name="orders",
        postgresql_where=sa.text("status = 'unpaid'"),
        sqlite_where=sa.text("status = 'unpaid'"),
    )
    op.drop_index("ix_orders_newest", table_name="orders")
    op.drop_index(
        "ix_orders_needs_person",
        table_name="orders",
        postgresql_where=sa.text("needs_person"),
        sqlite_where=sa.text("needs_person"),
    )
    op.drop_index(
        "ix_orders_exposed",
        table_name="orders",
        postgresql_where=sa.text("exposed_at IS NOT NULL"),
        sqlite_where=sa.text("exposed_at IS NOT NULL"),
    )
    op.drop_index("ix_orders_buyer", table_name="orders")
    op.drop_table("orders")
    op.drop_index("ix_order_history_order", table_name="order_history")
    op.drop_table("order_history")
    op.drop_index("ix_order_cases_order", table_name="order_cases")
    op.drop_table("order_cases")
    op.drop_index("ux_memos_command", table_name="memos")
    op.drop_index("ix_memos_order", table_name="memos")
    op.drop_table("memos")
    op.drop_index(
        "ix_buyers_blocked",
        table_name="buyers",
        postgresql_where=sa.text("blocked"),
        sqlite_where=sa.text("blocked"),
    )
    op.drop_table("buyers")
    drop_backbone(op)
