"""Gathers commands that arrive at the same time into one transaction.

While one batch is being committed the next one collects, so batches grow with the load by
themselves and a lone command waits for nobody.
"""

import asyncio
from collections import deque
from typing import Any

import msgspec
import structlog

from common.db.faults import is_outage
from common.errors import KefuError, Unavailable
from common.runtime.batch import BatchRunner
from common.runtime.items import CommandItem, Idempotency, Outcome
from common.runtime.leader import Wakes
from common.runtime.meters import Meters
from common.telemetry import metrics
from common.telemetry.traces import current_traceparent

MAX_WAITING = 5000

log = structlog.get_logger(__name__)

_Waiting = tuple[CommandItem, "asyncio.Future[Outcome]"]


class Gate:
    """Where commands enter the batch runtime."""

    def __init__(
        self,
        runner: BatchRunner,
        *,
        meters: Meters,
        batch_size: int,
        wake: Wakes,
        max_waiting: int = MAX_WAITING,
    ) -> None:
        self._runner = runner
        self._meters = meters
        self._batch_size = batch_size
        self._wake = wake
        self._max_waiting = max_waiting
        self._waiting: deque[_Waiting] = deque()
        self._task: asyncio.Task[None] | None = None

    async def submit(self, command: msgspec.Struct, idempotency: Idempotency | None = None) -> Any:
        """The answer of the command's handler.

        Raises the handler's `KefuError`, `IdempotencyMismatch` for a reused key, `Unavailable`
        when the database is out or too much is waiting already.
        """
        if len(self._waiting) >= self._max_waiting:
            raise Unavailable("too many requests are waiting", retry_after=1.0)
        item = CommandItem(command, idempotency, current_traceparent())
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._drain())
        outcome = await future
        if outcome.status == "duplicate":
            metrics.COMMANDS_REPLAYED.add(service=self._meters.service)
        if outcome.error is not None:
            raise outcome.error
        return outcome.answer

    async def drained(self, timeout: float) -> None:
        """Until nothing is waiting, or the time is up."""
        if self._task is not None:
            await asyncio.wait([self._task], timeout=timeout)

    async def _drain(self) -> None:
        while self._waiting:
            size = min(self._batch_size, len(self._waiting))
            batch = [self._waiting.popleft() for _ in range(size)]
            batch = [(item, future) for item, future in batch if not future.done()]
            if batch:
                await self._run(batch)

    async def _run(self, batch: list[_Waiting]) -> None:
        try:
            left = batch
            while left:
                before = len(left)
                left = await self._attempt(left)
                if len(left) == before:
                    raise Unavailable("the command kept meeting others on the same rows")
        except Exception as error:
            answer: Exception = error
            if is_outage(error):
                log.warning("database_out", error=repr(error))
                answer = Unavailable("the database does not answer")
            for _, future in batch:
                if not future.done():
                    future.set_result(Outcome("failed", error=answer))

    async def _attempt(self, batch: list[_Waiting]) -> list[_Waiting]:
        with self._meters.batch("commands", len(batch)):
            outcomes, wakes = await self._runner.run([item for item, _ in batch])
        self._wake(wakes)
        again: list[_Waiting] = []
        for waiting, outcome in zip(batch, outcomes, strict=True):
            if outcome.status == "again":
                again.append(waiting)
            elif not waiting[1].done():
                if outcome.status == "failed" and not isinstance(outcome.error, KefuError):
                    log.error("command_failed", error=repr(outcome.error))
                waiting[1].set_result(outcome)
        return again
