"""Runs dead letters again when someone asked for it (`kefu dead-letters replay`)."""

from collections.abc import Callable
from typing import Any

import structlog

from common.clock import Clock
from common.contracts import Undecodable, decode
from common.errors import KefuError
from common.runtime import dead_letters, timers
from common.runtime.batch import BatchRunner
from common.runtime.items import EventItem, Outcome
from common.runtime.leader import Leader, Wakes
from common.runtime.loops import Backoff, Loop
from common.runtime.meters import Meters

POLL_SECONDS = 1.0

log = structlog.get_logger(__name__)


class Replays(Loop):
    """Looks for letters in state `replay` and runs them, a key's letters in order."""

    def __init__(
        self,
        runner: BatchRunner,
        leader: Leader,
        *,
        clock: Clock,
        meters: Meters,
        wake: Wakes,
        after: Callable[[], None],
    ) -> None:
        super().__init__("replays")
        self._runner = runner
        self._leader = leader
        self._clock = clock
        self._meters = meters
        self._wake = wake
        self._after = after

    async def run(self) -> None:
        """Serve requests until stopped."""
        backoff = Backoff()
        while not self.stopping:
            self.beat()
            try:
                if await self._leader.wait_elected(1.0):
                    await self.serve()
                    backoff.reset()
                    await self.pause(POLL_SECONDS)
            except Exception as error:
                log.warning("replay_failed", error=repr(error))
                await self.pause(backoff.next())

    async def serve(self) -> None:
        """Replay everything that is asked for at present."""
        async with self._runner.database.read() as conn:
            asked = await dead_letters.replay_requested(conn)
        for source in asked:
            await self._replay(source)
        if asked:
            self._after()

    async def _replay(self, source: dead_letters.OrderKey | str) -> None:
        while True:
            async with self._runner.database.read() as conn:
                letters = await dead_letters.letters_of(conn, source)
            for letter in letters:
                if not await self._replay_one(letter):
                    return
            if not letters:
                return

    async def _replay_one(self, letter: Any) -> bool:
        """Whether the letters behind this one may go on."""
        if letter.topic == timers.LETTER_TOPIC:
            await self._rearm(letter)
            return True
        record = dead_letters.record_of(letter)
        try:
            envelope = decode(record.topic, record.key, record.value, record.headers)
        except Undecodable as error:
            await self._keep(letter, "poison", str(error))
            return False
        with self._meters.batch("replays", 1):
            outcomes, wakes = await self._runner.run([EventItem(record, envelope)])
        self._wake(wakes)
        return await self._conclude(letter, outcomes[0])

    async def _conclude(self, letter: Any, outcome: Outcome) -> bool:
        waiting = letter.code in ("handler_failed", "parked_behind")
        if outcome.status in ("done", "duplicate"):
            # The event's effects are in the inbox: a crash before this replays a repeat.
            async with self._runner.database.write() as conn:
                await dead_letters.settle(conn, letter.letter_id)
            return True
        if isinstance(outcome.error, KefuError) and outcome.status == "refused" and waiting:
            async with self._runner.database.write() as conn:
                await dead_letters.set_aside(conn, letter, outcome.error.code, str(outcome.error))
            return True
        await self._keep(letter, "parked" if waiting else "poison", repr(outcome.error))
        return False

    async def _rearm(self, letter: Any) -> None:
        async with self._runner.database.write() as conn:
            await timers.arm_again(conn, letter, self._clock())
            await dead_letters.settle(conn, letter.letter_id)
        self._wake(["timers"])

    async def _keep(self, letter: Any, state: str, reason: str) -> None:
        log.warning("replay_unsuccessful", letter_id=letter.letter_id, reason=reason)
        async with self._runner.database.write() as conn:
            await dead_letters.mark(conn, letter.letter_id, state, reason)
            await dead_letters.withdraw_replays(conn, (letter.topic, bytes(letter.key)))
