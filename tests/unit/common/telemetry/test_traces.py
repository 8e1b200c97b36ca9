"""One trace from end to end, whether or not it is recorded."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.settings import Settings
from common.telemetry.traces import (
    current_traceparent,
    new_traceparent,
    recorded_spans,
    setup_tracing,
    start_span,
    trace_ids,
    valid_traceparent,
)

GIVEN = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_without_an_exporter_the_trace_is_handed_on_unchanged() -> None:
    assert current_traceparent() is None
    with start_span("request", "server", parent=GIVEN) as span:
        assert current_traceparent() == GIVEN
        assert not span.recording
        with start_span("inner"):
            assert current_traceparent() == GIVEN
    assert current_traceparent() is None


def test_without_an_exporter_work_without_a_parent_gets_a_trace_of_its_own() -> None:
    with start_span("timer"):
        own = current_traceparent()
        assert valid_traceparent(own)
        assert own is not None
        assert own.endswith("-00"), "nobody down the line need record it"
        assert trace_ids() == (own[3:35], own[36:52])
        with start_span("frame", root=True):
            assert current_traceparent() != own


def test_a_span_continues_the_trace_it_was_handed() -> None:
    with recorded_spans() as spans:
        with start_span("request", "server", parent=GIVEN):
            stored = current_traceparent()
        # … an outbox row, a record's header, another process …
        with start_span("handle", "consumer", parent=stored, attributes={"topic": "t"}):
            pass
        request, handle = spans.get_finished_spans()
    assert request.context.trace_id == handle.context.trace_id == int(GIVEN[3:35], 16)
    assert request.parent is not None
    assert request.parent.span_id == int(GIVEN[36:52], 16)
    assert handle.parent is not None
    assert handle.parent.span_id == request.context.span_id
    assert handle.attributes == {"topic": "t"}
    assert handle.resource.attributes["service.name"] == "test"


def test_a_batch_is_linked_to_each_of_its_events() -> None:
    with recorded_spans() as spans:
        with start_span("batch", links=[GIVEN, None, "garbage", new_traceparent()], root=True):
            pass
        (batch,) = spans.get_finished_spans()
    assert batch.parent is None
    assert next(link.context.trace_id for link in batch.links) == int(GIVEN[3:35], 16)
    assert len(batch.links) == 2


def test_a_failure_is_noted_by_its_class_never_by_its_text() -> None:
    with recorded_spans() as spans:
        with pytest.raises(ValueError, match="13800138000"), start_span("work"):
            raise ValueError("13800138000")
        (span,) = spans.get_finished_spans()
    assert not span.status.is_ok
    assert span.attributes == {"error.type": "ValueError"}
    assert not span.events
    assert "13800138000" not in span.to_json()


async def test_tasks_keep_their_traces_apart() -> None:
    async def work(parent: str) -> str | None:
        with start_span("work", parent=parent):
            await asyncio.sleep(0)
            return current_traceparent()

    parents = [new_traceparent() for _ in range(20)]
    assert await asyncio.gather(*map(work, parents)) == parents


def test_unsampled_traces_are_not_recorded() -> None:
    with recorded_spans() as spans:
        with start_span("request", parent=GIVEN[:-2] + "00") as span:
            assert not span.recording
            assert current_traceparent() is not None
        assert spans.get_finished_spans() == ()


def test_without_a_collector_nothing_is_set_up() -> None:
    tracing = setup_tracing(Settings(), "demo")
    with start_span("work") as span:
        assert not span.recording
    tracing.shutdown()


def test_a_collector_that_is_away_harms_nobody() -> None:
    tracing = setup_tracing(Settings(otlp_endpoint="http://127.0.0.1:9"), "demo")
    with start_span("work") as span:
        assert span.recording
    tracing.shutdown()
    tracing.shutdown()
    with start_span("after") as span:
        assert not span.recording


@given(st.text(max_size=60) | st.from_regex(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}"))
def test_any_text_is_a_traceparent_or_ignored(text: str) -> None:
    if valid_traceparent(text) is None:
        with start_span("work"):
            pass
    else:
        assert len(text) == 55


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        GIVEN.upper(),
        GIVEN + "\n",
        "01" + GIVEN[2:],
        "00-" + "0" * 32 + GIVEN[35:],
        GIVEN[:36] + "0" * 16 + "-01",
    ],
)
def test_what_is_no_traceparent_is_not_taken_for_one(value: str | None) -> None:
    assert valid_traceparent(value) is None
