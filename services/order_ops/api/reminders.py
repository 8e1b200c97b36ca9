"""Payment reminders: what became of each, what they earned, and who is never reminded."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Query
from pydantic import Field

from common.contracts import ReminderMode, StopReason
from common.web.pages import Page, PageQuery, page_of
from common.web.serving import RunningService
from common.web.types import Body, ExternalId, Line, View

from .. import store
from ..block_list import BlockChanged, SetBlocked
from ..recovered import Arm, recovered_revenue
from ..reminder_policies import DEFAULT_ZONE
from ..reminders import ReminderState
from .callers import Staff, Supervisor

router = APIRouter(prefix="/v1", tags=["reminders"])

EARLIEST_DAY, LATEST_DAY = date(1970, 1, 2), date(2199, 12, 30)


class ReminderView(View):
    """One stage of an order's reminders. `reason` says why it was stopped."""

    reminder_id: str
    order_id: str
    buyer_id: str
    stage: int
    state: ReminderState
    mode: ReminderMode | None
    reason: StopReason | None
    due_at: datetime
    fired_at: datetime | None
    settled_at: datetime | None
    message_id: str | None


class ArmView(View):
    """One arm of the experiment: orders that entered it that day, and how many were then paid."""

    orders: int
    paid_orders: int
    paid_fen: int


class RecoveredView(View):
    """Revenue that exists because of the reminders, in fen; `low` and `high` bound it at 95 %.

    Null where an arm is too small to say. Orders of the day that may still be paid make the
    figure grow later.
    """

    reminded: ArmView
    holdout: ArmView
    per_order_fen: float | None
    total_fen: float | None
    low_fen: float | None
    high_fen: float | None


class ReminderSummary(View):
    """A day of reminders in shop time: each counted once, on the day it ended."""

    day: date
    time_zone: str
    sent: int
    sent_messages: int
    sent_hints: int
    stopped: int
    stopped_by_reason: dict[str, int]
    planned_now: int
    due_now: int
    recovered: RecoveredView


class BlockEntry(View):
    """Whether a buyer is on the reminder block list."""

    buyer_id: str
    blocked: bool
    reason: str
    changed_by: str


class BlockBody(Body):
    """Put a buyer on the block list, or take them off."""

    blocked: bool
    reason: Line | None = Field(None)


@router.get("/reminders")
async def list_reminders(
    caller: Staff,
    page: PageQuery,
    service: RunningService,
    order_id: Annotated[ExternalId | None, Query(description="Of one order.")] = None,
    buyer_id: Annotated[ExternalId | None, Query(description="Of one buyer.")] = None,
    state: Annotated[ReminderState | None, Query(description="In one state.")] = None,
    reason: Annotated[StopReason | None, Query(description="Stopped for one reason.")] = None,
) -> Page[ReminderView]:
    """The shop's reminders, newest first."""
    filters = {"order_id": order_id, "buyer_id": buyer_id, "state": state, "reason": reason}
    after = page.after(tuple[str])
    async with service.database.read() as conn:
        found = await store.reminders(
            conn, caller.shop_id, filters, after[0] if after else None, page.limit + 1
        )
    views = [ReminderView.model_validate(row) for row in found]
    return page_of(views, page.limit, lambda view: (view.reminder_id,))


