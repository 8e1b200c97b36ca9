"""The list of metrics, and that what it says is what is exposed."""

import re
from pathlib import Path

import pytest

from common.telemetry.instruments import Counter, Gauge, Histogram, counted, declared_metrics
from common.telemetry.metrics import (
    EVENTS_CONSUMED,
    HTTP_REQUEST_SECONDS,
    SOCKETS_OPEN,
    metrics_table,
)

PAGE = Path(__file__).parents[4] / "docs" / "common" / "telemetry.md"


def test_every_metric_is_exposed_under_the_name_type_and_labels_of_the_list() -> None:
    with counted() as metrics:
        for metric in declared_metrics():
            labels = dict.fromkeys(metric.labels, "x")
            match metric:
                case Counter():
                    metric.add(2, **labels)
                case Gauge():
                    metric.set(2, **labels)
                case Histogram():
                    metric.record(2, **labels)
        exposed = metrics.exposition().decode()
    for metric in declared_metrics():
        assert f"# TYPE {metric.exposed_name} {metric.type}" in exposed
        series = metric.exposed_name + ("_count" if metric.type == "histogram" else "")
        values = re.findall(rf"^{series}(\{{.*\}})? (.*)$", exposed, re.MULTILINE)
        assert len(values) == 1, metric.name
        found = re.findall(r'(\w+)="x"', values[0][0])
        assert sorted(found) == sorted(metric.labels)
        assert float(values[0][1]) == (1.0 if metric.type == "histogram" else 2.0)


def test_labels_come_from_closed_sets() -> None:
    personal = {"shop", "shop_id", "buyer", "buyer_id", "agent", "agent_id", "order_id", "path"}
    for metric in declared_metrics():
        assert not personal & set(metric.labels), metric.name


def test_every_metric_says_what_it_means() -> None:
    for metric in declared_metrics():
        assert metric.meaning.endswith("."), metric.name
        assert metric.unit == "s" or re.fullmatch(r"\{\w+\}", metric.unit), metric.name


def test_a_label_too_many_or_too_few_is_a_mistake() -> None:
    with counted():
        with pytest.raises(TypeError, match="topic"):
            EVENTS_CONSUMED.add(1, service="a")
        with pytest.raises(TypeError, match="only the labels"):
            EVENTS_CONSUMED.add(1, service="a", topic="t", shop_id="s")


def test_counting_before_metrics_are_set_up_is_nothing() -> None:
    EVENTS_CONSUMED.add(1, service="a", topic="t")
    with counted() as metrics:
        assert 'topic="t"' not in metrics.exposition().decode()
        EVENTS_CONSUMED.add(1, service="a", topic="t")
        EVENTS_CONSUMED.add(2, service="a", topic="t")
        assert 'kefu_events_consumed_total{service="a",topic="t"} 3.0' in (
            metrics.exposition().decode()
        )
    with counted() as metrics:
        assert 'topic="t"' not in metrics.exposition().decode()


def test_gauges_go_up_and_down() -> None:
    with counted() as metrics:
        SOCKETS_OPEN.add(1, service="a", kind="staff")
        SOCKETS_OPEN.add(1, service="a", kind="staff")
        SOCKETS_OPEN.add(-1, service="a", kind="staff")
        exposed = metrics.exposition().decode()
    assert 'kefu_sockets_open{kind="staff",service="a"} 1.0' in exposed


def test_a_clock_that_went_back_does_not_break_a_histogram() -> None:
    with counted() as metrics:
        HTTP_REQUEST_SECONDS.record(-3, service="a", method="GET", route="/", status="200")
        exposed = metrics.exposition().decode()
    assert re.search(r"kefu_http_request_duration_seconds_sum\{.*\} 0.0", exposed)


def test_the_documented_table_is_the_list() -> None:
    page = PAGE.read_text("utf-8")
    assert metrics_table() in page, "paste the new metrics_table() into docs/common/telemetry.md"
