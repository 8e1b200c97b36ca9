"""The tables of aftersales."""

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
        "case_history",
        sa.Column("shop_id", sa.String(), nullable=False),
        sa.Column("case_id", sa.String(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("previous_state", sa.String(), nullable=True),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("actor_role", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("amount_fen", sa.BigInteger(), nullable=True),
        sa.Column("refund_version", sa.BigInteger(), nullable=False),
        sa.Column("at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("shop_id", "case_id", "revision"),
    )
    op.create_table(
        "cases",
        sa.Column("shop_id", sa.String(), nullable=False),
        sa.Column("case_id", sa.String(), nullable=False),
        sa.Column("order_id", sa.String(), nullable=False),
        sa.Column("line_id", sa.String(), nullable=True),
        sa.Column("product_id", sa.String(), nullable=True),
        sa.Column("buyer_id", sa.String(), nullable=False),
        sa.Column("conversation_id", sa.String(), nullable=True),
        sa.Column("platform", sa.String(), nullable=False),
        sa.Column("refund_id", sa.String(), nullable=True),
        sa.Column("request_id", sa.String(), nullable=True),
        sa.Column("origin", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("phase", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("state_since", UtcDateTime, nullable=False),
        sa.Column("amount_fen", sa.BigInteger(), nullable=True),
        sa.Column("order_checked", sa.Boolean(), nullable=False),
        sa.Column("refunded_fen", sa.BigInteger(), nullable=False),
        sa.Column("refund_version", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=False),
        sa.Column("goods_received", sa.Boolean(), nullable=True),
        sa.Column("goods_intact", sa.Boolean(), nullable=True),
        sa.Column("return_tracking_no", sa.String(), nullable=True),
        sa.Column("return_courier", sa.String(), nullable=True),
        sa.Column("tracking_at", UtcDateTime, nullable=True),
        sa.Column("refusal_reason", sa.String(), nullable=True),
        sa.Column("refusal_proof_url", sa.String(), nullable=True),
        sa.Column("blocked_reason", sa.String(), nullable=True),
        sa.Column("outcome", sa.String(), nullable=True),
        sa.Column("pending_command_id", sa.String(), nullable=True),
        sa.Column("overtaken_command_id", sa.String(), nullable=True),
        sa.Column("platform_state", sa.String(), nullable=True),
        sa.Column("platform_deadline_at", UtcDateTime, nullable=True),
        sa.Column("snapshot_at", UtcDateTime, nullable=True),
        sa.Column("snapshot_rank", sa.Integer(), nullable=False),
        sa.Column("deadline_at", UtcDateTime, nullable=True),
        sa.Column("deadline_action", sa.String(), nullable=True),
        sa.Column("warned_deadline_at", UtcDateTime, nullable=True),
        sa.Column("opened_at", UtcDateTime, nullable=False),
        sa.Column("updated_at", UtcDateTime, nullable=False),
        sa.Column("closed_at", UtcDateTime, nullable=True),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("shop_id", "case_id"),
    )
    op.create_index("ix_cases_buyer", "cases", ["shop_id", "buyer_id", "case_id"])
    op.create_index(
        "ix_cases_deadline",
        "cases",
        ["shop_id", "deadline_at"],
        postgresql_where=sa.text("deadline_at IS NOT NULL"),
        sqlite_where=sa.text("deadline_at IS NOT NULL"),
    )
    op.create_index("ix_cases_order", "cases", ["shop_id", "order_id"])
    op.create_index("ix_cases_state", "cases", ["shop_id", "state", "case_id"])
    op.create_index(
        "uq_cases_refund",
        "cases",
        ["shop_id", "refund_id"],
        unique=True,
        postgresql_where=sa.text("refund_id IS NOT NULL"),
        sqlite_where=sa.text("refund_id IS NOT NULL"),
    )
    op.create_index(
        "uq_cases_request",
        "cases",
        ["shop_id", "request_id"],
        unique=True,
        postgresql_where=sa.text("request_id IS NOT NULL"),
        sqlite_where=sa.text("request_id IS NOT NULL"),
    )
    op.create_table(
        "deadline_policies",
        sa.Column("shop_id", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("platform", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("phase", sa.String(), nullable=False),
        sa.Column("goods", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("seconds", sa.BigInteger(), nullable=False),
        sa.Column("warn_seconds", sa.BigInteger(), nullable=False),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("valid_from", UtcDateTime, nullable=False),
        sa.Column("note", sa.String(), nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("shop_id", "number"),
    )
    op.create_table(
        "holds",
        sa.Column("shop_id", sa.String(), nullable=False),
        sa.Column("hold_id", sa.String(), nullable=False),
        sa.Column("order_id", sa.String(), nullable=False),
        sa.Column("case_id", sa.String(), nullable=False),
        sa.Column("amount_fen", sa.BigInteger(), nullable=False),
        sa.Column("parts", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("held_at", UtcDateTime, nullable=False),
        sa.Column("settled_at", UtcDateTime, nullable=True),
        sa.PrimaryKeyConstraint("shop_id", "hold_id"),
    )
    op.create_index("ix_holds_order", "holds", ["shop_id", "order_id"])
    op.create_table(
        "paid_orders",
        sa.Column("shop_id", sa.String(), nullable=False),
        sa.Column("order_id", sa.String(), nullable=False),
        sa.Column("known", sa.Boolean(), nullable=False),
        sa.Column("buyer_id", sa.String(), nullable=True),
        sa.Column("platform", sa.String(), nullable=True),
        sa.Column("status", sa.String(), nullable=True),
        sa.Column("order_version", sa.BigInteger(), nullable=False),
        sa.Column("paid_fen", sa.BigInteger(), nullable=False),
        sa.Column("postage_fen", sa.BigInteger(), nullable=False),
        sa.Column("lines", sa.JSON(), nullable=False),
        sa.Column("updated_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("shop_id", "order_id"),
    )
    op.create_table(
        "sent_commands",
        sa.Column("shop_id", sa.String(), nullable=False),
        sa.Column("command_id", sa.String(), nullable=False),
        sa.Column("order_id", sa.String(), nullable=False),
        sa.Column("case_id", sa.String(), nullable=False),
        sa.Column("platform", sa.String(), nullable=False),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("target_kind", sa.String(), nullable=False),
        sa.Column("target_id", sa.String(), nullable=False),
        sa.Column("arguments", sa.JSON(), nullable=False),
        sa.Column("requested_by", sa.String(), nullable=False),
        sa.Column("requested_role", sa.String(), nullable=False),
        sa.Column("requested_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("shop_id", "command_id"),
    )
    op.create_index("ix_sent_commands_case", "sent_commands", ["shop_id", "case_id"])


def downgrade() -> None:
    op.drop_table("sent_commands")
    op.drop_table("paid_orders")
    op.drop_table("holds")
    op.drop_table("deadline_policies")
    op.drop_table("cases")
    op.drop_table("case_history")
    drop_backbone(op)
