"""One trace for one buyer's message: from the request to the frames on the sockets.

Every hop is there, each under the one that caused it, whichever service it happens in; and the
trace goes on over timers, batches, and platforms' answers.
"""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from common.auth.principal import Role
from common.contracts import ReturnRequested
from common.ids import new_id
from common.telemetry.traces import recorded_spans
from tests.support.harness import until
from tests.support.whole import BUYER, Whole, set_scene, snapshot, whole


def a_trace() -> tuple[str, str]:
    """(trace id, traceparent) of a client who records."""
    trace_id = new_id().replace("-", "")
    return trace_id, f"00-{trace_id}-00000000000000c1-01"


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[Whole]:
    async with whole(tmp_path) as running:
        await set_scene(running)
        await running.idle()
        yield running


class Trace:
    """The spans of one trace, by what they are called."""

    def __init__(self, spans: InMemorySpanExporter, trace_id: str) -> None:
        self.spans = [
            span
            for span in spans.get_finished_spans()
            if span.context is not None and f"{span.context.trace_id:032x}" == trace_id
        ]
        self._by_id = {span.context.span_id: span for span in self.spans if span.context}

    def named(self, name: str, service: str | None = None) -> list[ReadableSpan]:
        return [
            span
            for span in self.spans
            if span.name == name and service in (None, (span.attributes or {}).get("kefu.service"))
        ]

    def way_to(self, span: ReadableSpan) -> list[str]:
        """The names from the root to this span."""
        above = self._by_id.get(span.parent.span_id) if span.parent else None
        return [*(self.way_to(above) if above else ()), span.name]

    def ways_to(self, name: str, service: str | None = None) -> list[list[str]]:
        return [self.way_to(span) for span in self.named(name, service)]


async def traced(spans: InMemorySpanExporter, trace_id: str, *wanted: tuple[str, str]) -> Trace:
    """The trace, once it has these (name, service)."""

    async def complete() -> Trace | None:
        found = Trace(spans, trace_id)
        return found if all(found.named(*one) for one in wanted) else None

    found = await until(complete)
    assert found is not None
    return found


WRITE = "POST /v1/messages"


async def test_one_trace_from_the_buyers_request_to_both_sockets(system: Whole) -> None:
    trace_id, traceparent = a_trace()
    async with (
        system.listening(Role.AGENT) as agent,
        system.listening(Role.BUYER) as buyer,
    ):
        with recorded_spans() as spans:
            body = {"client_message_id": "traced", "text": "在吗"}
            headers = {"traceparent": traceparent}
            await system.ok(
                "POST", "/chat_router/v1/messages", Role.BUYER, json=body, headers=headers
            )
            await agent.until("event", "message.received", client_message_id="traced")
            await buyer.until("event", "message.received", client_message_id="traced")
            found = await traced(
                spans,
                trace_id,
                ("process MessageReceived", "order_ops"),
                ("process MessageReceived", "feedback"),
                ("deliver", "chat_router"),
            )
    (server,) = found.named(WRITE)
    assert server.parent is not None
    assert f"{server.parent.span_id:016x}" == traceparent.split("-")[2]
    assert found.ways_to("process SendMessage", "chat_router") == [[WRITE, "process SendMessage"]]
    stored = [WRITE, "process SendMessage"]
    for service in ("order_ops", "feedback"):
        ways = found.ways_to("process MessageReceived", service)
        assert ways == [[*stored, "process MessageReceived"]]
    deliveries = found.ways_to("deliver", "chat_router")
    assert len(deliveries) >= 2
    assert all(way == [*stored, "deliver"] for way in deliveries)
    assert all((span.start_time or 0) >= (server.start_time or 0) for span in found.spans)


