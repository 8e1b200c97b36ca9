"""What an event is, and the registry that knows every one of them.

`@contract(...)` on an `Event` gives it a name, a major version, a topic, a partition key and
its documentation. Examples are kept as plain JSON objects, as an outside reader would see them;
the tests hold them to the model and to the exported schema.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any, Literal, TypeVar, get_args, get_type_hints

import msgspec
from msgspec import structs

from .topics import TOPICS
from .vocabulary import ShopId

TYPE_PREFIX = "kefu."

Party = Literal["shop_system", "chat_router", "order_ops", "aftersales", "feedback"]
"""Who may stand at an end of a topic; `shop_system` is every system outside this project,
platform adapters included."""


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something that happened in a shop. Fields left at their default are not written."""

    shop_id: ShopId


E = TypeVar("E", bound=Event)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """All that is promised about one event type."""

    name: str
    version: int
    ce_type: str
    ce_type_header: tuple[str, bytes]
    topic: str
    key: tuple[str, ...]
    producers: tuple[Party, ...]
    consumers: tuple[Party, ...]
    summary: str
    examples: tuple[Mapping[str, Any], ...]
    rules: tuple[Mapping[str, Any], ...]
    event_class: type[Event]
    decoder: msgspec.json.Decoder[Event] = field(repr=False)
    _key_parts: Callable[[Event], Any] = field(repr=False)
    _times: tuple[str, ...] = field(repr=False)

    def key_of(self, event: Event) -> str:
        """The partition key of this event, its key fields joined by colons."""
        parts = self._key_parts(event)
        return parts if isinstance(parts, str) else ":".join(parts)

    def decode(self, payload: bytes | msgspec.Raw) -> Event:
        """The typed event with all its times in UTC.

        Raises `msgspec.DecodeError`, `UnicodeDecodeError`, `RecursionError` or, for a time that
        UTC cannot express, `OverflowError`.
        """
        return self.in_utc(self.decoder.decode(payload))

    def in_utc(self, event: Event) -> Event:
        """The event with all its times in UTC; a time without a zone is left for the decoder."""
        for name in self._times:
            moment = getattr(event, name)
            if moment is not None and moment.tzinfo is not UTC and moment.tzinfo is not None:
                event = structs.replace(event, **{name: moment.astimezone(UTC)})
        return event


def ce_type(name: str, version: int) -> str:
    """The CloudEvents type, `kefu.<name>.v<major>`."""
    return f"{TYPE_PREFIX}{name}.v{version}"


class Registry:
    """The known contracts, found by event class or by CloudEvents type."""

    def __init__(self) -> None:
        self._by_class: dict[type[Event], Contract] = {}
        self._by_type: dict[str, Contract] = {}
        self._newest: dict[str, int] = {}

    def __iter__(self) -> Iterator[Contract]:
        return iter(sorted(self._by_type.values(), key=lambda known: (known.name, known.version)))

    def __len__(self) -> int:
        return len(self._by_type)

    def add(self, known: Contract) -> None:
        """Registers a contract; `ValueError` when its type is taken or its topic unknown."""
        if known.ce_type in self._by_type:
            raise ValueError(f"{known.ce_type} is registered already")
        if known.topic not in TOPICS:
            raise ValueError(f"{known.ce_type} names an unknown topic {known.topic!r}")
        self._by_class[known.event_class] = known
        self._by_type[known.ce_type] = known
        self._newest[known.name] = max(known.version, self._newest.get(known.name, 0))

    def of(self, event_class: type[Event]) -> Contract:
        """The contract of an event class; `KeyError` when it has none."""
        return self._by_class[event_class]

    def by_type(self, type_: str) -> Contract | None:
        """The contract of a CloudEvents type, None when it is not known."""
        return self._by_type.get(type_)

    def newest_version(self, name: str) -> int | None:
        """The newest known major version of the event called `name`."""
        return self._newest.get(name)


registry = Registry()


def contract(
    *,
    name: str,
    topic: str,
    producers: tuple[Party, ...],
    consumers: tuple[Party, ...],
    summary: str,
    examples: Sequence[Mapping[str, Any]],
    key: tuple[str, ...] = ("shop_id", "buyer_id"),
    rules: Sequence[Mapping[str, Any]] = (),
    version: int = 1,
    into: Registry = registry,
) -> Callable[[type[E]], type[E]]:
    """Registers the decorated event class under `kefu.<name>.v<version>`.

    `rules` are JSON Schema conditions that say what the class checks between fields.
    """

    def register(event_class: type[E]) -> type[E]:
        _require_strings(event_class, key)
        type_ = ce_type(name, version)
        into.add(
            Contract(
                name=name,
                version=version,
                ce_type=type_,
                ce_type_header=("ce_type", type_.encode()),
                topic=topic,
                key=key,
                producers=producers,
                consumers=consumers,
                summary=summary,
                examples=tuple(examples),
                rules=tuple(rules),
                event_class=event_class,
                decoder=msgspec.json.Decoder(event_class),
                _key_parts=attrgetter(*key),
                _times=_time_fields(event_class),
            )
        )
        return event_class

    return register


def _require_strings(event_class: type[Event], key: tuple[str, ...]) -> None:
    hints = get_type_hints(event_class)
    for name in key:
        if hints.get(name) is not str:
            raise ValueError(f"{event_class.__name__}.{name} cannot be a key: it is not a string")


def _time_fields(event_class: type[Event]) -> tuple[str, ...]:
    """Fields that hold a time. Only these are put in UTC: nested structs must have none."""
    hints = get_type_hints(event_class)
    return tuple(
        name for name, hint in hints.items() if hint is datetime or datetime in get_args(hint)
    )
