"""The registry of a service's handlers: which function answers which message."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar, get_type_hints

import msgspec

from common.contracts import Event
from common.runtime.needs import Need, Needs, no_needs
from common.runtime.work import Work

E = TypeVar("E", bound=Event)
C = TypeVar("C", bound=msgspec.Struct)
T = TypeVar("T", bound=msgspec.Struct)
R = TypeVar("R", bound=msgspec.Struct | None)

Then = Callable[[C, Work], Iterable[Need]]


@dataclass(frozen=True, slots=True)
class Handler:
    """A function and the rows it needs, loaded in rounds for a whole batch."""

    function: Callable[[Any, Work], Any]
    needs: Needs[Any]
    then: tuple[Callable[[Any, Work], Iterable[Need]], ...]
    answer: Any = None


class Handlers:
    """One function per message type: bus events, commands and timer payloads."""

    def __init__(self) -> None:
        self._handlers: dict[type[msgspec.Struct], Handler] = {}
        self._timers: dict[str, type[msgspec.Struct]] = {}

    def on(
        self,
        event_type: type[E],
        *,
        needs: Needs[E] = no_needs,
        then: "Then[E] | tuple[Then[E], ...]" = (),
    ) -> Callable[[Callable[[E, Work], None]], Callable[[E, Work], None]]:
        """Register the handler of a bus event."""

        def register(function: Callable[[E, Work], None]) -> Callable[[E, Work], None]:
            self._add(event_type, Handler(function, needs, _rounds(then)))
            return function

        return register

    def command(
        self,
        command_type: type[C],
        *,
        needs: Needs[C] = no_needs,
        then: "Then[C] | tuple[Then[C], ...]" = (),
    ) -> Callable[[Callable[[C, Work], R]], Callable[[C, Work], R]]:
        """Register the handler of a command; its return annotation types stored answers."""

        def register(function: Callable[[C, Work], R]) -> Callable[[C, Work], R]:
            answer = get_type_hints(function).get("return")
            msgspec.json.Decoder(answer)  # a type that cannot be read back is refused here
            self._add(command_type, Handler(function, needs, _rounds(then), answer))
            return function

        return register

    def timer(
        self,
        payload_type: type[T],
        *,
        needs: Needs[T] = no_needs,
        then: "Then[T] | tuple[Then[T], ...]" = (),
    ) -> Callable[[Callable[[T, Work], None]], Callable[[T, Work], None]]:
        """Register the handler of a timer payload, stored under its class name."""

        def register(function: Callable[[T, Work], None]) -> Callable[[T, Work], None]:
            kind = payload_type.__name__
            if kind in self._timers:
                raise ValueError(f"timers of kind {kind} have a handler already")
            self._add(payload_type, Handler(function, needs, _rounds(then)))
            self._timers[kind] = payload_type
            return function

        return register

    def of(self, message: msgspec.Struct) -> Handler | None:
        """The handler of a message, None when this service has none for its type."""
        return self._handlers.get(type(message))

    def timer_type(self, kind: str) -> type[msgspec.Struct] | None:
        """The payload type stored under a timer kind."""
        return self._timers.get(kind)

    def handles(self, message_type: type[msgspec.Struct]) -> bool:
        """Whether a message type has a handler."""
        return message_type in self._handlers

    def __iter__(self) -> Iterator[type[msgspec.Struct]]:
        return iter(self._handlers)

    def _add(self, message_type: type[msgspec.Struct], handler: Handler) -> None:
        if message_type in self._handlers:
            raise ValueError(f"{message_type.__name__} has a handler already")
        self._handlers[message_type] = handler


def _rounds(then: Any) -> tuple[Any, ...]:
    return then if isinstance(then, tuple) else (then,)
