"""Hypothesis strategies for any event, made from the contracts themselves."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
from hypothesis import strategies as st
from msgspec import inspect

from common.contracts import Contract, Event, registry

_OFFSETS = st.sampled_from([UTC, timezone(timedelta(hours=8)), timezone(timedelta(hours=-9.5))])
_TIMES = st.datetimes(
    min_value=datetime(2000, 1, 1),  # noqa: DTZ001 - hypothesis adds the zone
    max_value=datetime(2100, 1, 1),  # noqa: DTZ001
    timezones=_OFFSETS,
)
_CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
_ALWAYS_FILLED = {"text", "media_url", "product_id", "order_id", "to_agent_id"}
_SMALL = 3


def events(known: Contract) -> st.SearchStrategy[Event]:
    """Any valid event of one contract."""
    made = inspect.type_info(known.event_class)
    assert isinstance(made, inspect.StructType)
    return _struct(made)


def any_event() -> st.SearchStrategy[Event]:
    return st.sampled_from(list(registry)).flatmap(events)


def _struct(kind: inspect.StructType) -> st.SearchStrategy[Any]:
    return st.builds(kind.cls, **{field.name: _field(field) for field in kind.fields})


def _field(field: inspect.Field) -> st.SearchStrategy[Any]:
    # What a message may have to carry for its kind is never left out.
    return _of(_filled(field.type) if field.name in _ALWAYS_FILLED else field.type)


def _filled(kind: inspect.Type) -> inspect.Type:
    match kind:
        case inspect.UnionType():
            (something,) = (one for one in kind.types if not isinstance(one, inspect.NoneType))
            return _filled(something)
        case inspect.Metadata():
            return _filled(kind.type)
        case inspect.StrType():
            return msgspec.structs.replace(kind, min_length=1)
    return kind


def _of(kind: inspect.Type) -> st.SearchStrategy[Any]:
    match kind:
        case inspect.Metadata():
            return _of(kind.type)
        case inspect.StrType():
            return _strings(kind)
        case inspect.IntType():
            return st.integers(kind.ge, kind.le)
        case inspect.FloatType():
            return st.floats(kind.ge, kind.le, allow_nan=False, allow_infinity=False)
        case inspect.BoolType():
            return st.booleans()
        case inspect.NoneType():
            return st.none()
        case inspect.DateTimeType():
            return _TIMES
        case inspect.LiteralType():
            return st.sampled_from(kind.values)
        case inspect.UnionType():
            return st.one_of([_of(option) for option in kind.types])
        case inspect.VarTupleType():
            return st.lists(_of(kind.item_type), max_size=_SMALL).map(tuple)
        case inspect.DictType():
            return st.dictionaries(_of(kind.key_type), _of(kind.value_type), max_size=_SMALL)
        case inspect.StructType():
            return _struct(kind)
    raise NotImplementedError(f"{kind} has no strategy yet")


def _strings(kind: inspect.StrType) -> st.SearchStrategy[str]:
    if kind.pattern and kind.pattern.startswith("^http"):
        return st.from_regex(r"https?://[a-z]{1,9}\.example/[a-z0-9]{0,9}", fullmatch=True)
    if kind.pattern:
        return st.from_regex(r"[A-Za-z0-9_.-]{1,64}", fullmatch=True)
    longest = min(kind.max_length or 0, 40)
    return st.text(_CHARACTERS, min_size=kind.min_length or 0, max_size=longest)


def in_utc(event: Event) -> Any:
    """The event as plain values with every time in UTC, for comparing."""
    return msgspec.to_builtins(
        {
            name: value.astimezone(UTC) if isinstance(value, datetime) else value
            for name, value in msgspec.structs.asdict(event).items()
        }
    )
