"""The loops that look back: they read counts, let pure decisions judge, and hand in commands."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from common.runtime import Service
from feedback import store
from feedback.commands import JudgedStream, RecordJudgement, RecordProof
from feedback.days import day_after, shop_day
from feedback.items import excerpt
from feedback.policies import FeedbackPolicy
from feedback.spikes import Exposure, ShopTotals, SpikeRules, Stream, Verdict, judge
from feedback.tasks import Evidence, Proof, Task, prove

S = TypeVar("S", bound=msgspec.Struct)

LEAST_INTERVAL = timedelta(seconds=2)
"""A shop whose complaints stream in is judged no more often than this."""
HOURLY = timedelta(hours=1)
OVERLAP = timedelta(seconds=30)
"""How late a transaction may commit after the moment it is stamped with."""
EVIDENCE = 10
PROOFS_AT_ONCE = 100


async def judge_shops(service: Service) -> None:
    """Judge every shop whose complaints changed, and each shop once an hour."""
    now = service.clock()
    async with service.database.read() as conn:
        shops = await store.stale_shops(
            conn,
            changed_since=now - HOURLY - OVERLAP,
            judged_before=now - HOURLY,
            rested_before=now - LEAST_INTERVAL,
            overlap=OVERLAP,
        )
    for shop_id in shops:
        await judge_shop(service, shop_id)


async def judge_shop(service: Service, shop_id: str) -> None:
    """Judge all streams of one shop and record what is unusual."""
    now = service.clock()
    today = shop_day(now)
    # One moment for all reads: the totals must count the very streams that are judged.
    async with service.database.snapshot() as conn:
        policy = await policy_of_shop(conn, shop_id)
        streams, totals = await _streams(conn, shop_id, today, policy.rules)
        verdicts = await _verdicts(conn, shop_id, today, streams, totals, policy.rules)
        unusual = [
            JudgedStream(verdict=one, evidence=await _evidence(conn, shop_id, today, one, policy))
            for one in verdicts
            if one.level is not None
        ]
    await service.submit(
        RecordJudgement(
            shop_id=shop_id,
            today=today,
            judged_at=now,
            streams=totals.streams,
            unusual=tuple(unusual),
        )
    )


async def policy_of_shop(conn: AsyncConnection, shop_id: str) -> FeedbackPolicy:
    """The policy that holds for a shop."""
    stored = await store.one(conn, store.POLICIES, shop_id)
    if stored is None:
        return FeedbackPolicy(shop_id=shop_id)
    return state(FeedbackPolicy, stored)


def state(kind: type[S], stored: sa.RowMapping) -> S:
    """The state struct of a row that was read outside of a batch."""
    return msgspec.convert(dict(stored), kind)


def parts_of(today: str, rules: SpikeRules) -> dict[str, tuple[str, str]]:
    """The days of window and baseline, and of all the test looks at; both ends included."""
    window_start = day_after(today, 1 - rules.window_days)
    baseline_end = day_after(window_start, -1 - rules.guard_days)
    return {
        "window": (window_start, today),
        "baseline": (day_after(baseline_end, 1 - rules.baseline_days), baseline_end),
        "history": (day_after(today, 1 - rules.history_days), today),
    }


async def _streams(
    conn: AsyncConnection, shop_id: str, today: str, rules: SpikeRules
) -> tuple[list[Stream], ShopTotals]:
    """The streams with complaints, and what they are a part of."""
    parts = parts_of(today, rules)
    lagged = {"lagged": (day_after(today, 1 - rules.lag_days), today)}
    hits = [row for row in await store.stream_hits(conn, shop_id, parts) if row["history"]]
    orders = {
        row["product_id"]: Exposure(
            window=int(row["window"]), lagged=int(row["lagged"]), baseline=int(row["baseline"])
        )
        for row in await store.stream_orders(conn, shop_id, parts | lagged)
    }
    sold, baseline_orders = await store.orders_of_all(
        conn, shop_id, history=parts["history"], baseline=parts["baseline"]
    )
    unsold = {row["product_id"] for row in hits} - orders.keys()
    streams = [
        Stream(
            product_id=row["product_id"],
            tag=row["tag"],
            window_hits=int(row["window"]),
            baseline_hits=int(row["baseline"]),
            exposure=orders.get(row["product_id"], Exposure()),
        )
        for row in hits
        if row["window"] or row["baseline"]
    ]
    return streams, ShopTotals(
        products=sold + len(unsold),
        tags=len({row["tag"] for row in hits}),
        baseline_orders=baseline_orders,
    )


async def _verdicts(
    conn: AsyncConnection,
    shop_id: str,
    today: str,
    streams: Sequence[Stream],
    totals: ShopTotals,
    rules: SpikeRules,
) -> list[Verdict]:
    """Judge by hits first; where that looks unusual, again by how many buyers are behind them."""
    first = judge(streams, totals, rules)
    suspects = {one.stream.product_id for one in first if one.level is not None}
    if not suspects:
        return first
    since = parts_of(today, rules)["window"][0]
    buyers = await store.window_buyers(conn, shop_id, suspects, since)
    return judge(list(_with_buyers(streams, suspects, buyers)), totals, rules)


def _with_buyers(
    streams: Iterable[Stream], suspects: set[str], buyers: dict[tuple[str, str], int]
) -> Iterable[Stream]:
    for stream in streams:
        if stream.product_id in suspects:
            found = buyers.get((stream.product_id, stream.tag), 0)
            yield msgspec.structs.replace(stream, buyers=found)
        else:
            yield stream


async def _evidence(
    conn: AsyncConnection, shop_id: str, today: str, verdict: Verdict, policy: FeedbackPolicy
) -> tuple[Evidence, ...]:
    stream = verdict.stream
    since = parts_of(today, policy.rules)["window"][0]
    found = await store.evidence_of(conn, shop_id, stream.product_id, stream.tag, since, EVIDENCE)
    return tuple(
        Evidence(
            item_id=row["item_id"], excerpt=excerpt(row["text"]), occurred_at=row["occurred_at"]
        )
        for row in found
    )


async def prove_tasks(service: Service) -> None:
    """The follow-up check of every closed task whose time has come."""
    now = service.clock()
    async with service.database.read() as conn:
        due = await store.unproven_tasks(conn, now, PROOFS_AT_ONCE)
        proofs = [
            (task, await proof_of(conn, task, now, final=True))
            for task in (state(Task, row) for row in due)
        ]
    for task, proof in proofs:
        await service.submit(RecordProof(shop_id=task.shop_id, task_id=task.task_id, proof=proof))


async def proof_of(conn: AsyncConnection, task: Task, now: datetime, *, final: bool) -> Proof:
    """Complaints and orders since the day after a task was closed, against those before."""
    assert task.closed_at is not None
    end = min(now, task.proof_due_at) if task.proof_due_at else now
    days = day_after(shop_day(task.closed_at), 1), shop_day(end)
    hits = await store.tag_totals(conn, task.shop_id, task.product_id, *days)
    orders = await store.orders_total(conn, task.shop_id, task.product_id, *days)
    return prove(task, hits.get(task.tag, 0), orders, days, final)
