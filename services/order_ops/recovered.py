"""What reminding really earned: reminded orders against the holdout group that was not reminded.

Counting every reminded order that is later paid overstates, because many would have been paid
anyway. Orders enter either arm at the same point: all rules passed, the reminder was due.
"""

from dataclasses import dataclass
from math import sqrt

LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Arm:
    """One arm: its orders, how many were paid after they entered it, and with how much.

    `paid_fen` is the sum, `paid_fen_squared` the sum of squares, over all orders of the arm;
    an unpaid order counts as 0.
    """

    orders: int
    paid_orders: int
    paid_fen: float
    paid_fen_squared: float

    @property
    def mean(self) -> float:
        """Fen paid per order of the arm."""
        return self.paid_fen / self.orders if self.orders else 0.0

    @property
    def variance(self) -> float:
        """Sample variance of the fen paid per order (n - 1)."""
        if self.orders < 2:
            return 0.0
        spread = self.paid_fen_squared - self.orders * self.mean**2
        return max(spread, 0.0) / (self.orders - 1)


@dataclass(frozen=True, slots=True)
class Recovered:
    """Revenue per order and in all that exists because of the reminders, in fen.

    `low` and `high` bound it at 95 %. None where an arm is too small to say.
    """

    per_order_fen: float | None
    total_fen: float | None
    low_fen: float | None
    high_fen: float | None


def recovered_revenue(reminded: Arm, holdout: Arm) -> Recovered:
    """Difference of the arms' means times the reminded orders, with Welch's 95 % interval.

    B. L. Welch, "The generalization of 'Student's' problem when several different population
    variances are involved", Biometrika 34 (1947): with v = s²/n of each arm, the interval is
    (m₁ - m₂) ± t(ν) · √(v₁ + v₂), where ν = (v₁ + v₂)² / (v₁²/(n₁-1) + v₂²/(n₂-1)).
    """
    if not reminded.orders or not holdout.orders:
        return Recovered(None, None, None, None)
    difference = reminded.mean - holdout.mean
    total = difference * reminded.orders
    if reminded.orders < 2 or holdout.orders < 2:
        return Recovered(difference, total, None, None)
    margin = _margin(reminded, holdout) * reminded.orders
    return Recovered(difference, total, total - margin, total + margin)


def _margin(first: Arm, second: Arm) -> float:
    v1, v2 = first.variance / first.orders, second.variance / second.orders
    if v1 + v2 == 0:
        return 0.0
    # Loaded when first needed: only a summary asks for it, and scipy is the largest import.
    from scipy.special import stdtrit

    freedom = (v1 + v2) ** 2 / (v1**2 / (first.orders - 1) + v2**2 / (second.orders - 1))
    return float(stdtrit(freedom, 0.5 + LEVEL / 2)) * sqrt(v1 + v2)