async def test_a_trace_runs_through_three_services_and_back_to_the_buyer(system: Whole) -> None:
    order = snapshot("o9", status="signed", paid_fen=20_600, paid_at="2026-03-01T02:00:00Z")
    await system.ok("POST", "/order_ops/v1/orders", Role.SYSTEM, json=order)
    await system.idle()
    trace_id, traceparent = a_trace()
    asked = {
        "order_id": "o9",
        "kind": "refund_only",
        "reason": "质量问题",
        "goods_received": True,
    }
    async with system.listening(Role.BUYER) as buyer:
        with recorded_spans() as spans:
            await system.ok(
                "POST",
                "/chat_router/v1/return_requests",
                Role.BUYER,
                json=asked,
                headers={"traceparent": traceparent},
            )
            await buyer.until("event", "message.sent", sender_kind="system")
            found = await traced(
                spans,
                trace_id,
                ("process CaseOpened", "feedback"),
                ("process CaseOpened", "chat_router"),
                ("deliver", "chat_router"),
            )
    requested = ["POST /v1/return_requests", "process RequestReturn"]
    opened = [*requested, "process ReturnRequested"]
    assert found.ways_to("process ReturnRequested", "aftersales") == [opened]
    for service in ("chat_router", "order_ops", "feedback"):
        assert [*opened, "process CaseOpened"] in found.ways_to("process CaseOpened", service)
    assert [*opened, "process CaseOpened", "deliver"] in found.ways_to("deliver")


async def test_a_platforms_answer_belongs_to_the_trace_of_the_command(system: Whole) -> None:
    trace_id, traceparent = a_trace()
    with recorded_spans() as spans:
        await system.ok(
            "POST",
            "/order_ops/v1/orders/o1-demo/memos",
            Role.AGENT,
            json={"text": "送礼"},
            headers={"traceparent": traceparent},
        )
        found = await traced(spans, trace_id, ("process CommandSucceeded", "order_ops"))
    way = ["POST /v1/orders/{order_id}/memos", "process WriteMemo", "process CommandSucceeded"]
    assert way in found.ways_to("process CommandSucceeded", "order_ops")


async def test_requests_that_share_a_transaction_keep_their_own_traces(system: Whole) -> None:
    import asyncio

    traces = [a_trace() for _ in range(6)]

    async def write(number: int) -> None:
        await system.ok(
            "POST",
            "/chat_router/v1/messages",
            Role.BUYER,
            subject=f"b{number}",
            json={"client_message_id": "m", "text": "在吗"},
            headers={"traceparent": traces[number][1]},
        )

    with recorded_spans() as spans:
        await asyncio.gather(*(write(number) for number in range(len(traces))))
        for trace_id, _ in traces:
            found = await traced(spans, trace_id, ("process MessageReceived", "feedback"))
            assert len(found.named(WRITE)) == 1
            assert len(found.named("process SendMessage", "chat_router")) == 1
            assert len(found.named("process MessageReceived", "feedback")) == 1


async def test_refused_work_is_marked_in_its_trace_without_its_text(system: Whole) -> None:
    trace_id, traceparent = a_trace()
    with recorded_spans() as spans:
        answer = await system.call(
            "POST",
            "/chat_router/v1/return_requests",
            Role.BUYER,
            json={
                "order_id": "unheard-of",
                "kind": "refund_only",
                "reason": "13800138000",
                "goods_received": True,
            },
            headers={"traceparent": traceparent},
        )
        assert answer.status_code == 404
        found = await traced(spans, trace_id, ("process RequestReturn", "chat_router"))
    (refused,) = found.named("process RequestReturn")
    assert (refused.attributes or {})["error.type"] == "not_found"
    assert not any("13800138000" in str(span.to_json()) for span in found.spans)


async def test_the_trace_goes_on_even_where_nothing_is_recorded(system: Whole) -> None:
    trace_id, traceparent = a_trace()
    await system.ok(
        "POST",
        "/chat_router/v1/return_requests",
        Role.BUYER,
        json={
            "order_id": "o1-demo",
            "kind": "refund_only",
            "reason": "质量问题",
            "goods_received": True,
        },
        headers={"traceparent": traceparent},
    )

    async def carried() -> list[Any]:
        found = await system.records("kefu.cases")
        return [headers for headers in found if trace_id in headers.get("traceparent", "")]

    (requested, *_) = await until(carried)
    assert requested["ce_type"] == "kefu.return.requested.v1"
    (event,) = [e for e in await system.events("kefu.cases") if isinstance(e, ReturnRequested)]
    assert event.buyer_id == BUYER