@router.get("/reminders/summary")
async def reminder_summary(
    caller: Staff,
    service: RunningService,
    day: Annotated[date, Query(description="A day in shop time, such as 2026-03-08.")],
) -> ReminderSummary:
    """How many reminders were sent and stopped that day, why, and what they earned."""
    day = min(max(day, EARLIEST_DAY), LATEST_DAY)
    async with service.database.read() as conn:
        policy = await store.policy(conn, caller.shop_id)
        zone = policy["time_zone"] if policy else DEFAULT_ZONE
        since, until = _bounds(day, zone)
        settled = await store.settled_reminders(conn, caller.shop_id, since, until)
        open_now = await store.open_reminders(conn, caller.shop_id)
        arms = await store.exposed_orders(conn, caller.shop_id, since, until)
    return ReminderSummary(
        day=day,
        time_zone=zone,
        sent=_count(settled, state="sent"),
        sent_messages=_count(settled, state="sent", mode="message"),
        sent_hints=_count(settled, state="sent", mode="hint"),
        stopped=_count(settled, state="stopped"),
        stopped_by_reason=_by_reason(settled),
        planned_now=open_now.get("planned", 0),
        due_now=open_now.get("due", 0),
        recovered=_recovered(arms),
    )


@router.get("/reminder_blocklist")
async def list_blocked(caller: Staff, page: PageQuery, service: RunningService) -> Page[BlockEntry]:
    """The buyers who are never reminded."""
    after = page.after(tuple[str])
    async with service.database.read() as conn:
        found = await store.blocked_buyers(
            conn, caller.shop_id, after[0] if after else None, page.limit + 1
        )
    return page_of(
        [_entry(row["buyer_id"], row) for row in found], page.limit, lambda e: (e.buyer_id,)
    )


@router.get("/reminder_blocklist/{buyer_id}")
async def get_blocked(caller: Staff, buyer_id: ExternalId, service: RunningService) -> BlockEntry:
    """Whether a buyer is never reminded."""
    async with service.database.read() as conn:
        return _entry(buyer_id, await store.buyer(conn, caller.shop_id, buyer_id))


@router.put("/reminder_blocklist/{buyer_id}")
async def put_blocked(
    caller: Supervisor, buyer_id: ExternalId, body: BlockBody, service: RunningService
) -> BlockEntry:
    """Put a buyer on the block list or take them off; a repeat changes nothing."""
    command = SetBlocked(
        shop_id=caller.shop_id,
        buyer_id=buyer_id,
        blocked=body.blocked,
        reason=body.reason or "",
        actor=caller.subject,
    )
    changed: BlockChanged = await service.submit(command)
    return BlockEntry.model_validate(changed)


def _bounds(day: date, zone: str) -> tuple[datetime, datetime]:
    midnight = datetime.combine(day, time(), ZoneInfo(zone))
    next_midnight = datetime.combine(day + timedelta(days=1), time(), ZoneInfo(zone))
    return midnight.astimezone(UTC), next_midnight.astimezone(UTC)


def _count(settled: store.Found, **wanted: str) -> int:
    return sum(
        row["reminders"]
        for row in settled
        if all(row[name] == value for name, value in wanted.items())
    )


def _by_reason(settled: store.Found) -> dict[str, int]:
    reasons = sorted({row["reason"] for row in settled if row["state"] == "stopped"})
    return {reason: _count(settled, state="stopped", reason=reason) for reason in reasons}


def _recovered(arms: dict[str, Arm]) -> RecoveredView:
    nothing = Arm(0, 0, 0.0, 0.0)
    reminded, holdout = arms.get("reminded", nothing), arms.get("holdout", nothing)
    found = recovered_revenue(reminded, holdout)
    return RecoveredView(
        reminded=_arm(reminded),
        holdout=_arm(holdout),
        per_order_fen=found.per_order_fen,
        total_fen=found.total_fen,
        low_fen=found.low_fen,
        high_fen=found.high_fen,
    )


def _arm(arm: Arm) -> ArmView:
    return ArmView(orders=arm.orders, paid_orders=arm.paid_orders, paid_fen=round(arm.paid_fen))


def _entry(buyer_id: str, row: Any) -> BlockEntry:
    if row is None:
        return BlockEntry(buyer_id=buyer_id, blocked=False, reason="", changed_by="")
    return BlockEntry(
        buyer_id=buyer_id,
        blocked=row["blocked"],
        reason=row["block_reason"],
        changed_by=row["blocked_by"],
    )
