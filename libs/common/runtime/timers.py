"""Fires what is due: durable rows, armed in the transaction that needed them.

The loop sleeps until the next timer that it knows of, is woken when a commit here arms one that is
due sooner than its next look, and looks every half second besides. A timer's row is deleted in the
transaction of its effects, so it fires once; one that was moved or cancelled meanwhile is found
stale there. A timer whose handler fails backs off out of the batch, and becomes a dead letter when
it has failed `MAX_ATTEMPTS` times.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import sqlalchemy as sa
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from common.bus.port import Record
from common.clock import Clock
from common.db.backbone import backbone_tables
from common.runtime import dead_letters
from common.runtime.batch import TIMERS_LOOK_EVERY_SECONDS, BatchRunner
from common.runtime.handlers import Handlers
from common.runtime.items import Outcome, TimerItem
from common.runtime.leader import Leader, Wakes
from common.runtime.loops import Backoff, Loop
from common.runtime.meters import Meters

MAX_ATTEMPTS = 6
FIRST_RETRY_SECONDS = 0.5
LETTER_TOPIC = "timers"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_tables = sa.MetaData()
backbone_tables(_tables)
TIMERS = _tables.tables["timers"]

log = structlog.get_logger(__name__)


def retry_at(attempts: int, now: datetime) -> datetime:
    """When a timer that failed `attempts` times is tried again."""
    return now + timedelta(seconds=FIRST_RETRY_SECONDS * 4 ** (attempts - 1))


class Timers(Loop):
    """Fires the timers of one service while this replica leads."""

    def __init__(
        self,
        runner: BatchRunner,
        handlers: Handlers,
        leader: Leader,
        *,
        clock: Clock,
        meters: Meters,
        batch_size: int,
        wake: Wakes,
    ) -> None:
        super().__init__("timers")
        self._runner = runner
        self._handlers = handlers
        self._leader = leader
        self._clock = clock
        self._meters = meters
        self._batch_size = batch_size
        self._wake = wake

    async def run(self) -> None:
        """Fire until stopped."""
        backoff = Backoff()
        while not self.stopping:
            try:
                self.beat()
                if not await self._leader.wait_elected(1.0):
                    continue
                fired, following = await self.fire_due()
                backoff.reset()
                if fired < self._batch_size:
                    await self.pause(self._until(following))
            except Exception as error:
                log.warning("timers_failed", error=repr(error))
                await self.pause(backoff.next())

    def _until(self, following: datetime | None) -> float:
        if following is None:
            return TIMERS_LOOK_EVERY_SECONDS
        seconds = (following - self._clock()).total_seconds()
        return min(TIMERS_LOOK_EVERY_SECONDS, max(0.0, seconds))

    async def fire_due(self) -> tuple[int, datetime | None]:
        """Fire one batch; how many were due, and when the next one is."""
        now = self._clock()
        due, following = await self._due(now)
        opened = [(timer, self._open(timer)) for timer in due]
        items = [item for _, item in opened if isinstance(item, TimerItem)]
        await self._bury([(timer, why) for timer, why in opened if isinstance(why, str)])
        with self._meters.batch("timers", len(items)):
            outcomes, wakes = await self._runner.run(items)
        self._meters.fired(items, outcomes, now)
        self._wake(wakes)
        failed = {i.key: o for i, o in zip(items, outcomes, strict=True) if o.status == "failed"}
        if failed:
            await self._after_failure([t for t in due if t.key in failed], failed)
        return len(due), following

    async def _due(self, now: datetime) -> tuple[list[Any], datetime | None]:
        query = sa.select(TIMERS).order_by(TIMERS.c.run_at).limit(self._batch_size + 1)
        async with self._runner.database.read() as conn:
            found = list(await conn.execute(query.where(TIMERS.c.run_at <= now)))
            if found:
                return found[: self._batch_size], now
            first = await conn.execute(
                sa.select(TIMERS.c.run_at).order_by(TIMERS.c.run_at).limit(1)
            )
            return [], first.scalar()

    def _open(self, timer: Any) -> TimerItem | str:
        """The work item of a timer, or why it cannot be one."""
        payload_type = self._handlers.timer_type(timer.kind)
        if payload_type is None:
            return "no handler for this kind of timer"
        try:
            message = msgspec.json.decode(timer.payload, type=payload_type)
        except msgspec.DecodeError as error:
            return f"its payload cannot be read: {error}"
        return TimerItem(
            message,
            timer.key,
            timer.run_at,
            timer.due_at,
            timer.attempts,
            timer.traceparent or None,
        )

    async def _after_failure(self, failed: Sequence[Any], outcomes: dict[str, Outcome]) -> None:
        given_up = [
            (timer, repr(outcomes[timer.key].error))
            for timer in failed
            if timer.attempts + 1 >= MAX_ATTEMPTS
        ]
        await self._bury(given_up)
        async with self._runner.database.write() as conn:
            for timer in failed:
                log.error("timer_failed", kind=timer.kind, error=repr(outcomes[timer.key].error))
                await self._reschedule(conn, timer)

    async def _reschedule(self, conn: AsyncConnection, timer: Any) -> None:
        attempts = timer.attempts + 1
        await conn.execute(
            TIMERS.update()
            .where(TIMERS.c.key == timer.key, TIMERS.c.run_at == timer.run_at)
            .values(attempts=attempts, run_at=retry_at(attempts, self._clock()))
        )

    async def _bury(self, timers: Sequence[tuple[Any, str]]) -> None:
        if not timers:
            return
        now = self._clock()
        async with self._runner.database.write() as conn:
            letters = [
                _letter(timer, reason, now) for timer, reason in timers if await _taken(conn, timer)
            ]
            await dead_letters.store(conn, letters, now)
        self._wake(["relay"])


async def _taken(conn: AsyncConnection, timer: Any) -> bool:
    """Delete a timer as it was read; False when it was moved or cancelled meanwhile."""
    same = (TIMERS.c.key == timer.key) & (TIMERS.c.run_at == timer.run_at)
    return (await conn.execute(TIMERS.delete().where(same))).rowcount == 1


def _letter(timer: Any, reason: str, now: datetime) -> dict[str, Any]:
    """A timer as a dead letter; its topic names the kind, so that it is told from events."""
    headers = [("kefu_timer_key", timer.key.encode()), ("kefu_timer_kind", timer.kind.encode())]
    offset = (timer.due_at - EPOCH) // timedelta(microseconds=1)
    record = Record(LETTER_TOPIC, 0, offset, timer.key.encode(), timer.payload.encode(), headers)
    letter = dead_letters.letter_row(
        record, shop_id=timer.shop_id, code="timer_failed", reason=reason, state="poison", now=now
    )
    return letter | {"letter_id": f"{LETTER_TOPIC}/{timer.key}/{offset}"}


async def arm_again(conn: AsyncConnection, letter: Any, now: datetime) -> None:
    """Replay a timer's letter: it is due at once, unless its key was armed anew meanwhile."""
    headers = dict(dead_letters.record_of(letter).headers)
    key = headers["kefu_timer_key"].decode()
    if (await conn.execute(sa.select(TIMERS.c.key).where(TIMERS.c.key == key))).first():
        return
    values = {
        "key": key,
        "shop_id": letter.shop_id,
        "kind": headers["kefu_timer_kind"].decode(),
        "payload": bytes(letter.value).decode(),
        "due_at": EPOCH + timedelta(microseconds=letter.offset),
        "run_at": now,
        "attempts": 0,
        "traceparent": "",
    }
    await conn.execute(TIMERS.insert().values(values))


async def page(conn: AsyncConnection, *, kind: str | None = None, limit: int = 100) -> list[Any]:
    """Pending timers in the order in which they fire, for `kefu timers list`."""
    query = sa.select(TIMERS).order_by(TIMERS.c.run_at).limit(limit)
    return list(await conn.execute(query.where(TIMERS.c.kind == kind) if kind else query))
