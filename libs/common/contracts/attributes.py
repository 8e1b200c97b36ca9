"""CloudEvents context attributes, read from Kafka headers or from a structured event."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec

from .errors import Undecodable

SPEC_VERSION = "1.0"
JSON = "application/json"
_STRUCTURED = "application/cloudevents"
_STRUCTURED_JSON = "application/cloudevents+json"
_LIMITS = "too long: id, type, traceparent take 128 characters, source and subject 256"
_READ = frozenset(
    {
        "content-type",
        "traceparent",
        "ce_specversion",
        "ce_id",
        "ce_source",
        "ce_type",
        "ce_time",
        "ce_subject",
        "ce_shopid",
        "ce_traceparent",
        "ce_deliveries",
    }
)

Headers = Iterable[tuple[str, bytes | None]]


class Attributes(NamedTuple):
    """The attributes that the project reads; unknown extensions are left aside."""

    id: str
    source: str
    type: str
    time: datetime
    subject: str | None
    shopid: str | None
    traceparent: str | None
    deliveries: str | None


class _Structured(msgspec.Struct, frozen=True):
    specversion: str | None = None
    id: str | None = None
    source: str | None = None
    type: str | None = None
    time: str | None = None
    subject: str | None = None
    datacontenttype: str | None = None
    shopid: str | None = None
    traceparent: str | None = None
    deliveries: str | None = None
    data: msgspec.Raw = msgspec.Raw()


_structured_decoder = msgspec.json.Decoder(_Structured)


def text_headers(headers: Headers) -> dict[str, str]:
    """The headers that are read here, by name; of a repeated name the last counts."""
    try:
        return {
            name: value.decode() for name, value in headers if name in _READ and value is not None
        }
    except UnicodeDecodeError as error:
        raise Undecodable(
            "invalid_attribute", f"a CloudEvents header is not UTF-8: {error}"
        ) from None


def is_structured(headers: Mapping[str, str]) -> bool:
    """Whether the whole event, attributes included, stands in the value."""
    media_type = headers.get("content-type", JSON)
    return media_type != JSON and media_type.lower().startswith(_STRUCTURED)


def binary_attributes(headers: Mapping[str, str]) -> Attributes:
    """Attributes from `ce_*` headers."""
    get = headers.get
    _require_media_type(get("content-type"), JSON)
    return _attributes(
        get("ce_specversion"),
        get("ce_id"),
        get("ce_source"),
        get("ce_type"),
        get("ce_time"),
        get("ce_subject"),
        get("ce_shopid"),
        # The Kafka binding writes extensions as ce_*; tracing libraries write the bare name.
        get("traceparent") or get("ce_traceparent"),
        get("ce_deliveries"),
    )


def structured_attributes(
    headers: Mapping[str, str], value: bytes
) -> tuple[Attributes, msgspec.Raw]:
    """Attributes and the undecoded `data` of a structured event."""
    _require_media_type(headers.get("content-type"), _STRUCTURED_JSON)
    outer = _structured(value)
    _require_media_type(outer.datacontenttype, JSON)
    if not bytes(outer.data):
        raise Undecodable("missing_attribute", "a structured event needs data")
    attributes = _attributes(
        outer.specversion,
        outer.id,
        outer.source,
        outer.type,
        outer.time,
        outer.subject,
        outer.shopid,
        outer.traceparent or headers.get("traceparent"),
        outer.deliveries,
    )
    return attributes, outer.data


def _structured(value: bytes) -> _Structured:
    try:
        return _structured_decoder.decode(value)
    except msgspec.ValidationError as error:
        raise Undecodable("invalid_attribute", str(error)) from None
    except (ValueError, RecursionError) as error:
        raise Undecodable("malformed_json", str(error)) from None


def _require_media_type(found: str | None, wanted: str) -> None:
    if found is None or found == wanted:
        return
    if found.partition(";")[0].strip().lower() != wanted:
        raise Undecodable("invalid_attribute", f"content type {found[:80]!r} is not {wanted}")


def _attributes(
    specversion: str | None,
    id_: str | None,
    source: str | None,
    type_: str | None,
    time: str | None,
    subject: str | None,
    shopid: str | None,
    traceparent: str | None,
    deliveries: str | None,
) -> Attributes:
    if not (specversion and id_ and source and type_ and time):
        raise _missing(
            {"specversion": specversion, "id": id_, "source": source, "type": type_, "time": time}
        )
    if specversion != SPEC_VERSION:
        raise Undecodable("invalid_attribute", f"specversion must be {SPEC_VERSION}")
    require_plain(id_, source, type_, subject, traceparent)
    return Attributes(id_, source, type_, _moment(time), subject, shopid, traceparent, deliveries)


def require_plain(
    id_: str, source: str, type_: str, subject: str | None, traceparent: str | None
) -> None:
    """Refuses attributes that are too long or could break a log line or a column."""
    if not "".join((id_, source, type_, subject or "", traceparent or "")).isprintable():
        raise Undecodable("invalid_attribute", "an attribute has control characters")
    if not (0 < len(id_) <= 128 and 0 < len(source) <= 256 and len(type_) <= 128):
        raise Undecodable("invalid_attribute", _LIMITS)
    if len(subject or "") > 256 or len(traceparent or "") > 128:
        raise Undecodable("invalid_attribute", _LIMITS)


def _missing(required: Mapping[str, str | None]) -> Undecodable:
    missing = ", ".join(name for name, found in required.items() if not found)
    return Undecodable("missing_attribute", f"CloudEvents attributes missing: {missing}")


def _moment(text: str) -> datetime:
    try:
        moment = msgspec.convert(text, datetime)
        if moment.tzinfo is None:
            raise Undecodable("invalid_attribute", "time has no zone")
        return moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise Undecodable("invalid_attribute", "time is not an RFC 3339 time") from None
