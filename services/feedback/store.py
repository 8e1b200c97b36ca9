"""All SQL of the feedback service: bindings for the runtime, and the reads behind GET."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from common.db.binding import Binding, Index
from feedback import models
from feedback.alarms import Spike, SpikeWatch
from feedback.counts import DailyHits, DailyOrders, Hit, LatestOrder, SoldLine
from feedback.items import Correction, Item
from feedback.policies import FeedbackPolicy
from feedback.tasks import Task
from feedback.threads import Thread


def _table(row: Any) -> sa.Table:
    table: sa.Table = row.__table__
    return table


_ITEM = _table(models.ItemRow)
_HIT = _table(models.HitRow)
_HITS = _table(models.DailyHitsRow)
_ORDERS = _table(models.DailyOrdersRow)
_SPIKE = _table(models.SpikeRow)
_WATCH = _table(models.SpikeWatchRow)
_TASK = _table(models.TaskRow)
_POLICY = _table(models.PolicyRow)

THREADS = Binding(Thread, _table(models.ThreadRow), key=("shop_id", "conversation_id"))
SOLD_LINES = Binding(
    SoldLine,
    _table(models.SoldLineRow),
    key=("shop_id", "order_id", "line_id"),
    indexes={"of_order": Index(columns=("shop_id", "order_id"))},
)
LATEST_ORDERS = Binding(LatestOrder, _table(models.LatestOrderRow), key=("shop_id", "buyer_id"))
ITEMS = Binding(Item, _ITEM, key=("shop_id", "item_id"))
CORRECTIONS = Binding(Correction, _table(models.CorrectionRow), key=("shop_id", "correction_id"))
HITS = Binding(
    Hit,
    _HIT,
    key=("shop_id", "item_id", "tag"),
    indexes={"of_item": Index(columns=("shop_id", "item_id"))},
)
DAILY_HITS = Binding(DailyHits, _HITS, key=("shop_id", "product_id", "tag", "day"))
DAILY_ORDERS = Binding(DailyOrders, _ORDERS, key=("shop_id", "product_id", "day"))
POLICIES = Binding(FeedbackPolicy, _POLICY, key=("shop_id",))
WATCHES = Binding(SpikeWatch, _WATCH, key=("shop_id",))
SPIKES = Binding(
    Spike,
    _SPIKE,
    key=("shop_id", "spike_id"),
    indexes={
        "live": Index(
            columns=("shop_id",),
            where=lambda spike: spike.state != "past",
            sql="t.state <> 'past'",
        )
    },
)
TASKS = Binding(Task, _TASK, key=("shop_id", "task_id"))

# The order in which a batch locks and writes, the same everywhere: no two batches deadlock.
BINDINGS: tuple[Binding[Any], ...] = (
    POLICIES,
    WATCHES,
    THREADS,
    SOLD_LINES,
    LATEST_ORDERS,
    ITEMS,
    CORRECTIONS,
    HITS,
    DAILY_HITS,
    DAILY_ORDERS,
    SPIKES,
    TASKS,
)

Cursor = tuple[datetime, str]
Row = sa.RowMapping
Rows = Sequence[Row]


async def one(conn: AsyncConnection, binding: Binding[Any], *key: str) -> sa.RowMapping | None:
    """One row by primary key."""
    query = sa.select(binding.table).where(
        *(binding.table.c[name] == value for name, value in zip(binding.key, key, strict=True))
    )
    return (await conn.execute(query)).mappings().first()


def _newest_first(
    query: sa.Select[Any],
    moment: sa.Column[Any],
    identity: sa.Column[Any],
    before: Cursor | None,
    limit: int,
) -> sa.Select[Any]:
    if before:
        at, last = before
        older = sa.or_(moment < at, sa.and_(moment == at, identity < last))
        query = query.where(older)
    return query.order_by(moment.desc(), identity.desc()).limit(limit)


async def items_page(
    conn: AsyncConnection,
    shop_id: str,
    *,
    filters: Mapping[str, str | None],
    tag: str | None,
    before: Cursor | None,
    limit: int,
) -> Rows:
    """Items, newest first, of which each given column equals its filter and that carry `tag`."""
    query = sa.select(_ITEM).where(_ITEM.c.shop_id == shop_id, *_equal(_ITEM, filters))
    if tag:
        query = query.join(
            _HIT,
            sa.and_(
                _HIT.c.shop_id == _ITEM.c.shop_id,
                _HIT.c.item_id == _ITEM.c.item_id,
                _HIT.c.tag == tag,
                _HIT.c.score > 0,
            ),
        )
    query = _newest_first(query, _ITEM.c.occurred_at, _ITEM.c.item_id, before, limit)
    return (await conn.execute(query)).mappings().all()


def _equal(table: sa.Table, filters: Mapping[str, Any]) -> list[sa.ColumnElement[bool]]:
    return [table.c[name] == value for name, value in filters.items() if value is not None]


async def spikes_page(
    conn: AsyncConnection,
    shop_id: str,
    *,
    filters: Mapping[str, str | None],
    before: Cursor | None,
    limit: int,
) -> Rows:
    """Spikes, newest first."""
    query = sa.select(_SPIKE).where(_SPIKE.c.shop_id == shop_id, *_equal(_SPIKE, filters))
    query = _newest_first(query, _SPIKE.c.detected_at, _SPIKE.c.spike_id, before, limit)
    return (await conn.execute(query)).mappings().all()


async def tasks_page(
    conn: AsyncConnection,
    shop_id: str,
    *,
    filters: Mapping[str, Any],
    before: Cursor | None,
    limit: int,
) -> Rows:
    """Tasks, newest first."""
    query = sa.select(_TASK).where(_TASK.c.shop_id == shop_id, *_equal(_TASK, filters))
    query = _newest_first(query, _TASK.c.opened_at, _TASK.c.task_id, before, limit)
    return (await conn.execute(query)).mappings().all()


async def tag_totals(
    conn: AsyncConnection, shop_id: str, product_id: str, first_day: str, last_day: str
) -> dict[str, int]:
    """Complaints of one product per tag over some days, both ends included."""
    query = (
        sa.select(_HITS.c.tag, sa.func.sum(_HITS.c.hits))
        .where(
            _HITS.c.shop_id == shop_id,
            _HITS.c.product_id == product_id,
            _HITS.c.day.between(first_day, last_day),
        )
        .group_by(_HITS.c.tag)
    )
    return {tag: int(hits) for tag, hits in await conn.execute(query) if hits > 0}


async def orders_total(
    conn: AsyncConnection, shop_id: str, product_id: str, first_day: str, last_day: str
) -> int:
    """Paid order lines of one product over some days, both ends included."""
    query = sa.select(sa.func.coalesce(sa.func.sum(_ORDERS.c.orders), 0)).where(
        _ORDERS.c.shop_id == shop_id,
        _ORDERS.c.product_id == product_id,
        _ORDERS.c.day.between(first_day, last_day),
    )
    return int((await conn.execute(query)).scalar_one())


async def stale_shops(
    conn: AsyncConnection,
    *,
    changed_since: datetime,
    judged_before: datetime,
    rested_before: datetime,
    overlap: timedelta,
) -> list[str]:
    """Shops whose complaints changed since they were judged, or that were not judged for long.

    Shops judged after `rested_before` are left for the next time. A transaction may commit a
    little after the moment it is stamped with, so a change counts as new for `overlap` longer.
    """
    newest = (
        sa.select(_HITS.c.shop_id, sa.func.max(_HITS.c.updated_at).label("changed_at"))
        .where(_HITS.c.updated_at >= changed_since)
        .group_by(_HITS.c.shop_id)
    )
    changed: dict[str, datetime] = {
        row["shop_id"]: row["changed_at"] for row in (await conn.execute(newest)).mappings()
    }
    judged: dict[str, datetime] = {
        row["shop_id"]: row["evaluated_at"]
        for row in (await conn.execute(sa.select(_WATCH))).mappings()
    }
    fresh = {shop for shop, at in changed.items() if shop not in judged}
    fresh |= {
        shop
        for shop, at in judged.items()
        if at <= rested_before
        and (at <= judged_before or changed.get(shop, judged_before) >= at - overlap)
    }
    return sorted(fresh)


async def stream_hits(
    conn: AsyncConnection, shop_id: str, parts: Mapping[str, tuple[str, str]]
) -> Rows:
    """Per product and tag: hits in each named part, a pair of days with both ends included."""
    return await _per_part(conn, _HITS, _HITS.c.hits, ("product_id", "tag"), shop_id, parts)


async def stream_orders(
    conn: AsyncConnection, shop_id: str, parts: Mapping[str, tuple[str, str]]
) -> Rows:
    """Per product that has hits in the parts' days: orders in each named part.

    The others may be tens of thousands; `orders_of_all` adds them up where they are.
    """
    complained = sa.select(_HITS.c.product_id).where(
        _HITS.c.shop_id == shop_id, _HITS.c.day.between(*_span(parts)), _HITS.c.hits > 0
    )
    only = _ORDERS.c.product_id.in_(complained)
    return await _per_part(conn, _ORDERS, _ORDERS.c.orders, ("product_id",), shop_id, parts, only)


async def orders_of_all(
    conn: AsyncConnection, shop_id: str, *, history: tuple[str, str], baseline: tuple[str, str]
) -> tuple[int, int]:
    """How many products were sold in the history, and all their orders in the baseline."""
    in_baseline = sa.case((_ORDERS.c.day.between(*baseline), _ORDERS.c.orders), else_=0)
    # Product by product first: PostgreSQL would sort all rows for a count of distinct products.
    sold = (
        sa.select(sa.func.sum(in_baseline).label("baseline"))
        .where(_ORDERS.c.shop_id == shop_id, _ORDERS.c.day.between(*history))
        .group_by(_ORDERS.c.product_id)
        .subquery()
    )
    query = sa.select(
        sa.func.count(), sa.func.coalesce(sa.func.sum(sold.c.baseline), 0)
    ).select_from(sold)
    products, orders = (await conn.execute(query)).one()
    return int(products), int(orders)


def _span(parts: Mapping[str, tuple[str, str]]) -> tuple[str, str]:
    """The first and the last day of all parts."""
    return min(first for first, _ in parts.values()), max(last for _, last in parts.values())


async def _per_part(
    conn: AsyncConnection,
    table: sa.Table,
    amount: sa.Column[Any],
    by: tuple[str, ...],
    shop_id: str,
    parts: Mapping[str, tuple[str, str]],
    *only: sa.ColumnElement[bool],
) -> Rows:
    keys = [table.c[name] for name in by]
    sums = [
        sa.func.sum(sa.case((table.c.day.between(*days), amount), else_=0)).label(name)
        for name, days in parts.items()
    ]
    query = (
        sa.select(*keys, *sums)
        .where(table.c.shop_id == shop_id, table.c.day.between(*_span(parts)), *only)
        .group_by(*keys)
    )
    return (await conn.execute(query)).mappings().all()


async def window_buyers(
    conn: AsyncConnection, shop_id: str, products: Iterable[str], first_day: str
) -> dict[tuple[str, str], int]:
    """Per product and tag: how many different buyers complained since a day.

    Hits without a buyer count one each.
    """
    who = sa.func.coalesce(_HIT.c.buyer_id, _HIT.c.item_id)
    query = (
        sa.select(_HIT.c.product_id, _HIT.c.tag, sa.func.count(sa.distinct(who)))
        .where(
            _HIT.c.shop_id == shop_id,
            _HIT.c.product_id.in_(sorted(set(products))),
            _HIT.c.day >= first_day,
            _HIT.c.counted.is_(True),
        )
        .group_by(_HIT.c.product_id, _HIT.c.tag)
    )
    return {(product, tag): int(n) for product, tag, n in await conn.execute(query)}


async def evidence_of(
    conn: AsyncConnection, shop_id: str, product_id: str, tag: str, first_day: str, limit: int
) -> Rows:
    """The newest complaints behind a stream's hits since a day."""
    query = (
        sa.select(_ITEM.c.item_id, _ITEM.c.text, _ITEM.c.occurred_at)
        .join(
            _HIT,
            sa.and_(_HIT.c.shop_id == _ITEM.c.shop_id, _HIT.c.item_id == _ITEM.c.item_id),
        )
        .where(
            _HIT.c.shop_id == shop_id,
            _HIT.c.product_id == product_id,
            _HIT.c.tag == tag,
            _HIT.c.day >= first_day,
            _HIT.c.counted.is_(True),
        )
        .order_by(_ITEM.c.occurred_at.desc(), _ITEM.c.item_id.desc())
        .limit(limit)
    )
    return (await conn.execute(query)).mappings().all()


async def policies_of(conn: AsyncConnection, shops: Sequence[str]) -> dict[str, sa.RowMapping]:
    """The stored policies of some shops."""
    query = sa.select(_POLICY).where(_POLICY.c.shop_id.in_(shops))
    return {row["shop_id"]: row for row in (await conn.execute(query)).mappings()}


async def unproven_tasks(conn: AsyncConnection, now: datetime, limit: int) -> Rows:
    """Closed tasks whose follow-up check is due."""
    query = (
        sa.select(_TASK)
        .where(_TASK.c.proof_due_at.is_not(None), _TASK.c.proof_due_at <= now)
        .order_by(_TASK.c.proof_due_at)
        .limit(limit)
    )
    return (await conn.execute(query)).mappings().all()
