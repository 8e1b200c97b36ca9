"""docs/events.md: its examples work and its tables leave nothing out."""

import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args

import pytest

from common.contracts import TOPICS, Topic, decode, registry
from common.contracts.errors import Code
from tests.unit.common.contracts.records import HEADERS, STRUCTURED_HEADERS

PAGE = (Path(__file__).parents[4] / "docs" / "events.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_the_structured_example_is_read() -> None:
    (event,) = [json.loads(text) for text in blocks("json") if "specversion" in text]
    headers = list(STRUCTURED_HEADERS.items())
    envelope = decode("shop.reviews", b"demo:tb_lihua88", json.dumps(event).encode(), headers)
    assert envelope.id == event["id"]


def test_the_order_example_is_read() -> None:
    (order,) = [text for text in blocks("json") if "order_id" in text]
    headers = HEADERS | {"ce_type": b"kefu.shop.order.v1"}
    envelope = decode("shop.orders", b"demo:tb_lihua88", order.encode(), list(headers.items()))
    assert envelope.shop_id == "demo"


async def test_the_python_example_publishes_a_readable_event(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sent: list[dict[str, Any]] = []

    class Producer:
        def __init__(self, **settings: Any) -> None:
            assert settings["enable_idempotence"]

        async def start(self) -> None: ...

        async def stop(self) -> None: ...

        async def send_and_wait(self, topic: str, **record: Any) -> None:
            sent.append({"topic": topic, **record})

    monkeypatch.setattr("aiokafka.AIOKafkaProducer", Producer)
    (script,) = blocks("python")
    scope: dict[str, Any] = {"__name__": "example"}
    exec(compile(script, "events.md", "exec"), scope)
    await scope["publish"]("localhost:9092")
    (record,) = sent
    assert decode(**record).event.text == scope["MESSAGE"]["text"]  # type: ignore[attr-defined]


def test_the_console_example_is_a_readable_record() -> None:
    (script,) = blocks("sh")
    headers, key, value = re.findall(r"^  '(.*)'", script, re.MULTILINE)
    pairs = [header.split(":", 1) for header in headers.split(",")]
    envelope = decode(
        "shop.messages",
        key.encode(),
        value.encode(),
        [(name, text.encode()) for name, text in pairs],
    )
    assert envelope.id == "by-hand-1"


@pytest.mark.parametrize("known", list(registry), ids=lambda known: known.name)
def test_every_event_stands_on_the_page(known: Any) -> None:
    assert f"`{known.ce_type}`" in PAGE


@pytest.mark.parametrize("topic", TOPICS.values(), ids=lambda topic: topic.name)
def test_every_topic_stands_on_the_page_with_how_long_it_is_kept(topic: Topic) -> None:
    minute = timedelta(minutes=1)
    kept = "1 minute" if topic.retention == minute else f"{topic.retention.days} days"
    assert re.search(rf"^\| `{re.escape(topic.name)}` \|.*\| {kept} \|$", PAGE, re.MULTILINE)


@pytest.mark.parametrize("code", get_args(Code))
def test_every_code_stands_on_the_page(code: str) -> None:
    assert f"| `{code}` |" in PAGE
