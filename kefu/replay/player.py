"""Plays the steps of a plan: each lane in order, lanes side by side, no step before its time."""

import asyncio
import time
from collections.abc import Callable

from kefu.replay.desk import Desk
from kefu.replay.dialogue import Talk, Unplayed
from kefu.replay.http import RefusedByApi
from kefu.replay.journal import Journal
from kefu.replay.people import People
from kefu.replay.plan import Phase, Step
from kefu.replay.records import Refused, StepDone
from kefu.replay.script import Wait
from kefu.replay.shop_system import ORDER_STEPS, ShopSystem

POLL_SECONDS = 0.3
SHOP_STEPS = ORDER_STEPS | {"jumbled", "again", "refund", "review"}


class Player:
    """Knows who plays which kind of step."""

    def __init__(
        self, people: People, talk: Talk, desk: Desk, shop: ShopSystem, journal: Journal,
        *, speed: float, concurrency: int, via: Callable[[Step], str],
    ) -> None:  # fmt: skip
        self._people = people
        self._talk = talk
        self._desk = desk
        self._shop = shop
        self._journal = journal
        self._speed = speed
        self._slots = asyncio.Semaphore(concurrency)
        self._via = via
        self._zero = 0.0
        self.done = {r.step for r in journal.records if isinstance(r, StepDone)}
        self.playing = 0

    async def play(self, phase: Phase) -> None:
        """Plays a phase to its end."""
        left = {
            lane: [step for step in steps if step.id not in self.done]
            for lane, steps in phase.lanes.items()
        }
        waiting = [step.at for steps in left.values() for step in steps]
        # Time goes on where it was: what an earlier process played is not waited for again.
        self._zero = time.monotonic() - (min(waiting, default=0.0) / (self._speed or 1.0))
        async with asyncio.TaskGroup() as lanes:
            for steps in left.values():
                if steps:
                    lanes.create_task(self._lane(steps))

    async def _lane(self, steps: list[Step]) -> None:
        # The timeline itself bounds a day; what has none is bounded here.
        if self._speed and not any(step.bare for step in steps):
            await self._steps(steps)
            return
        async with self._slots:
            await self._steps(steps)

    async def _steps(self, steps: list[Step]) -> None:
        for step in steps:
            await self._wait_until(step.at)
            self.playing += 1
            try:
                await self._step(step)
            except (Unplayed, RefusedByApi) as failure:
                self._journal.note(_refused(step, failure))
            finally:
                self.playing -= 1
            self.done.add(step.id)
            self._journal.note(StepDone(at=time.time(), step=step.id))
        if steps[-1].buyer is not None:
            await self._people.rest(steps[-1].buyer)

    async def _wait_until(self, at: float) -> None:
        if self._speed:
            await asyncio.sleep(max(0.0, self._zero + at / self._speed - time.monotonic()))

    async def _step(self, step: Step) -> None:
        if step.action == "turns":
            await self._turns(step)
        elif step.action in SHOP_STEPS:
            await self._order_step(step)
        elif step.action == "wait":
            await self._wait(step)
        else:
            await self._others(step)

    async def _others(self, step: Step) -> None:
        plays = {
            "returned": self._talk.request_return,
            "rate": self._talk.rate,
            "transfer": self._talk.transfer,
            "close": self._talk.close,
            "case": self._desk.move_case,
            "memo": self._desk.memo,
            "tags": self._desk.tags,
            "presence": self._desk.presence,
        }
        await plays[step.action](step)

    async def _turns(self, step: Step) -> None:
        for number, turn in enumerate(step.line.turns or ()):
            if turn.after and self._speed:
                await asyncio.sleep(turn.after / self._speed)
            await self._talk.turn(step, number, turn, self._via(step))
        if not step.line.keep_open:
            await self._talk.close(step)

    async def _order_step(self, step: Step) -> None:
        """A buyer of today has a window open where reminders and case news come in."""
        if step.line.order is not None and not step.line.order.days_ago:
            await self._people.buyer(str(step.buyer)).feed.connected()
        await self._shop.play(step)

    async def _wait(self, step: Step) -> None:
        wait = step.line.wait
        assert wait is not None
        if not await self._happened(step, wait):
            raise Unplayed(f"{step.id}: no {wait.what} within {wait.seconds:g} s")

    async def _happened(self, step: Step, wait: Wait) -> bool:
        buyer, order_id = str(step.buyer), self._shop.order_id(wait.order)
        sight = self._people.sight
        if wait.what == "reminder":
            return await sight.until(buyer, lambda one: order_id in one.reminded, wait.seconds)
        if wait.what == "hint":
            return await sight.until(buyer, lambda one: order_id in one.hinted, wait.seconds)
        until = time.monotonic() + wait.seconds
        while time.monotonic() < until:
            case = await self._desk.newest_case(order_id)
            if wait.state is None or case["state"] == wait.state:
                return True
            await asyncio.sleep(POLL_SECONDS)
        return False


def _refused(step: Step, failure: Unplayed | RefusedByApi) -> Refused:
    status = failure.status if isinstance(failure, RefusedByApi) else 0
    code = failure.code if isinstance(failure, RefusedByApi) else "unplayed"
    return Refused(
        at=time.time(), action=step.id, status=status, code=code, detail=str(failure),
        kind=step.action,
    )  # fmt: skip
