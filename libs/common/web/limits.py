"""Rate limits in bounded memory: a generic cell rate algorithm over the most recent keys."""

import time
from collections import OrderedDict
from collections.abc import Callable

from common.errors import RateLimited


class Limiter:
    """Lets a key pass `rate` times a second on average, `burst` times at once.

    One number per key: the moment at which its bucket is full again. Of more than `size` keys
    the least recently seen is forgotten, which can only favour it.
    """

    def __init__(
        self,
        rate: float,
        burst: int,
        *,
        size: int = 50_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._interval = 1.0 / rate
        self._tolerance = burst / rate
        self._size = size
        self._clock = clock
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._full_at)

    def wait(self, key: str, *, cost: float = 1.0) -> float:
        """0 when the key may pass, which is then counted; else the seconds until it may."""
        now = self._clock()
        full_at = max(self._full_at.get(key, now), now) + self._interval * cost
        # A hair of tolerance: the last of a burst must not fail by a rounding error.
        excess = full_at - now - self._tolerance
        if excess > 1e-9:
            return excess
        self._full_at[key] = full_at
        self._full_at.move_to_end(key)
        if len(self._full_at) > self._size:
            self._full_at.popitem(last=False)
        return 0.0

    def take(self, key: str, *, cost: float = 1.0) -> None:
        """Count one pass of the key; `RateLimited` with the time to wait when it is too soon."""
        if seconds := self.wait(key, cost=cost):
            raise RateLimited("The rate limit is reached.", retry_after=seconds)
