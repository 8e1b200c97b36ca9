"""What every background loop has: a heartbeat, an orderly stop, growing pauses after failures."""

import asyncio
import contextlib
import random
import time


class Backoff:
    """Pauses that double up to a limit, with jitter so that replicas do not retry in step."""

    def __init__(self, first: float = 0.1, limit: float = 5.0) -> None:
        self._first = first
        self._limit = limit
        self._next = first

    def next(self) -> float:
        """The next pause in seconds."""
        pause = self._next * random.uniform(0.5, 1.0)
        self._next = min(self._limit, self._next * 2)
        return pause

    def reset(self) -> None:
        """Start again from the shortest pause."""
        self._next = self._first


class Loop:
    """A loop that can be seen to live and asked to stop."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.failure: str | None = None
        self._stop = asyncio.Event()
        self._woken = asyncio.Event()
        self._beaten_at = time.monotonic()
        self._task: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """The loop itself."""
        raise NotImplementedError

    @property
    def stopping(self) -> bool:
        """Whether the loop was asked to stop."""
        return self._stop.is_set()

    def beat(self) -> None:
        """Show that the loop moves."""
        self._beaten_at = time.monotonic()

    @property
    def silent_seconds(self) -> float:
        """How long ago the loop last moved."""
        return time.monotonic() - self._beaten_at

    def wake(self) -> None:
        """End the present pause."""
        self._woken.set()

    async def pause(self, seconds: float) -> None:
        """Wait, unless woken or stopped earlier."""
        if self._woken.is_set() or self.stopping:
            self._woken.clear()
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        self._woken.clear()

    def start(self) -> None:
        """Run the loop in the background."""
        self.beat()
        self._task = asyncio.create_task(self._guarded(), name=self.name)

    async def _guarded(self) -> None:
        try:
            await self.run()
        except Exception as error:
            self.failure = self.failure or repr(error)

    async def stop(self, grace: float) -> None:
        """Ask the loop to end; cancel it when the grace time is over."""
        self._stop.set()
        self._woken.set()
        if self._task is not None:
            done, _ = await asyncio.wait([self._task], timeout=grace)
            if not done:
                self._task.cancel()
                await asyncio.wait([self._task], timeout=1)
