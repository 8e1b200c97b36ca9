"""Tables of order_ops. Money in fen, times in UTC, states as text; JSON for values in values."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from common.db.models import partial_index, service_registry
from common.db.types import UtcDateTime


class OrderOpsTable(SQLModel, registry=service_registry()):
    """Base of the tables; their metadata holds nothing of other services."""


class BuyerRow(OrderOpsTable, table=True):
    """What is known of a buyer: live chat, recent purchases, reminder block list."""

    __tablename__ = "buyers"
    __table_args__ = (partial_index("ix_buyers_blocked", "shop_id", "buyer_id", where="blocked"),)

    shop_id: str = Field(primary_key=True)
    buyer_id: str = Field(primary_key=True)
    conversation_id: str | None
    chat_active_at: datetime | None = Field(sa_type=UtcDateTime)
    purchases: list[Any] = Field(sa_type=sa.JSON)
    blocked: bool
    block_reason: str
    blocked_by: str
    block_changed_at: datetime | None = Field(sa_type=UtcDateTime)
    version: int = Field(sa_type=sa.BigInteger)


class OrderRow(OrderOpsTable, table=True):
    """One order, merged from all its snapshots."""

    __tablename__ = "orders"
    __table_args__ = (
        sa.Index("ix_orders_newest", "shop_id", "created_at", "order_id"),
        sa.Index("ix_orders_buyer", "shop_id", "buyer_id", "created_at", "order_id"),
        partial_index("ix_orders_unpaid", "shop_id", "buyer_id", where="status = 'unpaid'"),
        partial_index(
            "ix_orders_needs_person", "shop_id", "created_at", "order_id", where="needs_person"
        ),
        partial_index("ix_orders_exposed", "shop_id", "exposed_at", where="exposed_at IS NOT NULL"),
    )

    shop_id: str = Field(primary_key=True)
    order_id: str = Field(primary_key=True)
    platform: str
    buyer_id: str
    status: str
    step_status: str
    lines: list[Any] = Field(sa_type=sa.JSON)
    goods_fen: int = Field(sa_type=sa.BigInteger)
    postage_fen: int = Field(sa_type=sa.BigInteger)
    discount_fen: int = Field(sa_type=sa.BigInteger)
    total_fen: int = Field(sa_type=sa.BigInteger)
    paid_fen: int = Field(sa_type=sa.BigInteger)
    created_at: datetime = Field(sa_type=UtcDateTime)
    paid_at: datetime | None = Field(sa_type=UtcDateTime)
    shipped_at: datetime | None = Field(sa_type=UtcDateTime)
    signed_at: datetime | None = Field(sa_type=UtcDateTime)
    finished_at: datetime | None = Field(sa_type=UtcDateTime)
    closed_at: datetime | None = Field(sa_type=UtcDateTime)
    closes_at: datetime | None = Field(sa_type=UtcDateTime)
    close_reason: str | None
    modified_at: datetime = Field(sa_type=UtcDateTime)
    source_version: int | None = Field(sa_type=sa.BigInteger)
    latest_status: str
    fingerprint: str
    region: str | None
    parcels: list[Any] = Field(sa_type=sa.JSON)
    seller_memo: str | None
    flag: int | None
    buyer_grade: str | None
    refund_open: bool
    case_open: bool
    passed: list[str] = Field(sa_type=sa.JSON)
    anomalies: list[str] = Field(sa_type=sa.JSON)
    needs_person: bool
    exposed_as: str | None
    exposed_at: datetime | None = Field(sa_type=UtcDateTime)
    revision: int = Field(sa_type=sa.BigInteger)
    version: int = Field(sa_type=sa.BigInteger)


class OrderCaseRow(OrderOpsTable, table=True):
    """Whether an after-sale case of an order is open."""

    __tablename__ = "order_cases"
    __table_args__ = (sa.Index("ix_order_cases_order", "shop_id", "order_id"),)

    shop_id: str = Field(primary_key=True)
    case_id: str = Field(primary_key=True)
    order_id: str
    is_open: bool
    case_version: int = Field(sa_type=sa.BigInteger)


class ReminderRow(OrderOpsTable, table=True):
    """One stage of payment reminders of one order."""

    __tablename__ = "reminders"
    __table_args__ = (
        sa.Index("ux_reminders_id", "shop_id", "reminder_id", unique=True),
        sa.Index("ix_reminders_buyer", "shop_id", "buyer_id"),
        partial_index("ix_reminders_recent", "shop_id", "buyer_id", where="recent"),
        sa.Index("ix_reminders_settled", "shop_id", "settled_at"),
    )

    shop_id: str = Field(primary_key=True)
    order_id: str = Field(primary_key=True)
    stage: int = Field(primary_key=True)
    reminder_id: str
    buyer_id: str
    state: str
    planned_for: datetime = Field(sa_type=UtcDateTime)
    due_at: datetime = Field(sa_type=UtcDateTime)
    mode: str | None
    reason: str | None
    pending_reason: str | None
    fired_at: datetime | None = Field(sa_type=UtcDateTime)
    settle_at: datetime | None = Field(sa_type=UtcDateTime)
    settled_at: datetime | None = Field(sa_type=UtcDateTime)
    message_id: str | None
    created_at: datetime = Field(sa_type=UtcDateTime)
    recent: bool
    version: int = Field(sa_type=sa.BigInteger)


class MemoRow(OrderOpsTable, table=True):
    """One memo or flag that an agent put on an order."""

    __tablename__ = "memos"
    __table_args__ = (
        sa.Index("ix_memos_order", "shop_id", "order_id"),
        sa.Index("ux_memos_command", "shop_id", "command_id", unique=True),
    )

    shop_id: str = Field(primary_key=True)
    memo_id: str = Field(primary_key=True)
    order_id: str
    text: str
    line: str
    flag: int | None
    author: str
    author_role: str
    state: str
    command_id: str | None
    attempts: int
    failure_code: str
    failure_message: str
    created_at: datetime = Field(sa_type=UtcDateTime)
    requested_at: datetime | None = Field(sa_type=UtcDateTime)
    settled_at: datetime | None = Field(sa_type=UtcDateTime)
    version: int = Field(sa_type=sa.BigInteger)


class HistoryRow(OrderOpsTable, table=True):
    """One line of an order's history."""

    __tablename__ = "order_history"
    __table_args__ = (sa.Index("ix_order_history_order", "shop_id", "order_id", "entry_id"),)

    shop_id: str = Field(primary_key=True)
    entry_id: str = Field(primary_key=True)
    order_id: str
    kind: str
    status: str
    revision: int = Field(sa_type=sa.BigInteger)
    actor: str
    note: str
    occurred_at: datetime = Field(sa_type=UtcDateTime)
    recorded_at: datetime = Field(sa_type=UtcDateTime)


class ReminderPolicyRow(OrderOpsTable, table=True):
    """When a shop reminds its buyers to pay."""

    __tablename__ = "reminder_policies"

    shop_id: str = Field(primary_key=True)
    enabled: bool
    stages: list[Any] = Field(sa_type=sa.JSON)
    max_per_day: int
    quiet_from: str
    quiet_until: str
    time_zone: str
    minimum_fen: int = Field(sa_type=sa.BigInteger)
    grades: list[str] = Field(sa_type=sa.JSON)
    recent_purchase_seconds: int
    live_chat_seconds: int
    minimum_gap_seconds: int
    late_tolerance_seconds: int
    acknowledge_seconds: int
    holdout_basis_points: int
    changed_by: str
    changed_at: datetime | None = Field(sa_type=UtcDateTime)
    edition: int = Field(sa_type=sa.BigInteger)
