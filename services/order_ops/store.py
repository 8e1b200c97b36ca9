"""All SQL of order_ops: bindings for the runtime, and the reads behind GET.

The order of `BINDINGS` is the order of locking. The buyer comes first: whatever may remind a
buyer waits for whatever else concerns that buyer.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlmodel import SQLModel

from common.db.binding import Binding, Index

from . import models
from .buyers import Buyer
from .memos import Memo
from .order_cases import OrderCase
from .order_events import HistoryEntry
from .orders import Order
from .recovered import Arm
from .reminder_policies import EditedPolicy, ReminderPolicy
from .reminders import Reminder


def table_of(model: type[SQLModel]) -> sa.Table:
    """The table behind a SQLModel class."""
    table: sa.Table = model.metadata.tables[str(model.__tablename__)]
    return table


BUYERS = Binding(Buyer, table_of(models.BuyerRow), key=("shop_id", "buyer_id"))
ORDERS = Binding(
    Order,
    table_of(models.OrderRow),
    key=("shop_id", "order_id"),
    indexes={
        "unpaid_of_buyer": Index(
            columns=("shop_id", "buyer_id"),
            where=lambda order: order.status == "unpaid",
            sql="t.status = 'unpaid'",
        )
    },
)
ORDER_CASES = Binding(
    OrderCase,
    table_of(models.OrderCaseRow),
    key=("shop_id", "case_id"),
    indexes={"of_order": Index(columns=("shop_id", "order_id"))},
)
REMINDERS = Binding(
    Reminder,
    table_of(models.ReminderRow),
    key=("shop_id", "order_id", "stage"),
    indexes={
        "of_order": Index(columns=("shop_id", "order_id")),
        "recent_of_buyer": Index(
            columns=("shop_id", "buyer_id"),
            where=lambda reminder: reminder.recent,
            sql="t.recent",
        ),
        "by_id": Index(columns=("shop_id", "reminder_id")),
    },
)
MEMOS = Binding(
    Memo,
    table_of(models.MemoRow),
    key=("shop_id", "memo_id"),
    indexes={"of_order": Index(columns=("shop_id", "order_id"))},
)
HISTORY = Binding(HistoryEntry, table_of(models.HistoryRow), key=("shop_id", "entry_id"))
EDITED_POLICIES = Binding(EditedPolicy, table_of(models.ReminderPolicyRow), key=("shop_id",))
POLICIES = Binding(ReminderPolicy, table_of(models.ReminderPolicyRow), key=("shop_id",), lock=False)

BINDINGS: tuple[Binding[Any], ...] = (
    BUYERS,
    ORDERS,
    ORDER_CASES,
    REMINDERS,
    MEMOS,
    HISTORY,
    EDITED_POLICIES,
    POLICIES,
)

_BUYER, _ORDER, _REMINDER = BUYERS.table, ORDERS.table, REMINDERS.table
_MEMO, _HISTORY, _POLICY = MEMOS.table, HISTORY.table, POLICIES.table

Found = Sequence[Mapping[str, Any]]
"""Rows as they stand in the tables, column by column."""


async def orders(
    conn: AsyncConnection,
    shop_id: str,
    filters: Mapping[str, Any],
    after: tuple[datetime, str] | None,
    limit: int,
) -> Found:
    """A shop's orders, newest first; `filters` are columns that must equal a value."""
    sort = (_ORDER.c.created_at, _ORDER.c.order_id)
    query = _matching(_ORDER, shop_id, filters)
    if after is not None:
        query = query.where(sa.tuple_(*sort) < sa.tuple_(*_literals(sort, after)))
    return await _all(conn, query.order_by(*(c.desc() for c in sort)).limit(limit))


async def order(conn: AsyncConnection, shop_id: str, order_id: str) -> Mapping[str, Any] | None:
    """One order, None when the shop has no such order."""
    found = await _all(conn, _matching(_ORDER, shop_id, {"order_id": order_id}))
    return found[0] if found else None


async def history(
    conn: AsyncConnection, shop_id: str, order_id: str, after: str | None, limit: int
) -> Found:
    """An order's history, oldest first."""
    query = _matching(_HISTORY, shop_id, {"order_id": order_id})
    if after is not None:
        query = query.where(_HISTORY.c.entry_id > after)
    return await _all(conn, query.order_by(_HISTORY.c.entry_id).limit(limit))


async def memos(conn: AsyncConnection, shop_id: str, order_id: str) -> Found:
    """An order's memos, oldest first."""
    query = _matching(_MEMO, shop_id, {"order_id": order_id})
    return await _all(conn, query.order_by(_MEMO.c.memo_id))


