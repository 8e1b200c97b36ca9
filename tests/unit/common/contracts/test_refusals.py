"""What is wrong with a record is told by a stable code, and where it is wrong by its path."""

import json
from typing import Any

import pytest

from common.contracts import MAX_VALUE_BYTES, Undecodable
from tests.unit.common.contracts.records import (
    BODY,
    ORDER,
    STRUCTURED_HEADERS,
    read,
    read_order,
    structured,
)


def refused(**record: Any) -> Undecodable:
    with pytest.raises(Undecodable) as caught:
        read(**record)
    return caught.value


def refused_order(**changes: Any) -> Undecodable:
    with pytest.raises(Undecodable) as caught:
        read_order(ORDER | changes)
    return caught.value


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"{",
        b"nonsense",
        b'{"shop_id": "demo',
        b'{"x": ' + b"[" * 200_000,
        b'{"shop_id":"\xff"}',
    ],
    ids=["none", "empty", "open", "word", "cut", "deep", "not-utf8"],
)
def test_what_is_not_json_is_malformed(value: bytes | None) -> None:
    assert refused(body=value).code == "malformed_json"


@pytest.mark.parametrize("name", ["ce_specversion", "ce_id", "ce_source", "ce_type", "ce_time"])
@pytest.mark.parametrize("found", [None, b""], ids=["absent", "empty"])
def test_a_missing_attribute_is_named(name: str, found: bytes | None) -> None:
    error = refused(spoilt={name: found})
    assert error.code == "missing_attribute"
    assert name.removeprefix("ce_") in error.detail


@pytest.mark.parametrize(
    "spoilt",
    [
        {"ce_specversion": b"0.3"},
        {"ce_time": b"yesterday"},
        {"ce_time": b"2025-06-01T10:10:16"},
        {"ce_time": b"0001-01-01T00:00:00+08:00"},
        {"ce_id": b"\xff\xfe"},
        {"ce_id": b"i" * 129},
        {"ce_id": b"line\nbreak"},
        {"ce_source": b"s" * 257},
        {"ce_subject": b"\x00"},
        {"traceparent": b"t" * 129},
        {"content-type": b"application/xml"},
        {"content-type": b"application/cloudevents-batch+json"},
        {"ce_deliveries": b"agent:a1"},
        {"ce_deliveries": b"agent:a1=1,,buyer:b1=2"},
        {"ce_deliveries": b"agent:%ff=1"},
    ],
    ids=str,
)
def test_an_attribute_out_of_form_is_invalid(spoilt: dict[str, bytes]) -> None:
    assert refused(spoilt=spoilt).code == "invalid_attribute"


@pytest.mark.parametrize(
    "type_", [b"kefu.shop.massage.v1", b"com.example.order", b"kefu.shop.message.v0", b"kefu..v2"]
)
def test_a_type_nobody_knows_is_unknown(type_: bytes) -> None:
    assert refused(spoilt={"ce_type": type_}).code == "unknown_type"


@pytest.mark.parametrize("version", [b"2", b"17"])
def test_a_later_major_version_is_told_apart_from_an_unknown_type(version: bytes) -> None:
    error = refused(spoilt={"ce_type": b"kefu.shop.message.v" + version})
    assert error.code == "future_version"
    assert "newest version known here is 1" in error.detail


def test_a_naive_timestamp_is_refused_with_its_path() -> None:
    error = refused(body=BODY | {"sent_at": "2025-06-01T10:10:15"})
    assert error.code == "invalid_event"
    assert "`$.sent_at`" in error.detail


def test_a_time_that_utc_cannot_express_is_refused() -> None:
    assert refused(body=BODY | {"sent_at": "0001-01-01T00:00:00+08:00"}).code == "invalid_event"


@pytest.mark.parametrize("amount", [-1, 10**15, 10**30, 1.5, "100", None, True])
def test_money_that_is_not_whole_fen_is_refused_with_its_path(amount: object) -> None:
    error = refused_order(total_fen=amount)
    assert error.code == "invalid_event"
    assert "`$.total_fen`" in error.detail


def test_the_path_leads_into_the_line_that_is_wrong() -> None:
    line = ORDER["lines"][0]
    error = refused_order(lines=[line, line | {"paid_fen": -5}])
    assert error.code == "invalid_event"
    assert "`$.lines[1].paid_fen`" in error.detail


