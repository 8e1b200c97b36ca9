"""The tables of chat_router. Each row belongs to a shop; times are UTC, money is fen."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from common.db.models import partial_index, service_registry
from common.db.types import UtcDateTime


class ChatTable(SQLModel, registry=service_registry()):
    """Base of this service's tables; the backbone's are in the same metadata."""


def table_of(model: type[ChatTable]) -> sa.Table:
    """The table behind a model."""
    table: sa.Table = model.__table__  # type: ignore[attr-defined]
    return table


class ConversationRow(ChatTable, table=True):
    """Conversations. Lists go by the newest opened first: `conversation_id` sorts by creation."""

    __tablename__ = "conversations"
    __table_args__ = (
        partial_index(
            "uq_conversations_open_buyer",
            "shop_id",
            "buyer_id",
            unique=True,
            where="state <> 'closed'",
        ),
        partial_index(
            "ix_conversations_waiting",
            "shop_id",
            "group_id",
            "rank",
            "queued_at",
            "conversation_id",
            where="state IN ('queued', 'message_box')",
        ),
        partial_index("ix_conversations_held", "shop_id", "agent_id", where="state = 'assigned'"),
        sa.Index("ix_conversations_agent", "shop_id", "agent_id", "conversation_id"),
        sa.Index("ix_conversations_buyer", "shop_id", "buyer_id", "conversation_id"),
        sa.Index("ix_conversations_state", "shop_id", "state", "conversation_id"),
        sa.Index("ix_conversations_closed", "shop_id", "closed_at"),
        sa.Index("ix_conversations_assigned", "shop_id", "group_id", "assigned_at"),
    )

    shop_id: str = Field(primary_key=True)
    conversation_id: str = Field(primary_key=True)
    buyer_id: str
    platform: str
    state: str
    group_id: str
    agent_id: str | None
    previous_agent_id: str | None
    affinity_agent_id: str | None
    affinity_at: datetime | None = Field(sa_type=UtcDateTime)
    dedicated_agent_id: str | None
    wanted_agent_id: str | None
    wait_reason: str | None
    transfer_note: str | None
    order_state: str
    rank: int
    opened_at: datetime = Field(sa_type=UtcDateTime)
    queued_at: datetime = Field(sa_type=UtcDateTime)
    waiting_since: datetime = Field(sa_type=UtcDateTime)
    assigned_at: datetime | None = Field(sa_type=UtcDateTime)
    closed_at: datetime | None = Field(sa_type=UtcDateTime)
    close_reason: str | None
    queue_position: int | None
    expected_wait_seconds: float | None
    last_seq: int = Field(sa_type=sa.BigInteger)
    last_message_at: datetime | None = Field(sa_type=UtcDateTime)
    last_text: str
    unread_agent: int
    unread_buyer: int
    agent_read_seq: int = Field(sa_type=sa.BigInteger)
    buyer_read_seq: int = Field(sa_type=sa.BigInteger)
    agent_delivered_seq: int = Field(sa_type=sa.BigInteger)
    buyer_delivered_seq: int = Field(sa_type=sa.BigInteger)
    unanswered_since: datetime | None = Field(sa_type=UtcDateTime)
    warning_armed: bool
    warned: bool
    messages_buyer: int
    messages_agent: int
    rounds: int
    rounds_within_3min: int
    first_response_seconds: float | None
    rating: int | None
    rating_reason: str | None
    rated_at: datetime | None = Field(sa_type=UtcDateTime)


class MessageRow(ChatTable, table=True):
    """Messages, in order of `seq` within their conversation."""

    __tablename__ = "messages"
    __table_args__ = (
        sa.Index("uq_messages_client", "shop_id", "source", "client_message_id", unique=True),
    )

    shop_id: str = Field(primary_key=True)
    conversation_id: str = Field(primary_key=True)
    seq: int = Field(primary_key=True, sa_type=sa.BigInteger)
    message_id: str
    source: str
    client_message_id: str
    platform: str
    buyer_id: str
    agent_id: str | None
    sender_kind: str
    sender_id: str
    kind: str
    text: str | None
    media_url: str | None
    product_id: str | None
    order_id: str | None
    sent_at: datetime = Field(sa_type=UtcDateTime)
    received_at: datetime = Field(sa_type=UtcDateTime)
    counted_at: datetime = Field(sa_type=UtcDateTime)
    reminder_id: str | None
    case_id: str | None


class RoundRow(ChatTable, table=True):
    """Rounds that ended. The open one stands in its conversation."""

    __tablename__ = "rounds"
    __table_args__ = (sa.Index("ix_rounds_asked", "shop_id", "asked_at"),)

    shop_id: str = Field(primary_key=True)
    conversation_id: str = Field(primary_key=True)
    round: int = Field(primary_key=True)
    buyer_id: str
    agent_id: str | None
    asked_at: datetime = Field(sa_type=UtcDateTime)
    answered_at: datetime | None = Field(sa_type=UtcDateTime)
    sender_kind: str | None
    first: bool
    within_3min: bool


class BuyerRow(ChatTable, table=True):
    """Buyers' profiles."""

    __tablename__ = "buyers"

    shop_id: str = Field(primary_key=True)
    buyer_id: str = Field(primary_key=True)
    platform: str
    name: str
    tags: list[str] = Field(sa_type=sa.JSON)
    attributes: dict[str, str] = Field(sa_type=sa.JSON)
    note: str
    priority: int
    dedicated_agent_id: str | None
    last_agent_id: str | None
    last_served_at: datetime | None = Field(sa_type=UtcDateTime)
    conversation_id: str | None
    order_state: str
    order_card: dict[str, Any] | None = Field(sa_type=sa.JSON)
    case_card: dict[str, Any] | None = Field(sa_type=sa.JSON)
    created_at: datetime = Field(sa_type=UtcDateTime)
    edition: int


