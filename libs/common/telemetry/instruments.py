"""How a metric is declared, counted and exposed. The metrics themselves stand in `metrics.py`.

Counting goes to prometheus_client's own series, found by one dictionary look-up: about a
microsecond (an OpenTelemetry instrument takes ten to twenty, which a request would feel).
Before `setup_metrics` counting is a no-op.
"""

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, Protocol, TypeVar

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

Labels = tuple[str, ...]
S = TypeVar("S")


class Growing(Protocol):
    """A series that can grow."""

    def inc(self, amount: float) -> None: ...


class Settable(Growing, Protocol):
    """A series that can be set."""

    def set(self, value: float) -> None: ...


class Observing(Protocol):
    """A series that takes single values."""

    def observe(self, amount: float) -> None: ...


SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
LONG_SECONDS = (1.0, 5.0, 10.0, 30.0, 60.0, 100.0, 180.0, 300.0, 600.0, 1800.0, 3600.0)
SIZES = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0)


@dataclass(slots=True, kw_only=True, eq=False)
class Metric(Generic[S]):
    """One metric. Its labels come from closed sets: never a shop, a person or an order."""

    name: str
    meaning: str
    unit: str
    labels: Labels = ()
    _exposed: Any = field(default=None, init=False, repr=False)
    _series: dict[Labels, S] = field(default_factory=dict, init=False, repr=False)

    type: ClassVar[Literal["counter", "gauge", "histogram"]]

    @property
    def exposed_name(self) -> str:
        """The name in the Prometheus exposition."""
        suffix = "_seconds" if self.unit == "s" else ""
        total = "_total" if self.type == "counter" else ""
        return f"kefu_{self.name.replace('.', '_')}{suffix}{total}"

    def series(self, labels: dict[str, str]) -> S | None:
        """The series of these label values, None while nothing is counted.

        `TypeError` for a label too many or too few.
        """
        if self._exposed is None:
            return None
        try:
            key = tuple([labels[name] for name in self.labels])
        except KeyError as missing:
            raise TypeError(f"{self.name} lacks the label {missing}") from None
        if len(labels) != len(self.labels):
            raise TypeError(f"{self.name} has only the labels {self.labels}")
        found = self._series.get(key)
        if found is None:
            found = self._series[key] = self._exposed.labels(*key) if key else self._exposed
        return found

    def expose(self, registry: "CollectorRegistry") -> None:
        """Start counting into `registry`."""
        self._exposed = self._new(registry)
        self._series = {}

    def forget(self) -> None:
        """Stop counting, and drop all series."""
        self._exposed = None
        self._series = {}

    def _new(self, registry: "CollectorRegistry") -> Any:
        raise NotImplementedError


@dataclass(slots=True, kw_only=True, eq=False)
class Counter(Metric[Growing]):
    """Only grows."""

    type = "counter"

    def add(self, amount: float = 1, /, **labels: str) -> None:
        """Count `amount` more."""
        if (series := self.series(labels)) is not None:
            series.inc(amount)

    def _new(self, registry: "CollectorRegistry") -> Any:
        from prometheus_client import Counter as Exposed

        return Exposed(self.exposed_name, self.meaning, self.labels, registry=registry)


@dataclass(slots=True, kw_only=True, eq=False)
class Gauge(Metric[Settable]):
    """Goes up and down."""

    type = "gauge"

    def set(self, value: float, /, **labels: str) -> None:
        """It is `value` now."""
        if (series := self.series(labels)) is not None:
            series.set(value)

    def add(self, amount: float, /, **labels: str) -> None:
        """It is `amount` more now, or less if negative."""
        if (series := self.series(labels)) is not None:
            series.inc(amount)

    def _new(self, registry: "CollectorRegistry") -> Any:
        from prometheus_client import Gauge as Exposed

        return Exposed(self.exposed_name, self.meaning, self.labels, registry=registry)


@dataclass(slots=True, kw_only=True, eq=False)
class Histogram(Metric[Observing]):
    """How often values fall into which range."""

    type = "histogram"
    buckets: tuple[float, ...] = SECONDS

    def record(self, value: float, /, **labels: str) -> None:
        """Count one `value`; below zero, as clocks may have it, counts as zero."""
        self.record_all((value,), **labels)

    def record_all(self, values: Iterable[float], /, **labels: str) -> None:
        """Count many values of one series."""
        if (series := self.series(labels)) is not None:
            for value in values:
                series.observe(value if value > 0 else 0.0)

    def _new(self, registry: "CollectorRegistry") -> Any:
        from prometheus_client import Histogram as Exposed

        return Exposed(
            self.exposed_name, self.meaning, self.labels, registry=registry, buckets=self.buckets
        )


AnyMetric = Counter | Gauge | Histogram
_declared: dict[str, AnyMetric] = {}

M = TypeVar("M", Counter, Gauge, Histogram)


def declare(metric: M) -> M:
    """Put a metric on the list; `ValueError` when its name is taken."""
    if metric.name in _declared:
        raise ValueError(f"metric {metric.name} is declared already")
    _declared[metric.name] = metric
    return metric


def declared_metrics() -> list[AnyMetric]:
    """Every metric there is, by name."""
    return [_declared[name] for name in sorted(_declared)]


class Metrics:
    """The metrics of this process, ready to be scraped."""

    content_type = "text/plain; version=0.0.4; charset=utf-8"

    def __init__(self, registry: "CollectorRegistry") -> None:
        self._registry = registry

    def exposition(self) -> bytes:
        """All series in Prometheus' text format."""
        from prometheus_client import generate_latest

        return generate_latest(self._registry)

    def shutdown(self) -> None:
        """Forget all series; counting is a no-op again."""
        global _active
        if _active is self:
            _active = None
            for metric in _declared.values():
                metric.forget()


_active: Metrics | None = None


def setup_metrics() -> Metrics:
    """Start counting. The same object again when it is called again in this process."""
    global _active
    if _active is None:
        _active = _start()
    return _active


def _start() -> Metrics:
    import prometheus_client as prometheus

    import common.telemetry.metrics  # noqa: F401 - declares them all

    prometheus.disable_created_metrics()  # type: ignore[no-untyped-call]
    registry = prometheus.CollectorRegistry()
    prometheus.ProcessCollector(registry=registry)
    prometheus.GCCollector(registry=registry)
    for metric in _declared.values():
        metric.expose(registry)
    return Metrics(registry)


@contextlib.contextmanager
def counted() -> Iterator[Metrics]:
    """For tests: count within this block only, from nothing."""
    if _active is not None:
        _active.shutdown()
    metrics = setup_metrics()
    try:
        yield metrics
    finally:
        metrics.shutdown()
