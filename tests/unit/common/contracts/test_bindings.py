"""Events on the wire: CloudEvents 1.0, written binary, read binary and structured."""

from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest

from common.contracts import (
    ConversationTransferred,
    Envelope,
    MessageRead,
    OrderLine,
    ShopMessage,
    ShopOrder,
    Typing,
    Unencodable,
    decode,
    encode,
)
from tests.unit.common.contracts.records import (
    BODY,
    ORDER,
    STRUCTURED_HEADERS,
    read,
    read_order,
    structured,
)

BEIJING = timezone(timedelta(hours=8))
NOON = datetime(2025, 6, 1, 12, tzinfo=UTC)
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def typing(**fields: object) -> Typing:
    plain = {
        "shop_id": "demo",
        "conversation_id": "c1",
        "buyer_id": "b1",
        "sender": "agent:a1",
        "at": NOON,
    }
    return Typing(**plain | fields)  # type: ignore[arg-type]


def enveloped(event: Typing, **parts: object) -> Envelope:
    plain = {"id": "e1", "source": "/chat_router", "time": NOON}
    return Envelope.of(event, **plain | parts)  # type: ignore[arg-type]


def test_an_event_is_written_in_the_binary_binding() -> None:
    envelope = enveloped(
        typing(), subject="c1", traceparent=TRACE, deliveries={"agent:a1": 12, "buyer:b1": 7}
    )
    message = encode(envelope)
    assert (message.topic, message.key) == ("kefu.typing", b"demo:b1")
    assert dict(message.headers) == {
        "ce_specversion": b"1.0",
        "ce_id": b"e1",
        "ce_source": b"/chat_router",
        "ce_type": b"kefu.typing.v1",
        "ce_time": b"2025-06-01T12:00:00Z",
        "ce_subject": b"c1",
        "ce_shopid": b"demo",
        "ce_deliveries": b"agent:a1=12,buyer:b1=7",
        "content-type": b"application/json",
        "traceparent": TRACE.encode(),
    }
    assert msgspec.json.decode(message.value) == {
        "shop_id": "demo",
        "conversation_id": "c1",
        "buyer_id": "b1",
        "sender": "agent:a1",
        "at": "2025-06-01T12:00:00Z",
    }


def test_attributes_that_are_not_set_are_not_written() -> None:
    names = {name for name, _ in encode(enveloped(typing())).headers}
    assert not names & {"ce_subject", "ce_deliveries", "traceparent"}


@pytest.mark.parametrize(
    "receiver", ["buyer:李华", "buyer:a=b,c%", "buyer:", "shop", "buyer:\t", "agent:a/b c"]
)
def test_any_receiver_comes_back_from_the_deliveries_header(receiver: str) -> None:
    sent = {receiver: 3, "agent:a1": 4}
    message = encode(enveloped(typing(), deliveries=sent))
    header = dict(message.headers)["ce_deliveries"].decode()
    assert header.count("=") == 2
    assert header.isascii()
    assert decode(*message).deliveries == sent


def test_both_bindings_read_as_the_same_envelope() -> None:
    binary = read(
        spoilt={"ce_subject": b"m1", "ce_deliveries": b"shop=3", "traceparent": TRACE.encode()}
    )
    event = structured(subject="m1", deliveries="shop=3", traceparent=TRACE)
    assert read(event, headers=STRUCTURED_HEADERS) == binary


def test_a_structured_event_may_carry_its_trace_in_the_record_header() -> None:
    headers = STRUCTURED_HEADERS | {"traceparent": TRACE.encode()}
    assert read(structured(), headers=headers).traceparent == TRACE


def test_the_trace_is_read_as_an_extension_attribute_too() -> None:
    assert read(spoilt={"ce_traceparent": TRACE.encode()}).traceparent == TRACE


@pytest.mark.parametrize(
    "media_type", [None, b"application/json; charset=utf-8", b"Application/JSON"]
)
def test_a_json_media_type_may_be_absent_or_have_parameters(media_type: bytes | None) -> None:
    assert read(spoilt={"content-type": media_type}).id == "event-1"


def test_a_shop_attribute_is_optional() -> None:
    assert read(spoilt={"ce_shopid": None}).shop_id == "demo"
    assert read(structured(shopid=None), headers=STRUCTURED_HEADERS).shop_id == "demo"


