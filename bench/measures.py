"""Figures and what they are held to: several runs make a series, two series make a finding."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Series:
    """The figure of each run of one thing."""

    values: tuple[float, ...]

    @classmethod
    def of(cls, values: Sequence[float]) -> "Series":
        """A series; `ValueError` without a single value."""
        if not values:
            raise ValueError("a series needs a value")
        return cls(tuple(values))

    @property
    def median(self) -> float:
        """What is compared."""
        return statistics.median(self.values)

    @property
    def spread(self) -> tuple[float, float]:
        """The lowest and the highest run."""
        return min(self.values), max(self.values)


@dataclass(frozen=True)
class Mark:
    """What must be reached, by the ratio of ours to the peer or by the figure itself."""

    limit: float
    sense: Literal["at least", "at most"]
    of: Literal["ratio", "figure"]
    unit: str = "×"

    def reached(self, value: float) -> bool:
        """Whether a value is on the right side."""
        return value >= self.limit if self.sense == "at least" else value <= self.limit

    def __str__(self) -> str:
        sign = "≥" if self.sense == "at least" else "≤"
        return f"{sign} {self.limit:g} {self.unit}"


def ratio_at_least(limit: float) -> Mark:
    """Ours must be so many times the peer."""
    return Mark(limit, "at least", "ratio")


def ratio_at_most(limit: float) -> Mark:
    """Ours may be so many times the peer and no more."""
    return Mark(limit, "at most", "ratio")


def figure_at_most(limit: float, unit: str) -> Mark:
    """Ours may be that much and no more."""
    return Mark(limit, "at most", "figure", unit)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line of the table: ours, the peer's if there is one, and the mark."""

    id: str
    what: str
    unit: str
    ours: Series
    peer_is: str = ""
    peer: Series | None = None
    mark: Mark
    note: str = ""
    profile: tuple[str, ...] = ()
    """Where the time goes, in lines to be read."""

    @property
    def ratio(self) -> float | None:
        """Ours to the peer: the median of the rounds' ratios.

        The runs of a round follow one another, so a slow quarter of an hour slows both; the
        medians of each may come from different hours. `ValueError` when a run has no partner.
        """
        if self.peer is None:
            return None
        pairs = zip(self.ours.values, self.peer.values, strict=True)
        return statistics.median(ours / peer for ours, peer in pairs)

    @property
    def reached(self) -> bool:
        """Whether the mark is reached."""
        if self.mark.of == "figure":
            return self.mark.reached(self.ours.median)
        if self.ratio is None:
            raise ValueError(f"{self.id} is held to a ratio and has no peer")
        return self.mark.reached(self.ratio)

    def summary(self) -> dict[str, Any]:
        """The finding as summary.json has it."""
        return {
            "id": self.id,
            "what": self.what,
            "unit": self.unit,
            "ours": self.ours.median,
            "ours_spread": self.ours.spread,
            "peer": self.peer.median if self.peer else None,
            "peer_spread": self.peer.spread if self.peer else None,
            "peer_is": self.peer_is,
            "ratio": self.ratio,
            "mark": str(self.mark),
            "reached": self.reached,
            "note": self.note,
            "profile": self.profile,
        }


def used(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """What each part used between two readings."""
    return {name: after[name] - before[name] for name in after}


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of the values lie (nearest rank)."""
    ordered = sorted(values)
    if not ordered:
        raise ValueError("no values")
    return ordered[min(len(ordered) - 1, max(0, round(share * len(ordered) + 0.5) - 1))]