class AgentRow(ChatTable, table=True):
    """Agents: staff settings and presence. Their load is counted from conversations."""

    __tablename__ = "agents"
    __table_args__ = (sa.Index("ix_agents_presence", "shop_id", "presence"),)

    shop_id: str = Field(primary_key=True)
    agent_id: str = Field(primary_key=True)
    name: str
    groups: list[str] = Field(sa_type=sa.JSON)
    capacity: int
    weight: float
    presence: str
    chosen: str
    presence_at: datetime = Field(sa_type=UtcDateTime)
    last_seen_at: datetime = Field(sa_type=UtcDateTime)
    idle_since: datetime = Field(sa_type=UtcDateTime)
    left_at: datetime | None = Field(sa_type=UtcDateTime)
    watched: bool
    edition: int


class GroupRow(ChatTable, table=True):
    """Skill groups."""

    __tablename__ = "skill_groups"

    shop_id: str = Field(primary_key=True)
    group_id: str = Field(primary_key=True)
    name: str
    order_states: list[str] = Field(sa_type=sa.JSON)
    priority: int
    place: int
    edition: int


class ShopSettingsRow(ChatTable, table=True):
    """Each shop's rules."""

    __tablename__ = "shop_settings"

    shop_id: str = Field(primary_key=True)
    timezone: str
    hours: list[Any] = Field(sa_type=sa.JSON)
    closed_dates: list[str] = Field(sa_type=sa.JSON)
    greeting_zh: str
    greeting_en: str
    closed_greeting_zh: str
    closed_greeting_en: str
    heartbeat_timeout_seconds: int
    grace_seconds: int
    near_hours: int
    far_hours: int
    warning_seconds: int
    transfer_wait_seconds: int
    idle_close_seconds: int
    default_capacity: int
    bot_replies_count: bool
    edition: int


class DeskRow(ChatTable, table=True):
    """The fence of routing: how many rounds of it each shop has seen."""

    __tablename__ = "desks"

    shop_id: str = Field(primary_key=True)
    rounds: int = Field(sa_type=sa.BigInteger)


class KnownOrderRow(ChatTable, table=True):
    """The newest that was heard of each order."""

    __tablename__ = "known_orders"
    __table_args__ = (
        partial_index("ix_known_orders_counting", "shop_id", "buyer_id", where="counts"),
    )

    shop_id: str = Field(primary_key=True)
    order_id: str = Field(primary_key=True)
    buyer_id: str
    status: str
    title: str
    total_fen: int = Field(sa_type=sa.BigInteger)
    refund_open: bool
    order_version: int = Field(sa_type=sa.BigInteger)
    created_at: datetime = Field(sa_type=UtcDateTime)
    counts: bool


class KnownCaseRow(ChatTable, table=True):
    """The newest version that was heard of each case."""

    __tablename__ = "known_cases"

    shop_id: str = Field(primary_key=True)
    case_id: str = Field(primary_key=True)
    buyer_id: str
    case_version: int = Field(sa_type=sa.BigInteger)
    is_closed: bool