def test_unknown_fields_and_headers_are_tolerated() -> None:
    spoilt = {"ce_partitionkey": b"x", "x-own": b"\xff"}
    assert read(BODY | {"new_field": {"deep": [1]}}, spoilt=spoilt).event == read().event
    assert read(structured(dataschema="urn:x"), headers=STRUCTURED_HEADERS).event == read().event


def test_times_are_in_utc_whatever_offset_they_were_written_with() -> None:
    envelope = read(BODY)
    event = envelope.event
    assert isinstance(event, ShopMessage)
    assert (envelope.time.tzinfo, event.sent_at.tzinfo) == (UTC, UTC)
    assert event.sent_at == datetime(2025, 6, 1, 2, 10, 15, tzinfo=UTC)


def test_times_are_written_in_utc_too() -> None:
    local = datetime(2025, 6, 1, 20, tzinfo=BEIJING)
    message = encode(enveloped(typing(at=local), time=local))
    assert dict(message.headers)["ce_time"] == b"2025-06-01T12:00:00Z"
    assert b'"at":"2025-06-01T12:00:00Z"' in message.value


def test_defaults_are_not_written_but_waiting_always_is() -> None:
    """A screen must find `unanswered_since` even when it is null."""
    event = MessageRead(
        shop_id="demo",
        conversation_id="c1",
        buyer_id="b1",
        unread_agent=0,
        unread_buyer=0,
        unanswered_since=None,
        reader="buyer:b1",
        up_to_seq=2,
        read_at=NOON,
    )
    body = msgspec.json.decode(encode(Envelope.of(event, id="e", source="/s", time=NOON)).value)
    assert body["unanswered_since"] is None
    assert (body["unread_agent"], body["unread_buyer"]) == (0, 0)


def test_an_order_comes_with_its_lines_typed() -> None:
    order = read_order(ORDER).event
    assert isinstance(order, ShopOrder)
    assert order.lines == (
        OrderLine(
            line_id="o1-1",
            product_id="p1",
            title="外套",
            quantity=1,
            unit_price_fen=100,
            paid_fen=100,
        ),
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"shop_id": "a:b"},
        {"buyer_id": ""},
        {"conversation_id": None},
        {"conversation_id": 7},
        {"sender": "s" * 161},
        {"sender": "\ud800"},
        {"sender": "a\0"},
        {"at": NOON.replace(tzinfo=None)},
        {"at": datetime.min.replace(tzinfo=BEIJING)},
    ],
    ids=str,
)
def test_a_producer_cannot_write_what_its_readers_would_refuse(fields: dict[str, object]) -> None:
    with pytest.raises(Unencodable, match=r"kefu\.typing\.v1"):
        encode(enveloped(typing(**fields)))


@pytest.mark.parametrize(
    "parts",
    [
        {"id": ""},
        {"id": "i" * 129},
        {"source": ""},
        {"subject": "two\nlines"},
        {"traceparent": "t" * 129},
        {"time": NOON.replace(tzinfo=None)},
    ],
    ids=str,
)
def test_an_envelope_out_of_form_is_not_written(parts: dict[str, object]) -> None:
    with pytest.raises(Unencodable):
        encode(enveloped(typing(), **parts))


def test_an_event_over_the_limit_is_not_written() -> None:
    line = OrderLine(
        line_id="l" * 128,
        product_id="p" * 128,
        title="题" * 500,
        quantity=1,
        unit_price_fen=1,
        paid_fen=1,
    )
    order = read_order(ORDER).event
    huge = msgspec.structs.replace(order, lines=(line,) * 500)
    with pytest.raises(Unencodable, match="the limit is"):
        encode(Envelope.of(huge, id="e", source="/s", time=NOON))


def test_a_transfer_names_whom_it_goes_to() -> None:
    with pytest.raises(ValueError, match="to_agent_id or to_group_id"):
        ConversationTransferred(
            shop_id="demo",
            conversation_id="c1",
            buyer_id="b1",
            unread_agent=0,
            unread_buyer=0,
            unanswered_since=None,
            actor="a1",
            transferred_at=NOON,
        )
