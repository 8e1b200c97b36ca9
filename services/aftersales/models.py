"""The tables of aftersales."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from common.db.models import partial_index, service_registry
from common.db.types import UtcDateTime


class AftersalesTable(SQLModel, registry=service_registry()):
    """Base of this service's tables, with metadata of its own."""


class PaidOrderRow(AftersalesTable, table=True):
    """What was paid for an order; its lock serialises the order's cases and money."""

    __tablename__ = "paid_orders"

    shop_id: str = Field(primary_key=True)
    order_id: str = Field(primary_key=True)
    known: bool
    buyer_id: str | None
    platform: str | None
    status: str | None
    order_version: int = Field(sa_type=sa.BigInteger)
    paid_fen: int = Field(sa_type=sa.BigInteger)
    postage_fen: int = Field(sa_type=sa.BigInteger)
    lines: list[Any] = Field(sa_type=sa.JSON)
    updated_at: datetime = Field(sa_type=UtcDateTime)


class CaseRow(AftersalesTable, table=True):
    """One after-sale case."""

    __tablename__ = "cases"
    __table_args__ = (
        sa.Index("ix_cases_order", "shop_id", "order_id"),
        sa.Index("ix_cases_buyer", "shop_id", "buyer_id", "case_id"),
        sa.Index("ix_cases_state", "shop_id", "state", "case_id"),
        partial_index(
            "ix_cases_deadline", "shop_id", "deadline_at", where="deadline_at IS NOT NULL"
        ),
        partial_index(
            "uq_cases_refund", "shop_id", "refund_id", unique=True, where="refund_id IS NOT NULL"
        ),
        partial_index(
            "uq_cases_request", "shop_id", "request_id", unique=True, where="request_id IS NOT NULL"
        ),
    )

    shop_id: str = Field(primary_key=True)
    case_id: str = Field(primary_key=True)
    order_id: str
    line_id: str | None
    product_id: str | None
    buyer_id: str
    conversation_id: str | None
    platform: str
    refund_id: str | None
    request_id: str | None
    origin: str
    kind: str
    phase: str
    state: str
    state_since: datetime = Field(sa_type=UtcDateTime)
    amount_fen: int | None = Field(sa_type=sa.BigInteger)
    order_checked: bool
    refunded_fen: int = Field(sa_type=sa.BigInteger)
    refund_version: int = Field(sa_type=sa.BigInteger)
    reason: str
    description: str
    goods_received: bool | None
    goods_intact: bool | None
    return_tracking_no: str | None
    return_courier: str | None
    tracking_at: datetime | None = Field(sa_type=UtcDateTime)
    refusal_reason: str | None
    refusal_proof_url: str | None
    blocked_reason: str | None
    outcome: str | None
    pending_command_id: str | None
    overtaken_command_id: str | None
    platform_state: str | None
    platform_deadline_at: datetime | None = Field(sa_type=UtcDateTime)
    snapshot_at: datetime | None = Field(sa_type=UtcDateTime)
    snapshot_rank: int
    deadline_at: datetime | None = Field(sa_type=UtcDateTime)
    deadline_action: str | None
    warned_deadline_at: datetime | None = Field(sa_type=UtcDateTime)
    opened_at: datetime = Field(sa_type=UtcDateTime)
    updated_at: datetime = Field(sa_type=UtcDateTime)
    closed_at: datetime | None = Field(sa_type=UtcDateTime)
    revision: int = Field(sa_type=sa.BigInteger)


class HoldRow(AftersalesTable, table=True):
    """An amount held for a refund, paid back, or released."""

    __tablename__ = "holds"
    __table_args__ = (sa.Index("ix_holds_order", "shop_id", "order_id"),)

    shop_id: str = Field(primary_key=True)
    hold_id: str = Field(primary_key=True)
    order_id: str
    case_id: str
    amount_fen: int = Field(sa_type=sa.BigInteger)
    parts: list[Any] = Field(sa_type=sa.JSON)
    state: str
    held_at: datetime = Field(sa_type=UtcDateTime)
    settled_at: datetime | None = Field(sa_type=UtcDateTime)


class CaseEntryRow(AftersalesTable, table=True):
    """One change of a case."""

    __tablename__ = "case_history"

    shop_id: str = Field(primary_key=True)
    case_id: str = Field(primary_key=True)
    revision: int = Field(sa_type=sa.BigInteger, primary_key=True)
    action: str
    previous_state: str | None
    state: str
    actor: str
    actor_role: str
    reason: str
    amount_fen: int | None = Field(sa_type=sa.BigInteger)
    refund_version: int = Field(sa_type=sa.BigInteger)
    at: datetime = Field(sa_type=UtcDateTime)


class SentCommandRow(AftersalesTable, table=True):
    """A command to the shop platform, as it was published."""

    __tablename__ = "sent_commands"
    __table_args__ = (sa.Index("ix_sent_commands_case", "shop_id", "case_id"),)

    shop_id: str = Field(primary_key=True)
    command_id: str = Field(primary_key=True)
    order_id: str
    case_id: str
    platform: str
    action: str
    target_kind: str
    target_id: str
    arguments: dict[str, Any] = Field(sa_type=sa.JSON)
    requested_by: str
    requested_role: str
    requested_at: datetime = Field(sa_type=UtcDateTime)


class DeadlinePolicyRow(AftersalesTable, table=True):
    """A shop's own rule for a waiting state, in force from `valid_from`."""

    __tablename__ = "deadline_policies"

    shop_id: str = Field(primary_key=True)
    number: int = Field(primary_key=True)
    platform: str
    kind: str
    phase: str
    goods: str
    state: str
    seconds: int = Field(sa_type=sa.BigInteger)
    warn_seconds: int = Field(sa_type=sa.BigInteger)
    action: str
    valid_from: datetime = Field(sa_type=UtcDateTime)
    note: str
    created_by: str
    created_at: datetime = Field(sa_type=UtcDateTime)
