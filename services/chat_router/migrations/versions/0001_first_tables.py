"""The tables of chat_router."""

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
        "agents",
        sa.Column("shop_id", sa.String(), nullable=False),
        sa.Column("agent_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("groups", sa.JSON(), nullable=False),
        sa.Column("capacity", sa.Integer(), nullable=False),
        sa.Column("weight", sa.Float(), nullable=False),
        sa.Column("presence", sa.String(), nullable=False),
        sa.Column("chosen", sa.String(), nullable=False),
        sa.Column("presence_at", UtcDateTime, nullable=False),
        sa.Column("last_seen_at", UtcDateTime, nullable=False),
        sa.Column("idle_since", UtcDateTime, nullable=False),
        sa.Column("left_at", UtcDateTime, nullable=True),
        sa.Column("watched", sa.Boolean(), nullable=False),
        sa.Column("edition", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("shop_id", "agent_id"),
    )
    op.create_index("ix_agents_presence", "agents", ["shop_id", "presence"], unique=False)
    op.create_table(
        "buyers",
        sa.Column("shop_id", sa.String(), nullable=False),
        sa.Column("buyer_id", sa.String(), nullable=False),
        sa.Column("platform", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("tags", sa.JSON(), nullable=False),
        sa.Column("attributes", sa.JSON(), nullable=False),
        sa.Column("note", sa.String(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("dedicated_agent_id", sa.String(), nullable=True),
        sa.Column("last_agent_id", sa.String(), nullable=True),
        sa.Column("last_served_at", UtcDateTime, nullable=True),
        sa.Column("conversation_id", sa.String(), nullable=True),
        sa.Column("order_state", sa.String(), nullable=False),
        sa.Column("order_card", sa.JSON(), nullable=True),
        sa.Column("case_card", sa.JSON(), nullable=True),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("edition", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("shop_id", "buyer_id"),
    )
    op.create_table(
        "conversations",
        sa.Column("shop_id", sa.String(), nullable=False),
        sa.Column("conversation_id", sa.String(), nullable=False),
        sa.Column("buyer_id", sa.String(), nullable=False),
        sa.Column("platform", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("group_id", sa.String(), nullable=False),
        sa.Column("agent_id", sa.String(), nullable=True),
        sa.Column("previous_agent_id", sa.String(), nullable=True),
        sa.Column("affinity_agent_id", sa.String(), nullable=True),
        sa.Column("affinity_at", UtcDateTime, nullable=True),
        sa.Column("dedicated_agent_id", sa.String(), nullable=True),
        sa.Column("wanted_agent_id", sa.String(), nullable=True),
        sa.Column("wait_reason", sa.String(), nullable=True),
        sa.Column("transfer_note", sa.String(), nullable=True),
        sa.Column("order_state", sa.String(), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("opened_at", UtcDateTime, nullable=False),
        sa.Column("queued_at", UtcDateTime, nullable=False),
        sa.Column("waiting_since", UtcDateTime, nullable=False),
        sa.Column("assigned_at", UtcDateTime, nullable=True),
        sa.Column("closed_at", UtcDateTime, nullable=True),
        sa.Column("close_reason", sa.String(), nullable=True),
        sa.Column("queue_position", sa.Integer(), nullable=True),
        sa.Column("expected_wait_seconds", sa.Float(), nullable=True),
        sa.Column("last_seq", sa.BigInteger(), nullable=False),
        sa.Column("last_message_at", UtcDateTime, nullable=True),
        sa.Column("last_text", sa.String(), nullable=False),
        sa.Column("unread_agent", sa.Integer(), nullable=False),
        sa.Column("unread_buyer", sa.Integer(), nullable=False),
        sa.Column("agent_read_seq", sa.BigInteger(), nullable=False),
        sa.Column("buyer_read_seq", sa.BigInteger(), nullable=False),
        sa.Column("agent_delivered_seq", sa.BigInteger(), nullable=False),
        sa.Column("buyer_delivered_seq", sa.BigInteger(), nullable=False),
        sa.Column("unanswered_since", UtcDateTime, nullable=True),
        sa.Column("warning_armed", sa.Boolean(), nullable=False),
        sa.Column("warned", sa.Boolean(), nullable=False),
        sa.Column("messages_buyer", sa.Integer(), nullable=False),
        sa.Column("messages_agent", sa.Integer(), nullable=False),
        sa.Column("rounds", sa.Integer(), nullable=False),
        sa.Column("rounds_within_3min", sa.Integer(), nullable=False),
        sa.Column("first_response_seconds", sa.Float(), nullable=True),
        sa.Column("rating", sa.Integer(), nullable=True),
        sa.Column("rating_reason", sa.String(), nullable=True),
        sa.Column("rated_at", UtcDateTime, nullable=True),
        sa.PrimaryKeyConstraint("shop_id", "conversation_id"),
    )
    op.create_index(
        "ix_conversations_agent",
        "conversations",
        ["shop_id", "agent_id", "conversation_id"],
        unique=False,
    )
    op.create_index(
        "ix_conversations_assigned",
        "conversations",
        ["shop_id", "group_id", "assigned_at"],
        unique=False,
    )
    op.create_index(
        "ix_conversations_buyer",
        "conversations",
        ["shop_id", "buyer_id", "conversation_id"],
        unique=False,
    )
    op.create_index(
        "ix_conversations_closed", "conversations", ["shop_id", "closed_at"], unique=False
    )
    op.create_index(
        "ix_conversations_held",
        "conversations",
        ["shop_id", "agent_id"],
        unique=False,
        postgresql_where=sa.text("state = 'assigned'"),
        sqlite_where=sa.text("state = 'assigned'"),
    )
    op.create_index(
        "ix_conversations_state",
        "conversations",
        ["shop_id", "state", "conversation_id"],
        unique=False,
    )
    op.create_index(
        "ix_conversations_waiting",
        "conversations",
        ["shop_id", "group_id", "rank", "queued_at", "conversation_id"],
        unique=False,
        postgresql_where=sa.text("state IN ('queued', 'message_box')"),
        sqlite_where=sa.text("state IN ('queued', 'message_box')"),
    )
    op.create_index(
        "uq_conversations_open_buyer",
        "conversations",
        ["shop_id", "buyer_id"],
        unique=True,
        postgresql_where=sa.text("state <> 'closed'"),
        sqlite_where=sa.text("state <> 'closed'"),
    )
    op.create_table(
        "desks",
        sa.Column("shop_id", sa.String(), nullable=False),
        sa.Column("rounds", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("shop_id"),
    )
    op.create_table(
        "known_cases",
        sa.Column("shop_id", sa.String(), nullable=False),
        sa.Column("case_id", sa.String(), nullable=False),
        sa.Column("buyer_id", sa.String(), nullable=False),
        sa.Column("case_version", sa.BigInteger(), nullable=False),
        sa.Column("is_closed", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("shop_id", "case_id"),
    )
    op.create_table(
        "known_orders",
        sa.Column("shop_id", sa.String(), nullable=False),
        sa.Column("order_id", sa.String(), nullable=False),
        sa.Column("buyer_id", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("title", sa.String(), nullable=False),
        sa.Column("total_fen", sa.BigInteger(), nullable=False),
        sa.Column("refund_open", sa.Boolean(), nullable=False),
        sa.Column("order_version", sa.BigInteger(), nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("counts", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("shop_id", "order_id"),
    )
    op.create_index(
        "ix_known_orders_counting",
        "known_orders",
        ["shop_id", "buyer_id"],
        unique=False,
        postgresql_where=sa.text("counts"),
        sqlite_where=sa.text("counts"),
    )
    op.create_table(
        "messages",
        sa.Column("shop_id", sa.String(), nullable=False),
        sa.Column("conversation_id", sa.String(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("message_id", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("client_message_id", sa.String(), nullable=False),
        sa.Column("platform", sa.String(), nullable=False),
        sa.Column("buyer_id", sa.String(), nullable=False),
        sa.Column("agent_id", sa.String(), nullable=True),
        sa.Column("sender_kind", sa.String(), nullable=False),
        sa.Column("sender_id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("text", sa.String(), nullable=True),
        sa.Column("media_url", sa.String(), nullable=True),
        sa.Column("product_id", sa.String(), nullable=True),
        sa.Column("order_id", sa.String(), nullable=True),
        sa.Column("sent_at", UtcDateTime, nullable=False),
        sa.Column("received_at", UtcDateTime, nullable=False),
        sa.Column("counted_at", UtcDateTime, nullable=False),
        sa.Column("reminder_id", sa.String(), nullable=True),
        sa.Column("case_id", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("shop_id", "conversation_id", "seq"),
    )
    op.create_index(
        "uq_messages_client", "messages", ["shop_id", "source", "client_message_id"], unique=True
    )
    op.create_table(
        "rounds",
        sa.Column("shop_id", sa.String(), nullable=False),
        sa.Column("conversation_id", sa.String(), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("buyer_id", sa.String(), nullable=False),
        sa.Column("agent_id", sa.String(), nullable=True),
        sa.Column("asked_at", UtcDateTime, nullable=False),
        sa.Column("answered_at", UtcDateTime, nullable=True),
        sa.Column("sender_kind", sa.String(), nullable=True),
        sa.Column("first", sa.Boolean(), nullable=False),
        sa.Column("within_3min", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("shop_id", "conversation_id", "round"),
    )
    op.create_index("ix_rounds_asked", "rounds", ["shop_id", "asked_at"], unique=False)
    op.create_table(
        "shop_settings",
        sa.Column("shop_id", sa.String(), nullable=False),
        sa.Column("timezone", sa.String(), nullable=False),
        sa.Column("hours", sa.JSON(), nullable=False),
        sa.Column("closed_dates", sa.JSON(), nullable=False),
        sa.Column("greeting_zh", sa.String(), nullable=False),
        sa.Column("greeting_en", sa.String(), nullable=False),
        sa.Column("closed_greeting_zh", sa.String(), nullable=False),
        sa.Column("closed_greeting_en", sa.String(), nullable=False),
        sa.Column("heartbeat_timeout_seconds", sa.Integer(), nullable=False),
        sa.Column("grace_seconds", sa.Integer(), nullable=False),
        sa.Column("near_hours", sa.Integer(), nullable=False),
        sa.Column("far_hours", sa.Integer(), nullable=False),
        sa.Column("warning_seconds", sa.Integer(), nullable=False),
        sa.Column("transfer_wait_seconds", sa.Integer(), nullable=False),
        sa.Column("idle_close_seconds", sa.Integer(), nullable=False),
        sa.Column("default_capacity", sa.Integer(), nullable=False),
        sa.Column("bot_replies_count", sa.Boolean(), nullable=False),
        sa.Column("edition", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("shop_id"),
    )
    op.create_table(
        "skill_groups",
        sa.Column("shop_id", sa.String(), nullable=False),
        sa.Column("group_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("order_states", sa.JSON(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("edition", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("shop_id", "group_id"),
    )


def downgrade() -> None:
    op.drop_table("skill_groups")
    op.drop_table("shop_settings")
    op.drop_table("rounds")
    op.drop_table("messages")
    op.drop_table("known_orders")
    op.drop_table("known_cases")
    op.drop_table("desks")
    op.drop_table("conversations")
    op.drop_table("buyers")
    op.drop_table("agents")
    drop_backbone(op)