@pytest.mark.parametrize(
    "changes",
    [
        {"shop_id": ""},
        {"shop_id": "demo:x"},
        {"shop_id": "demo\n"},
        {"buyer_id": ""},
        {"buyer_id": "b" * 129},
        {"text": "字" * 4001},
        {"sender": "robot"},
        {"kind": "image", "media_url": "javascript:alert(1)"},
        {"kind": "text", "text": None},
        {"kind": "text", "text": ""},
        {"kind": "image"},
        {"kind": "product_card"},
        {"kind": "order_card"},
    ],
    ids=str,
)
def test_an_event_out_of_its_contract_is_invalid(changes: dict[str, Any]) -> None:
    assert refused(body=BODY | changes, key=None).code == "invalid_event"


def test_a_body_that_is_no_object_is_invalid() -> None:
    assert refused(body=[]).code == "invalid_event"


@pytest.mark.parametrize(
    "value, code",
    [("a\0b", "invalid_event"), (r"\u0000", None), ("\\", None)],
    ids=["nul", "spelt-out", "backslash"],
)
def test_a_nul_character_never_reaches_a_table(value: str, code: str | None) -> None:
    body = BODY | {"text": value}
    if code is None:
        assert read(body).event.text == value  # type: ignore[attr-defined]
    else:
        error = refused(body=body)
        assert (error.code, "`$.text`" in error.detail) == (code, True)


def test_a_nul_character_is_found_inside_a_line() -> None:
    error = refused_order(lines=[ORDER["lines"][0] | {"title": "\0"}])
    assert error.code == "invalid_event"
    assert "`$.lines[0].title`" in error.detail


def test_a_value_over_the_limit_is_too_large_before_it_is_parsed() -> None:
    assert refused(body=b"x" * (MAX_VALUE_BYTES + 1)).code == "too_large"
    assert refused(body=b"x" * MAX_VALUE_BYTES).code == "malformed_json"


def test_an_event_on_another_topic_is_refused() -> None:
    error = refused(topic="shop.orders")
    assert error.code == "wrong_topic"
    assert "shop.messages" in error.detail


def test_an_event_of_one_shop_cannot_travel_under_anothers_name() -> None:
    assert refused(spoilt={"ce_shopid": b"rival"}).code == "wrong_shop"
    assert refused(key=b"rival:b1").code == "wrong_key"


@pytest.mark.parametrize("key", [None, b"", b"b1", b"demo:b2", b"demo:b1 ", b"\xff"])
def test_a_key_that_is_not_the_contracts_is_refused(key: bytes | None) -> None:
    assert refused(key=key).code == "wrong_key"


@pytest.mark.parametrize(
    "spoilt, code",
    [
        ({"specversion": None}, "missing_attribute"),
        ({"id": None}, "missing_attribute"),
        ({"time": "2025-06-01T10:10:16"}, "invalid_attribute"),
        ({"id": 7}, "invalid_attribute"),
        ({"datacontenttype": "text/xml"}, "invalid_attribute"),
        ({"deliveries": "x"}, "invalid_attribute"),
        ({"type": "kefu.shop.message.v2"}, "future_version"),
        ({"shopid": "rival"}, "wrong_shop"),
        ({"data": None}, "invalid_event"),
        ({"data": BODY | {"kind": "poem"}}, "invalid_event"),
    ],
    ids=str,
)
def test_a_structured_event_is_refused_for_the_same_reasons(
    spoilt: dict[str, Any], code: str
) -> None:
    assert refused(body=structured(**spoilt), headers=STRUCTURED_HEADERS).code == code


def test_a_structured_event_without_data_says_so() -> None:
    event = structured()
    del event["data"]
    error = refused(body=event, headers=STRUCTURED_HEADERS)
    assert (error.code, "data" in error.detail) == ("missing_attribute", True)


@pytest.mark.parametrize("value", [b"{", b"[" * 200_000, b'{"data": ' + b"[" * 200_000])
def test_a_structured_event_that_is_no_json_is_malformed(value: bytes) -> None:
    error = refused(body=value, headers=STRUCTURED_HEADERS)
    assert error.code in {"malformed_json", "invalid_attribute"}


def test_a_refusal_does_not_quote_what_a_buyer_wrote() -> None:
    secret = "我的手机号13800000000"
    cut = json.dumps(BODY | {"text": secret}, ensure_ascii=False).encode()[:-1]
    for error in (refused(body=cut), refused(body=BODY | {"text": secret, "kind": "poem"})):
        assert secret not in error.detail


def test_the_same_record_unspoilt_is_read() -> None:
    assert read(BODY).id == "event-1"
