"""When buyers arrive on a festival day: quiet at night, a rush around 20:00."""

import math
import random
from collections.abc import Sequence
from itertools import accumulate

OPENS, CLOSES = 0.0, 24.0
"""The day in hours of shop time."""

_BASE = (
    0.30, 0.20, 0.15, 0.10, 0.10, 0.15, 0.30, 0.45, 0.60, 0.80, 0.90, 0.90,
    0.90, 0.80, 0.80, 0.80, 0.80, 0.90, 1.00, 1.20, 1.20, 1.10, 0.90, 0.60,
)  # fmt: skip
PEAK_HOUR = 20.0
PEAK_WIDTH_HOURS = 0.75
PEAK_HEIGHT = 7.0
STEPS_PER_HOUR = 12


def rate(hour: float) -> float:
    """Relative rate of arrivals at an hour of the day: the usual day, and the rush on top."""
    usual = _BASE[int(hour) % 24]
    rush = PEAK_HEIGHT * math.exp(-(((hour - PEAK_HOUR) / PEAK_WIDTH_HOURS) ** 2))
    return usual + rush


def _weights() -> list[float]:
    return [rate(step / STEPS_PER_HOUR) for step in range(24 * STEPS_PER_HOUR)]


def peak_factor() -> float:
    """The busiest five minutes over the day's average: between 5 and 8."""
    weights = _weights()
    return max(weights) / (sum(weights) / len(weights))


def arrivals(count: int, chance: random.Random) -> Sequence[float]:
    """`count` hours of the day at which somebody arrives, in order."""
    weights = list(accumulate(_weights()))
    steps = chance.choices(range(len(weights)), cum_weights=weights, k=count)
    return sorted((step + chance.random()) / STEPS_PER_HOUR for step in steps)
