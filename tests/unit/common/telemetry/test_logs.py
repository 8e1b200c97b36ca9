"""One JSON object per line, connected to its trace, whoever wrote it."""

import io
import json
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from common.settings import Settings
from common.telemetry.logs import get_logger, request_id_var, setup_logging
from common.telemetry.traces import current_traceparent, start_span


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    setup_logging(Settings(), "demo", stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_says_when_where_and_what(stream: io.StringIO) -> None:
    get_logger("kefu.demo").info("batch_done", topic="shop.orders", size=200)
    (line,) = lines(stream)
    assert line["timestamp"].endswith("Z")
    assert (line["level"], line["logger"], line["service"]) == ("info", "kefu.demo", "demo")
    assert (line["event"], line["topic"], line["size"]) == ("batch_done", "shop.orders", 200)


def test_lines_of_libraries_look_like_ours(stream: io.StringIO) -> None:
    logging.getLogger("some.library").warning("call %s after %d ms", "+86 138-0013-8000", 7)
    (line,) = lines(stream)
    assert line["event"] == "call *** after 7 ms"
    assert (line["level"], line["logger"], line["service"]) == ("warning", "some.library", "demo")


def test_a_line_belongs_to_its_trace_and_request(stream: io.StringIO) -> None:
    token = request_id_var.set("r-1")
    with start_span("work"):
        traceparent = current_traceparent()
        get_logger("a").info("inside")
        logging.getLogger("b").warning("inside, too")
    request_id_var.reset(token)
    get_logger("a").info("outside")
    first, second, third = lines(stream)
    assert traceparent == f"00-{first['trace_id']}-{first['span_id']}-00"
    assert first["trace_id"] == second["trace_id"]
    assert first["request_id"] == "r-1"
    assert not {"trace_id", "request_id"} & third.keys()


@pytest.mark.parametrize("name", ["ours", "theirs"])
def test_what_an_exception_says_is_masked_too(stream: io.StringIO, name: str) -> None:
    logger: Any = get_logger("a") if name == "ours" else logging.getLogger("b")
    try:
        raise ValueError(
            "insert failed [parameters: ('我的电话 13800138000', 7)]\nmail li@example.com"
        )
    except ValueError:
        logger.exception("failed")
    (line,) = lines(stream)
    assert "ValueError: insert failed" in line["exception"]
    for part in ("13800138000", "我的电话", "li@example.com"):
        assert part not in line["exception"].split("ValueError: ", 1)[1]


def test_less_severe_lines_are_left_out(stream: io.StringIO) -> None:
    get_logger("a").debug("unseen")
    logging.getLogger("httpx").info("GET https://login.example/keys?secret=1")
    logging.getLogger("uvicorn.error").info("WebSocket /v1/socket?token=abc [accepted]")
    assert lines(stream) == []


def test_warnings_are_logged(stream: io.StringIO) -> None:
    warnings.warn("old ways", UserWarning, stacklevel=1)
    (line,) = lines(stream)
    assert "old ways" in line["event"]


def test_text_for_a_terminal_is_masked_as_well() -> None:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    setup_logging(Settings(log_format="console"), "demo", stream)
    get_logger("a").info("call 13800138000", phone="x", size=3)
    root.handlers[:] = handlers
    root.setLevel(level)
    assert "13800138000" not in stream.getvalue()
    assert "size=3" in stream.getvalue()


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.text(st.characters()),
    st.dictionaries(st.text(max_size=8), st.text() | st.integers() | st.floats() | st.binary()),
)
def test_whatever_is_logged_stays_one_line_of_json(
    stream: io.StringIO, event: str, found: dict[str, Any]
) -> None:
    stream.seek(0)
    stream.truncate()
    get_logger("a").info("line", found=found, said=event)
    assert stream.getvalue().count("\n") == 1
    assert json.loads(stream.getvalue())["event"] == "line"


def test_nothing_is_logged_unmasked_before_logging_is_set_up(
    caplog: pytest.LogCaptureFixture,
) -> None:
    get_logger("a").warning("call 13800138000", text="secret")
    assert "13800138000" not in caplog.text
    assert "secret" not in caplog.text
