"""The envelope of an event: CloudEvents 1.0 on Kafka.

Written always in the *binary* binding (attributes as `ce_*` headers, the value is the event's
JSON); read in the binary and in the *structured* binding (one JSON object with `data`), because
other shop systems may use either. Whatever is wrong with a record comes out as `Undecodable`
with a stable code, and as nothing else.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple, Self

import msgspec

from .attributes import (
    JSON,
    SPEC_VERSION,
    Attributes,
    Headers,
    binary_attributes,
    is_structured,
    require_plain,
    structured_attributes,
    text_headers,
)
from .base import TYPE_PREFIX, Contract, Event, registry
from .deliveries import format_deliveries, parse_deliveries
from .errors import Undecodable, Unencodable

MAX_VALUE_BYTES = 256 * 1024
"""Largest value that is read unless the reader says otherwise."""

_encoder = msgspec.json.Encoder()
_SPEC_VERSION_HEADER = ("ce_specversion", SPEC_VERSION.encode())
_CONTENT_TYPE_HEADER = ("content-type", JSON.encode())


class Message(NamedTuple):
    """A record for the bus."""

    topic: str
    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """An event with where, when and for whom it was published.

    `id` is unique per `source`; the inbox recognises a repeated delivery by it. `time` is when
    the event was written, in UTC. `deliveries` maps a socket receiver (`agent:a1`) to the event's
    number in that receiver's feed.
    """

    id: str
    type: str
    source: str
    time: datetime
    subject: str | None = None
    shop_id: str
    key: str
    event: Event
    traceparent: str | None = None
    deliveries: Mapping[str, int] = {}

    @classmethod
    def of(
        cls,
        event: Event,
        *,
        id: str,
        source: str,
        time: datetime,
        subject: str | None = None,
        traceparent: str | None = None,
        deliveries: Mapping[str, int] | None = None,
    ) -> Self:
        """Wraps an event; type, shop and key follow from it. `KeyError` without a contract."""
        known = registry.of(type(event))
        return cls(
            id=id,
            type=known.ce_type,
            source=source,
            time=time,
            subject=subject,
            shop_id=event.shop_id,
            key=known.key_of(event),
            event=event,
            traceparent=traceparent,
            deliveries=deliveries or {},
        )


def encode(envelope: Envelope) -> Message:
    """The record of an envelope, in the binary binding.

    The written bytes are read back with the strict decoder: an event that breaks its contract
    raises `Unencodable` in the producer's transaction instead of poisoning its readers.
    """
    event = envelope.event
    known = registry.of(type(event))
    try:
        value = _strict_value(known, event)
        return Message(known.topic, known.key_of(event).encode(), value, _headers(known, envelope))
    except Undecodable as error:
        raise Unencodable(f"{known.ce_type}: {error.detail}") from None
    except (UnicodeEncodeError, TypeError, OverflowError) as error:
        raise Unencodable(f"{known.ce_type}: {error}") from None


def decode(
    topic: str,
    key: bytes | None,
    value: bytes | None,
    headers: Headers,
    *,
    max_bytes: int = MAX_VALUE_BYTES,
) -> Envelope:
    """The envelope in a record, its times in UTC; `Undecodable` for anything else."""
    if not value:
        raise Undecodable("malformed_json", "the record has no value")
    if len(value) > max_bytes:
        raise Undecodable("too_large", f"{len(value)} bytes, the limit is {max_bytes}")
    attributes, payload = _opened(text_headers(headers), value)
    known = _contract_of(attributes.type)
    if known.topic != topic:
        raise Undecodable(
            "wrong_topic", f"{known.ce_type} belongs on {known.topic}, not on {topic}"
        )
    event = _event(known, payload)
    return _envelope(known, attributes, event, _agreed_key(known, attributes, event, key))


def _opened(headers: Mapping[str, str], value: bytes) -> tuple[Attributes, bytes]:
    if is_structured(headers):
        attributes, payload = structured_attributes(headers, value)
        return attributes, bytes(payload)
    return binary_attributes(headers), value


def _contract_of(type_: str) -> Contract:
    known = registry.by_type(type_)
    if known is None:
        raise _unknown(type_)
    return known


def _unknown(type_: str) -> Undecodable:
    """Tells a version that is yet to come from a type nobody has heard of."""
    name, _, version = type_.removeprefix(TYPE_PREFIX).rpartition(".v")
    newest = registry.newest_version(name) if type_.startswith(TYPE_PREFIX) else None
    if newest and version.isascii() and version.isdecimal() and int(version) > newest:
        return Undecodable("future_version", f"{type_}: the newest version known here is {newest}")
    return Undecodable("unknown_type", f"{type_!r} is not a known type")


def _event(known: Contract, payload: bytes) -> Event:
    try:
        event = known.decode(payload)
    except msgspec.ValidationError as error:
        raise Undecodable("invalid_event", str(error)) from None
    except OverflowError:
        raise Undecodable("invalid_event", "a time lies outside of the years 1-9999") from None
    except (ValueError, RecursionError) as error:
        raise Undecodable("malformed_json", str(error)) from None
    if rb"\u0000" in payload:
        _refuse_nul(event)
    return event


def _refuse_nul(event: Event) -> None:
    """PostgreSQL text has no NUL; stopped here, it cannot fail a whole batch later."""
    path = _nul_path(msgspec.to_builtins(event), "$")
    if path:
        raise Undecodable("invalid_event", f"NUL character in a text - at `{path}`")


def _nul_path(node: Any, path: str) -> str | None:
    if isinstance(node, str):
        return path if "\0" in node else None
    if isinstance(node, dict):
        inner = [(item, f"{path}.{name}") for name, item in node.items()]
        if any("\0" in name for name in node):
            return path
    elif isinstance(node, list | tuple):
        inner = [(item, f"{path}[{index}]") for index, item in enumerate(node)]
    else:
        return None
    return next((found for item, where in inner if (found := _nul_path(item, where))), None)


def _agreed_key(known: Contract, attributes: Attributes, event: Event, key: bytes | None) -> str:
    """The event's key, once the record's shop and key are seen to agree with its body."""
    if attributes.shopid is not None and attributes.shopid != event.shop_id:
        raise Undecodable("wrong_shop", "ce_shopid differs from the body's shop_id")
    wanted = known.key_of(event)
    if key != wanted.encode():
        raise Undecodable("wrong_key", f"the key must be {':'.join(known.key)}, here {wanted!r}")
    return wanted


def _envelope(known: Contract, attributes: Attributes, event: Event, key: str) -> Envelope:
    return Envelope(
        id=attributes.id,
        type=known.ce_type,
        source=attributes.source,
        time=attributes.time,
        subject=attributes.subject,
        shop_id=event.shop_id,
        key=key,
        event=event,
        traceparent=attributes.traceparent,
        deliveries=_deliveries(attributes.deliveries),
    )


def _deliveries(text: str | None) -> dict[str, int]:
    if not text:
        return {}
    try:
        return parse_deliveries(text)
    except ValueError as error:
        raise Undecodable("invalid_attribute", f"deliveries: {error}") from None


def _strict_value(known: Contract, event: Event) -> bytes:
    value = _encoder.encode(known.in_utc(event))
    if len(value) > MAX_VALUE_BYTES:
        raise Undecodable("too_large", f"{len(value)} bytes, the limit is {MAX_VALUE_BYTES}")
    _event(known, value)
    return value


def _headers(known: Contract, envelope: Envelope) -> list[tuple[str, bytes]]:
    require_plain(
        envelope.id, envelope.source, known.ce_type, envelope.subject, envelope.traceparent
    )
    headers = [
        _SPEC_VERSION_HEADER,
        ("ce_id", envelope.id.encode()),
        ("ce_source", envelope.source.encode()),
        known.ce_type_header,
        ("ce_time", _rfc3339(envelope.time)),
        ("ce_shopid", envelope.event.shop_id.encode()),
        _CONTENT_TYPE_HEADER,
    ]
    if envelope.subject is not None:
        headers.append(("ce_subject", envelope.subject.encode()))
    if envelope.traceparent is not None:
        headers.append(("traceparent", envelope.traceparent.encode()))
    if envelope.deliveries:
        headers.append(("ce_deliveries", format_deliveries(envelope.deliveries).encode()))
    return headers


def _rfc3339(moment: datetime) -> bytes:
    if moment.tzinfo is None:
        raise Unencodable("the envelope's time has no zone")
    return _encoder.encode(moment.astimezone(UTC))[1:-1]
