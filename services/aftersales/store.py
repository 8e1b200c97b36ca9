"""All SQL of aftersales: bindings for the runtime, and the reads behind GET."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from aftersales import models
from aftersales.cases import Case, CaseEntry
from aftersales.commands import SentCommand
from aftersales.holds import Hold
from aftersales.orders import PaidOrder
from aftersales.policies import DeadlinePolicy
from common.contracts import CaseState
from common.db.binding import Binding, Index


def _table(row: Any) -> sa.Table:
    table: sa.Table = row.__table__
    return table


_CASE = _table(models.CaseRow)
_ENTRY = _table(models.CaseEntryRow)
_POLICY = _table(models.DeadlinePolicyRow)

PAID_ORDERS = Binding(PaidOrder, _table(models.PaidOrderRow), key=("shop_id", "order_id"))
CASES = Binding(
    Case,
    _CASE,
    key=("shop_id", "case_id"),
    indexes={
        "of_order": Index(columns=("shop_id", "order_id")),
        "of_refund": Index(columns=("shop_id", "refund_id")),
        "of_request": Index(columns=("shop_id", "request_id")),
    },
)
HOLDS = Binding(
    Hold,
    _table(models.HoldRow),
    key=("shop_id", "hold_id"),
    indexes={"of_order": Index(columns=("shop_id", "order_id"))},
)
SENT_COMMANDS = Binding(
    SentCommand, _table(models.SentCommandRow), key=("shop_id", "command_id"), lock=False
)
HISTORY = Binding(CaseEntry, _ENTRY, key=("shop_id", "case_id", "revision"), lock=False)
POLICIES = Binding(
    DeadlinePolicy,
    _POLICY,
    key=("shop_id", "number"),
    indexes={"of_shop": Index(columns=("shop_id",))},
    lock=False,
)

# The order's lock comes first: it serialises all that happens to its cases and money.
BINDINGS: tuple[Binding[Any], ...] = (
    PAID_ORDERS,
    CASES,
    HOLDS,
    SENT_COMMANDS,
    HISTORY,
    POLICIES,
)


class CaseFilter(msgspec.Struct, frozen=True, kw_only=True):
    """What a list of cases is narrowed to; None leaves a field open."""

    state: CaseState | None = None
    buyer_id: str | None = None
    order_id: str | None = None
    deadline_before: datetime | None = None
    before_case_id: str | None = None
    """Only cases older than this one: where the previous page ended."""


def _as_case(row: sa.Row[Any]) -> Case:
    return msgspec.convert(dict(row._mapping), Case)


async def case_of(conn: AsyncConnection, shop_id: str, case_id: str) -> Case | None:
    """One case of a shop."""
    wanted = sa.select(_CASE).where(_CASE.c.shop_id == shop_id, _CASE.c.case_id == case_id)
    row = (await conn.execute(wanted)).first()
    return _as_case(row) if row else None


async def page_of_cases(
    conn: AsyncConnection, shop_id: str, narrowed: CaseFilter, limit: int
) -> list[Case]:
    """Cases of a shop, newest first."""
    wanted = sa.select(_CASE).where(_CASE.c.shop_id == shop_id, *_conditions(narrowed))
    found = await conn.execute(wanted.order_by(_CASE.c.case_id.desc()).limit(limit))
    return [_as_case(row) for row in found]


def _conditions(narrowed: CaseFilter) -> list[sa.ColumnElement[bool]]:
    conditions: list[sa.ColumnElement[bool]] = []
    for name in ("state", "buyer_id", "order_id"):
        if (value := getattr(narrowed, name)) is not None:
            conditions.append(_CASE.c[name] == value)
    if narrowed.deadline_before is not None:
        conditions.append(_CASE.c.deadline_at < narrowed.deadline_before)
    if narrowed.before_case_id is not None:
        conditions.append(_CASE.c.case_id < narrowed.before_case_id)
    return conditions


async def history_of(
    conn: AsyncConnection, shop_id: str, case_id: str, after: int | None, limit: int
) -> list[CaseEntry]:
    """Changes of a case, in order, from behind a revision on."""
    wanted = sa.select(_ENTRY).where(_ENTRY.c.shop_id == shop_id, _ENTRY.c.case_id == case_id)
    if after is not None:
        wanted = wanted.where(_ENTRY.c.revision > after)
    found = await conn.execute(wanted.order_by(_ENTRY.c.revision).limit(limit))
    return [msgspec.convert(dict(row._mapping), CaseEntry) for row in found]


async def policies_of(conn: AsyncConnection, shop_id: str) -> Sequence[DeadlinePolicy]:
    """A shop's own deadline rules."""
    found = await conn.execute(sa.select(_POLICY).where(_POLICY.c.shop_id == shop_id))
    return [msgspec.convert(dict(row._mapping), DeadlinePolicy) for row in found]
