"""Takes records off the bus, batch by batch, and sees every one through to an end.

A record ends in exactly one of: its effects are committed; it was a repeat; it is a dead letter.
Only then is its offset committed. While the database is out, the loop keeps its membership and
waits; nothing is skipped.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any

import structlog

from common.bus.port import Bus, Position, Record, Subscription
from common.clock import Clock
from common.contracts import Undecodable, decode
from common.db.faults import is_outage
from common.errors import KefuError
from common.runtime import dead_letters
from common.runtime.batch import BatchRunner
from common.runtime.items import EventItem, Outcome
from common.runtime.leader import Wakes
from common.runtime.loops import Backoff, Loop
from common.runtime.meters import Meters

RETRY_DELAYS_SECONDS = (0.05, 0.2)
COMMIT_EVERY_SECONDS = 1.0
# A group waits for a member that finishes its work in hand, but not for the length of an outage.
REVOKE_SECONDS = 5.0
POLL_SECONDS = 0.2

log = structlog.get_logger(__name__)


class TooManyDeadLetters(RuntimeError):
    """The consumer stopped itself: something is wrong with more than a few events."""


class DeadLetterLimit:
    """How many letters a consumer may write per hour before it stops instead."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._written: deque[float] = deque()

    def add(self, count: int, now: float) -> None:
        """Count letters; `TooManyDeadLetters` above the limit."""
        self._written.extend([now] * count)
        while self._written and self._written[0] < now - 3600:
            self._written.popleft()
        if len(self._written) > self._limit:
            raise TooManyDeadLetters(
                f"{len(self._written)} dead letters within an hour, the limit is {self._limit}; "
                "look at `kefu dead-letters list`, then restart the service"
            )


