"""How a metric is declared, counted and shown. The metrics themselves stand in `metrics.py`.

Counters and gauges are plain dictionaries that OpenTelemetry reads at scrape time, so counting
costs a fraction of a microsecond (an OpenTelemetry counter costs about ten). Histograms are
OpenTelemetry's own. Nothing is kept before `setup_metrics`; counting is then a no-op.
"""

import contextlib
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, TypeVar

from opentelemetry.metrics import CallbackOptions, Meter, Observation
from opentelemetry.metrics import Histogram as OtelHistogram

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics import MeterProvider
    from prometheus_client import CollectorRegistry

Labels = tuple[str, ...]

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
LONG_SECONDS = (1.0, 5.0, 10.0, 30.0, 60.0, 100.0, 180.0, 300.0, 600.0, 1800.0, 3600.0)
SIZES = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One metric. Its labels come from closed sets: never a shop, a person or an order."""

    name: str
    meaning: str
    unit: str
    labels: Labels = ()

    type: ClassVar[Literal["counter", "gauge", "histogram"]]

    def key(self, labels: dict[str, str]) -> Labels:
        """The values in declared order; `TypeError` for a label too many or too few."""
        try:
            key = tuple([labels[name] for name in self.labels])
        except KeyError as missing:
            raise TypeError(f"{self.name} lacks the label {missing}") from None
        if len(labels) != len(self.labels):
            raise TypeError(f"{self.name} has only the labels {self.labels}")
        return key

    @property
    def exposed_name(self) -> str:
        """The name in the Prometheus exposition."""
        base = "kefu_" + self.name.replace(".", "_")
        suffix = "_seconds" if self.unit == "s" else ""
        return base + suffix + ("_total" if self.type == "counter" else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept(Metric):
    """A metric whose values lie here until they are scraped."""

    def observe(self, _options: CallbackOptions) -> Iterable[Observation]:
        values = _values.get(self.name, {})
        return [
            Observation(value, dict(zip(self.labels, key, strict=True)))
            for key, value in list(values.items())
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counter(_Kept):
    """Only grows."""

    type = "counter"

    def add(self, amount: float = 1, /, **labels: str) -> None:
        """Count `amount` more."""
        values = _values.get(self.name)
        if values is None:
            return
        key = self.key(labels)
        with _lock:
            values[key] = values.get(key, 0) + amount


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauge(_Kept):
    """Goes up and down."""

    type = "gauge"

    def set(self, value: float, /, **labels: str) -> None:
        """It is `value` now."""
        values = _values.get(self.name)
        if values is not None:
            values[self.key(labels)] = value

    def add(self, amount: float, /, **labels: str) -> None:
        """It is `amount` more now, or less if negative."""
        values = _values.get(self.name)
        if values is None:
            return
        key = self.key(labels)
        with _lock:
            values[key] = values.get(key, 0) + amount

    def forget(self, **labels: str) -> None:
        """No longer show this series, such as a partition that moved elsewhere."""
        _values.get(self.name, {}).pop(self.key(labels), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram(Metric):
    """How often values fall into which range."""

    type = "histogram"
    buckets: tuple[float, ...] = SECONDS

    def record(self, value: float, /, **labels: str) -> None:
        """Count one `value`; below zero, as clocks may have it, counts as zero."""
        histogram = _histograms.get(self.name)
        if histogram is not None:
            self.key(labels)
            histogram.record(value if value > 0 else 0.0, labels)


_lock = threading.Lock()
_values: dict[str, dict[Labels, float]] = {}
_histograms: dict[str, OtelHistogram] = {}
_declared: dict[str, Metric] = {}

M = TypeVar("M", bound=Metric)


def declare(metric: M) -> M:
    """Put a metric on the list; `ValueError` when its name is taken."""
    if metric.name in _declared:
        raise ValueError(f"metric {metric.name} is declared already")
    _declared[metric.name] = metric
    return metric


def declared_metrics() -> list[Metric]:
    """Every metric there is, by name."""
    return [_declared[name] for name in sorted(_declared)]


class Metrics:
    """The metrics of this process, ready to be scraped."""

    content_type = "text/plain; version=0.0.4; charset=utf-8"

    def __init__(self, provider: "MeterProvider", registry: "CollectorRegistry") -> None:
        self._provider = provider
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
            _values.clear()
            _histograms.clear()
            self._provider.shutdown()


_active: Metrics | None = None


def setup_metrics(service: str) -> Metrics:
    """Start counting. The same object again when it is called again in this process."""
    global _active
    if _active is None:
        _active = _start(service)
    return _active


def _start(service: str) -> Metrics:
    from opentelemetry.exporter.prometheus import PrometheusMetricReader
    from opentelemetry.sdk.metrics import AlwaysOffExemplarFilter, MeterProvider
    from opentelemetry.sdk.resources import Resource
    from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector

    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)
    provider = MeterProvider(
        [PrometheusMetricReader(registry=registry, scope_info_enabled=False)],
        resource=Resource.create({"service.name": service, "service.namespace": "kefu"}),
        exemplar_filter=AlwaysOffExemplarFilter(),
        shutdown_on_exit=False,
    )
    meter = provider.get_meter("kefu")
    for metric in _declared.values():
        _bind(metric, meter)
    return Metrics(provider, registry)


def _bind(metric: Metric, meter: Meter) -> None:
    name = f"kefu.{metric.name}"
    match metric:
        case Histogram():
            _histograms[metric.name] = meter.create_histogram(
                name,
                unit=metric.unit,
                description=metric.meaning,
                explicit_bucket_boundaries_advisory=metric.buckets,
            )
        case Counter():
            _values[metric.name] = {}
            meter.create_observable_counter(
                name, [metric.observe], unit=metric.unit, description=metric.meaning
            )
        case Gauge():
            _values[metric.name] = {}
            meter.create_observable_gauge(
                name, [metric.observe], unit=metric.unit, description=metric.meaning
            )


@contextlib.contextmanager
def counted(service: str = "test") -> Iterator[Metrics]:
    """For tests: count within this block only."""
    metrics = setup_metrics(service)
    try:
        yield metrics
    finally:
        metrics.shutdown()
