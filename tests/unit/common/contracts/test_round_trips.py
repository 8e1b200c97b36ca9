"""Whatever a contract allows survives the wire; whatever is on the wire, decode never breaks."""

import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.contracts import (
    TOPICS,
    Contract,
    Envelope,
    Event,
    Undecodable,
    decode,
    encode,
    registry,
)
from common.contracts.schemas import event_schema
from tests.unit.common.contracts.records import BODY, HEADERS, STRUCTURED_HEADERS, structured
from tests.unit.common.contracts.strategies import any_event, events, in_utc

NOON = datetime(2025, 6, 1, 12, tzinfo=UTC)
CONTRACTS = {known.ce_type: known for known in registry}
SCHEMAS = {name: event_schema(known) for name, known in CONTRACTS.items()}
VALIDATORS = {
    name: jsonschema_rs.Draft202012Validator(schema, validate_formats=True)
    for name, schema in SCHEMAS.items()
}
EXAMPLES = [(known, example) for known in registry for example in known.examples]
NAMES = [f"{known.name}-{index}" for known in registry for index, _ in enumerate(known.examples)]
PRINTABLE = st.text(
    st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=40
)


@pytest.mark.parametrize("known, example", EXAMPLES, ids=NAMES)
def test_an_example_is_valid_under_its_own_schema(known: Contract, example: Any) -> None:
    VALIDATORS[known.ce_type].validate(example)


@pytest.mark.parametrize("known, example", EXAMPLES, ids=NAMES)
def test_an_example_survives_the_wire(known: Contract, example: Any) -> None:
    event = known.decode(json.dumps(example).encode())
    sent = Envelope.of(event, id="e1", source="/test", time=NOON)
    assert decode(*encode(sent)) == sent


@pytest.mark.parametrize("known, example", EXAMPLES, ids=NAMES)
def test_an_example_names_no_field_its_contract_lacks(known: Contract, example: Any) -> None:
    assert set(example) <= set(known.event_class.__struct_fields__)


@pytest.mark.parametrize("known", list(registry), ids=lambda known: known.name)
@settings(max_examples=15)
@given(choice=st.data())
def test_any_valid_event_survives_the_wire_and_its_schema(
    known: Contract, choice: st.DataObject
) -> None:
    event = choice.draw(events(known))
    message = encode(Envelope.of(event, id="e1", source="/test", time=NOON))
    VALIDATORS[known.ce_type].validate(json.loads(message.value))
    back = decode(*message)
    assert type(back.event) is type(event)
    assert in_utc(back.event) == in_utc(event)


@given(
    event=any_event(),
    id_=PRINTABLE,
    source=PRINTABLE,
    subject=st.none() | PRINTABLE,
    time=st.datetimes(timezones=st.just(UTC)),
    deliveries=st.dictionaries(
        st.text(st.characters(codec="utf-8"), min_size=1), st.integers(0, 2**53 - 1), max_size=3
    ),
)
def test_any_envelope_comes_back_as_it_was(
    event: Event,
    id_: str,
    source: str,
    subject: str | None,
    time: datetime,
    deliveries: dict[str, int],
) -> None:
    sent = Envelope.of(
        event, id=id_, source=source, time=time, subject=subject, deliveries=deliveries
    )
    back = decode(*encode(sent))
    assert (back.id, back.source, back.subject, back.time) == (id_, source, subject, time)
    assert back.deliveries == deliveries
    assert (back.type, back.shop_id, back.key) == (sent.type, event.shop_id, sent.key)


TOPIC_NAMES = st.sampled_from(sorted(TOPICS)) | st.text()
HEADER_NAMES = st.sampled_from([*HEADERS, "ce_subject", "ce_deliveries", "traceparent"]) | st.text()
HEADER_VALUES = st.none() | st.binary(max_size=200) | st.sampled_from(list(HEADERS.values()))


@settings(max_examples=300)
@given(
    topic=TOPIC_NAMES,
    key=st.none() | st.binary(),
    value=st.none() | st.binary(),
    headers=st.lists(st.tuples(HEADER_NAMES, HEADER_VALUES)),
)
def test_decode_raises_nothing_but_undecodable_for_any_bytes(
    topic: str,
    key: bytes | None,
    value: bytes | None,
    headers: list[tuple[str, bytes | None]],
) -> None:
    with pytest.raises(Undecodable):
        decode(topic, key, value, headers)


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@settings(max_examples=300)
@given(
    choice=st.data(),
    example=st.sampled_from(EXAMPLES),
    wrong=JSON_VALUES,
    as_structured=st.booleans(),
)
def test_decode_raises_nothing_but_undecodable_for_any_field_gone_wrong(
    choice: st.DataObject,
    example: tuple[Contract, dict[str, Any]],
    wrong: Any,
    as_structured: bool,
) -> None:
    known, body = example
    field = choice.draw(st.sampled_from(sorted(body)))
    spoilt = body | {field: wrong}
    outer = structured(type=known.ce_type, data=spoilt)
    headers = STRUCTURED_HEADERS if as_structured else HEADERS | {"ce_type": known.ce_type.encode()}
    value = json.dumps(outer if as_structured else spoilt).encode()
    key = ":".join(str(spoilt[name]) for name in known.key).encode("utf-8", "replace")
    with suppress(Undecodable):
        decode(known.topic, key, value, list(headers.items()))


@settings(max_examples=300)
@given(
    attribute=st.sampled_from([*structured(), "subject", "deliveries", "traceparent"]),
    wrong=JSON_VALUES,
)
def test_decode_raises_nothing_but_undecodable_for_any_structured_attribute(
    attribute: str, wrong: Any
) -> None:
    value = json.dumps(structured(**{attribute: wrong})).encode()
    with suppress(Undecodable):
        decode("shop.messages", b"demo:b1", value, list(STRUCTURED_HEADERS.items()))


@settings(max_examples=300)
@given(choice=st.data())
def test_decode_raises_nothing_but_undecodable_for_any_damaged_byte(choice: st.DataObject) -> None:
    whole = json.dumps(BODY, ensure_ascii=False).encode()
    at = choice.draw(st.integers(0, len(whole) - 1))
    damage = choice.draw(st.binary(max_size=3))
    with suppress(Undecodable):
        decode("shop.messages", b"demo:b1", whole[:at] + damage + whole[at + 1 :], HEADERS.items())
