"""Traces: one W3C trace from a buyer's request to the frame on an agent's socket.

A span is opened with `start_span`. Without an exporter it costs about a microsecond and only
hands the trace on: the ids of the parent pass through, and work without a parent gets a new,
unsampled trace, so that logs and events are connected even when nothing is recorded. With an
exporter (`setup_tracing`) the same calls record real spans.

Between processes a trace travels as its `traceparent`: stored in the outbox row, carried in the
record's header, restored by whoever continues the work (`parent=` for one, `links=` for a batch).
"""

import contextlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar, Token
from types import TracebackType
from typing import TYPE_CHECKING, Literal

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace import Link, SpanContext, SpanKind, StatusCode, TraceFlags

from common.settings import Settings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

Kind = Literal["internal", "server", "client", "producer", "consumer"]
Value = str | bool | int | float

_KINDS = {
    "internal": SpanKind.INTERNAL,
    "server": SpanKind.SERVER,
    "client": SpanKind.CLIENT,
    "producer": SpanKind.PRODUCER,
    "consumer": SpanKind.CONSUMER,
}
_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")

_current: ContextVar[str | None] = ContextVar("kefu_traceparent", default=None)
_tracer: trace.Tracer | None = None


def current_traceparent() -> str | None:
    """The traceparent of the span that is open here, to be stored or sent along."""
    return _current.get()


def trace_ids() -> tuple[str, str] | None:
    """(trace id, span id) of the span that is open here, in hexadecimal."""
    traceparent = _current.get()
    return (traceparent[3:35], traceparent[36:52]) if traceparent else None


def valid_traceparent(value: str | None) -> str | None:
    """The value if it is a traceparent (W3C, version 00), else None."""
    return value if value and _TRACEPARENT.fullmatch(value) else None


def new_traceparent() -> str:
    """A new trace, not sampled."""
    digits = os.urandom(24).hex()
    return f"00-{digits[:32]}-{digits[32:]}-00"


class Span:
    """An open span. Without an exporter, `set` and `fail` do nothing."""

    __slots__ = ("_recorded",)

    def __init__(self, recorded: trace.Span | None = None) -> None:
        self._recorded = recorded

    @property
    def recording(self) -> bool:
        """Whether attributes are kept: ask before working out a costly one."""
        return self._recorded is not None and self._recorded.is_recording()

    def rename(self, name: str) -> None:
        """Give the span the name that is only known at its end."""
        if self._recorded is not None:
            self._recorded.update_name(name)

    def set(self, attributes: Mapping[str, Value]) -> None:
        """Add attributes. Never personal data: spans leave the process unmasked."""
        if self._recorded is not None:
            self._recorded.set_attributes(attributes)

    def fail(self, reason: str) -> None:
        """Mark the work as failed; `reason` is an error's code or class, never its text."""
        if self._recorded is not None:
            self._recorded.set_status(StatusCode.ERROR)
            self._recorded.set_attribute("error.type", reason)


_SILENT = Span()


class start_span:  # noqa: N801 - a context manager that is used like a function
    """Open a span for the work inside `with`.

    `parent` is a traceparent from elsewhere; without it the span that is open here is the
    parent, unless `root` asks for a trace of its own. `links` are traceparents of work that this
    one does together, as in a batch. An exception marks the span as failed and goes on.
    """

    __slots__ = ("_args", "_name", "_otel", "_parent", "_span", "_token")

    def __init__(
        self,
        name: str,
        kind: Kind = "internal",
        *,
        parent: str | None = None,
        links: Iterable[str | None] = (),
        attributes: Mapping[str, Value] | None = None,
        root: bool = False,
    ) -> None:
        self._name = name
        self._parent = parent or (None if root else _current.get())
        self._args = (kind, links, attributes)

    def __enter__(self) -> Span:
        if _tracer is None:
            self._token: Token[str | None] = _current.set(self._parent or new_traceparent())
            self._span = _SILENT
            return _SILENT
        return self._record(_tracer)

    def _record(self, tracer: trace.Tracer) -> Span:
        kind, links, attributes = self._args
        recorded = tracer.start_span(
            self._name,
            context=_context(self._parent),
            kind=_KINDS[kind],
            attributes=attributes,
            links=[Link(linked) for linked in map(_parse, links) if linked],
            record_exception=False,
            set_status_on_exception=False,
        )
        self._otel = otel_context.attach(trace.set_span_in_context(recorded))
        self._token = _current.set(_format(recorded.get_span_context()))
        self._span = Span(recorded)
        return self._span

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        _current.reset(self._token)
        recorded = self._span._recorded
        if recorded is None:
            return
        if kind is not None and issubclass(kind, Exception):
            self._span.fail(kind.__name__)
        otel_context.detach(self._otel)
        recorded.end()


def _context(traceparent: str | None) -> otel_context.Context:
    parent = _parse(traceparent)
    if parent is None:
        return otel_context.Context()
    return trace.set_span_in_context(trace.NonRecordingSpan(parent), otel_context.Context())


def _parse(traceparent: str | None) -> SpanContext | None:
    if valid_traceparent(traceparent) is None:
        return None
    assert traceparent is not None
    return SpanContext(
        trace_id=int(traceparent[3:35], 16),
        span_id=int(traceparent[36:52], 16),
        is_remote=True,
        trace_flags=TraceFlags(int(traceparent[53:55], 16)),
    )


def _format(span: SpanContext) -> str:
    return f"00-{span.trace_id:032x}-{span.span_id:016x}-{span.trace_flags:02x}"


class Tracing:
    """Recording of spans in this process, until `shutdown`."""

    def __init__(self, provider: "TracerProvider | None") -> None:
        self._provider = provider

    def shutdown(self) -> None:
        """Send what is left and stop recording. May take some seconds; safe to repeat."""
        global _tracer
        if self._provider is not None:
            _tracer = None
            self._provider.shutdown()
            self._provider = None


def setup_tracing(settings: Settings, service: str) -> Tracing:
    """Record spans if a collector is configured; one call per process."""
    if settings.otlp_endpoint is None:
        return Tracing(None)
    # Imported here: without a collector these would only take memory.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    endpoint = settings.otlp_endpoint.rstrip("/") + "/v1/traces"
    processor = BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint, timeout=5))
    return _record_with(processor, service, settings.trace_sample_ratio)


def _record_with(processor: "SpanProcessor", service: str, ratio: float) -> Tracing:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio

    global _tracer
    provider = TracerProvider(
        resource=Resource.create({"service.name": service, "service.namespace": "kefu"}),
        sampler=ParentBasedTraceIdRatio(ratio),
        shutdown_on_exit=False,
    )
    provider.add_span_processor(processor)
    _tracer = provider.get_tracer("kefu")
    return Tracing(provider)


@contextlib.contextmanager
def recorded_spans(service: str = "test") -> Iterator["InMemorySpanExporter"]:
    """For tests: record every span of this block in memory."""
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    spans = InMemorySpanExporter()
    tracing = _record_with(SimpleSpanProcessor(spans), service, 1.0)
    try:
        yield spans
    finally:
        tracing.shutdown()