class Consumer(Loop):
    """One service's member of its consumer group."""

    def __init__(
        self,
        bus: Bus,
        runner: BatchRunner,
        *,
        topics: Sequence[str],
        group: str,
        clock: Clock,
        meters: Meters,
        batch_size: int,
        dead_letter_limit: int,
        wake: Wakes,
    ) -> None:
        super().__init__("consumer")
        self._bus = bus
        self._runner = runner
        self._topics = topics
        self._group = group
        self._clock = clock
        self._meters = meters
        self._batch_size = batch_size
        self._limit = DeadLetterLimit(dead_letter_limit)
        self._wake = wake
        self._subscription: Subscription | None = None
        self._offsets: dict[Position, int] = {}
        self._committed_at = 0.0
        self._parked: set[dead_letters.OrderKey] = set()
        self._parked_stale = True
        self._following: dict[Position, int] = {}
        self._working = asyncio.Lock()

    async def run(self) -> None:
        """Poll and handle until stopped; whatever ends it, the group is left."""
        try:
            await self._consume()
        finally:
            await self._close_subscription()

    async def _consume(self) -> None:
        backoff = Backoff()
        while not self.stopping:
            try:
                await self._step()
                backoff.reset()
            except TooManyDeadLetters as error:
                log.error("consumer_stopped", reason=str(error))
                self.failure = str(error)
                raise
            except Exception as error:
                log.warning("consumer_step_failed", error=repr(error))
                await self._close_subscription()
                self.beat()
                await self.pause(backoff.next())

    def parked_changed(self) -> None:
        """Letters were replayed: look again which keys are parked."""
        self._parked_stale = True

    async def _step(self) -> None:
        if self._subscription is None:
            self._subscription = await self._bus.subscribe(
                self._topics, self._group, on_revoked=self._on_revoked
            )
        records = await self._subscription.poll(self._batch_size, POLL_SECONDS)
        self.beat()
        if records:
            async with self._working:
                await self._work_through(records)
        await self._commit(force=not records)

    async def _on_revoked(self) -> None:
        self._meters.rebalanced()
        # Records in hand are finished first: their offsets are committed before others take over.
        # If that takes too long others repeat them, which the inbox makes harmless.
        try:
            async with asyncio.timeout(REVOKE_SECONDS), self._working:
                await self._commit(force=True)
        except TimeoutError:
            log.warning("revoked_with_work_in_hand")

    async def _close_subscription(self) -> None:
        subscription, self._subscription = self._subscription, None
        self._offsets.clear()
        self._following.clear()
        if subscription is not None:
            try:
                await subscription.close()
            except Exception as error:
                # What broke the step may break the farewell, too; the group notices by itself.
                log.warning("subscription_not_closed", error=repr(error))

    async def _commit(self, *, force: bool) -> None:
        now = asyncio.get_running_loop().time()
        if not self._offsets or (not force and now - self._committed_at < COMMIT_EVERY_SECONDS):
            return
        offsets, self._offsets = self._offsets, {}
        self._committed_at = now
        if self._subscription is not None:
            await self._subscription.commit(offsets)

    async def _work_through(self, records: Sequence[Record]) -> None:
        """Bring every record of the batch to its end; survives outages of the database."""
        backoff = Backoff()
        self._note_positions(records)
        while True:
            try:
                await self._finish(records)
                break
            except Exception as error:
                if not is_outage(error) or self.stopping:
                    raise
                log.warning("database_out", error=repr(error))
                self.beat()
                if self._subscription is not None:
                    await self._subscription.idle()
                await self.pause(backoff.next())
        for record in records:
            self._offsets[record.topic, record.partition] = record.offset + 1

    def _note_positions(self, records: Sequence[Record]) -> None:
        """A partition that someone else read before may have keys which they have parked."""
        for record in records:
            position = (record.topic, record.partition)
            if self._following.get(position) != record.offset:
                self._parked_stale = True
            self._following[position] = record.offset + 1

    async def _finish(self, records: Sequence[Record]) -> None:
        if self._parked_stale or self._parked:
            async with self._runner.database.read() as conn:
                self._parked = await dead_letters.parked_keys(conn)
            self._parked_stale = False
        letters: list[dict[str, Any]] = []
        items = [item for record in records if (item := self._open(record, letters))]
        letters.extend(await self._run_with_retries(items))
        freed = await self._bury(letters) if letters else frozenset()
        if freed:
            await self._finish([r for r in records if dead_letters.letter_id_of(r) in freed])

    def _open(self, record: Record, letters: list[dict[str, Any]]) -> EventItem | None:
        now = self._clock()
        try:
            envelope = decode(record.topic, record.key, record.value, record.headers)
        except Undecodable as error:
            letters.append(
                dead_letters.letter_row(
                    record, shop_id="", code=error.code, reason=str(error), state="poison", now=now
                )
            )
            return None
        if (record.topic, record.key) in self._parked:
            reason = "waits behind an earlier event of its key"
            letters.append(
                dead_letters.letter_row(
                    record,
                    shop_id=envelope.shop_id,
                    code="parked_behind",
                    reason=reason,
                    state="behind",
                    now=now,
                )
            )
            return None
        return EventItem(record, envelope)

    async def _run_with_retries(self, items: list[EventItem]) -> list[dict[str, Any]]:
        """Letters for the events that failed for good, and for those behind them."""
        retries = iter(RETRY_DELAYS_SECONDS)
        letters: list[dict[str, Any]] = []
        while items:
            outcomes = await self._run(items)
            letters.extend(self._refusals(items, outcomes))
            failed = {
                i.order_key for i, o in zip(items, outcomes, strict=True) if o.status == "failed"
            }
            left = [(i, o) for i, o in zip(items, outcomes, strict=True) if o.status in _UNFINISHED]
            if failed:
                delay = next(retries, None)
                if delay is None:
                    given_up = [(i, o) for i, o in left if i.order_key in failed]
                    rest = [i for i, _ in left if i.order_key not in failed]
                    letters.extend(self._letter(i, o) for i, o in given_up)
                    return [*letters, *await self._run_with_retries(rest)]
                await asyncio.sleep(delay)
            items = [item for item, _ in left]
        return letters

    def _refusals(
        self, items: Sequence[EventItem], outcomes: Sequence[Outcome]
    ) -> list[dict[str, Any]]:
        """Letters for events that a use case refused: their keys go on without them."""
        return [
            dead_letters.letter_row(
                item.record,
                shop_id=item.envelope.shop_id,
                code=outcome.error.code,
                reason=str(outcome.error),
                state="poison",
                now=self._clock(),
            )
            for item, outcome in zip(items, outcomes, strict=True)
            if isinstance(outcome.error, KefuError) and outcome.status == "refused"
        ]

    async def _run(self, items: list[EventItem]) -> list[Outcome]:
        with self._meters.batch("consumer", len(items)):
            outcomes, wakes = await self._runner.run(items)
        self._meters.consumed(items, outcomes, self._clock())
        self._wake(wakes)
        return outcomes

    def _letter(self, item: EventItem, outcome: Outcome) -> dict[str, Any]:
        failed = outcome.status == "failed"
        if failed:
            log.error("event_failed", topic=item.record.topic, error=repr(outcome.error))
        return dead_letters.letter_row(
            item.record,
            shop_id=item.envelope.shop_id,
            code="handler_failed" if failed else "parked_behind",
            reason=repr(outcome.error) if failed else "waits behind an earlier event of its key",
            state="parked" if failed else "behind",
            now=self._clock(),
        )

    async def _bury(self, letters: list[dict[str, Any]]) -> frozenset[str]:
        """Keep the letters; ids of those whose key was freed meanwhile, so that they can run."""
        async with self._runner.database.write() as conn:
            stored = await dead_letters.store(conn, letters, self._clock())
        self._parked_stale = True
        if stored.added:
            self._wake(["relay"])
            self._meters.dead_letters([x for x in letters if x["letter_id"] not in stored.freed])
            self._limit.add(stored.added, asyncio.get_running_loop().time())
        return stored.freed


_UNFINISHED = ("failed", "again")