async def reminders(
    conn: AsyncConnection,
    shop_id: str,
    filters: Mapping[str, Any],
    after: str | None,
    limit: int,
) -> Found:
    """A shop's reminders, newest first."""
    query = _matching(_REMINDER, shop_id, filters)
    if after is not None:
        query = query.where(_REMINDER.c.reminder_id < after)
    return await _all(conn, query.order_by(_REMINDER.c.reminder_id.desc()).limit(limit))


async def settled_reminders(
    conn: AsyncConnection, shop_id: str, since: datetime, until: datetime
) -> Found:
    """How many reminders ended in [since, until), by state, mode and reason."""
    columns = (_REMINDER.c.state, _REMINDER.c.mode, _REMINDER.c.reason)
    query = (
        sa.select(*columns, sa.func.count().label("reminders"))
        .where(_REMINDER.c.shop_id == shop_id)
        .where(_REMINDER.c.settled_at >= since, _REMINDER.c.settled_at < until)
        .group_by(*columns)
    )
    return await _all(conn, query)


async def open_reminders(conn: AsyncConnection, shop_id: str) -> Mapping[str, int]:
    """How many reminders have not ended yet, by state."""
    query = (
        sa.select(_REMINDER.c.state, sa.func.count())
        .where(_REMINDER.c.shop_id == shop_id, _REMINDER.c.settled_at.is_(None))
        .group_by(_REMINDER.c.state)
    )
    return {row[0]: row[1] for row in await conn.execute(query)}


async def exposed_orders(
    conn: AsyncConnection, shop_id: str, since: datetime, until: datetime
) -> dict[str, Arm]:
    """Both arms of the reminder experiment: orders that entered them in [since, until).

    An order counts as paid by what was paid after it entered its arm, and not if it was closed.
    """
    c = _ORDER.c
    recovered = sa.and_(c.paid_at >= c.exposed_at, c.status != "closed")
    # Squares of fen outgrow 64-bit integers; a double holds them closely enough.
    paid = sa.case((recovered, sa.cast(c.paid_fen, sa.Float)), else_=0.0)
    query = (
        sa.select(
            c.exposed_as,
            sa.func.count(),
            sa.func.sum(sa.case((recovered, 1), else_=0)),
            sa.func.sum(paid),
            sa.func.sum(paid * paid),
        )
        .where(c.shop_id == shop_id, c.exposed_at >= since, c.exposed_at < until)
        .group_by(c.exposed_as)
    )
    return {
        row[0]: Arm(row[1], int(row[2]), float(row[3]), float(row[4]))
        for row in await conn.execute(query)
    }


async def policy(conn: AsyncConnection, shop_id: str) -> Mapping[str, Any] | None:
    """The shop's reminder policy, None while it has the default."""
    found = await _all(conn, _matching(_POLICY, shop_id, {}))
    return found[0] if found else None


async def buyer(conn: AsyncConnection, shop_id: str, buyer_id: str) -> Mapping[str, Any] | None:
    """What is known of a buyer."""
    found = await _all(conn, _matching(_BUYER, shop_id, {"buyer_id": buyer_id}))
    return found[0] if found else None


async def blocked_buyers(
    conn: AsyncConnection, shop_id: str, after: str | None, limit: int
) -> Found:
    """Buyers on the reminder block list, by id."""
    query = _matching(_BUYER, shop_id, {"blocked": True})
    if after is not None:
        query = query.where(_BUYER.c.buyer_id > after)
    return await _all(conn, query.order_by(_BUYER.c.buyer_id).limit(limit))


def _matching(table: sa.Table, shop_id: str, filters: Mapping[str, Any]) -> sa.Select[Any]:
    query = sa.select(table).where(table.c.shop_id == shop_id)
    for name, value in filters.items():
        if value is True:
            # As the partial indexes state it, so that the planner can use them.
            query = query.where(sa.text(f"{table.name}.{name}"))
        elif value is not None:
            query = query.where(table.c[name] == value)
    return query


def _literals(
    columns: Sequence[sa.ColumnElement[Any]], values: Sequence[Any]
) -> list[sa.ColumnElement[Any]]:
    """Bound values with the columns' types: SQLite keeps times as text."""
    return [sa.literal(value, column.type) for column, value in zip(columns, values, strict=True)]


async def _all(conn: AsyncConnection, query: sa.Select[Any]) -> Found:
    return [dict(row) for row in (await conn.execute(query)).mappings()]
