"""The three kinds of work a batch is made of, and what becomes of each."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import msgspec

from common.bus.port import Record
from common.contracts import Envelope


@dataclass(slots=True)
class EventItem:
    """An event from the bus. Its effects happen once per `inbox_id`, in order per key."""

    record: Record
    envelope: Envelope

    @property
    def message(self) -> msgspec.Struct:
        """What the handler is called with."""
        return self.envelope.event

    @property
    def inbox_id(self) -> str:
        """Ids are unique per source and shop, so all three identify an event."""
        return f"{self.envelope.shop_id}/{self.envelope.source}/{self.envelope.id}"

    @property
    def order_key(self) -> tuple[str, bytes]:
        """Items with the same order key must take effect in order."""
        return (self.record.topic, self.record.key)

    @property
    def traceparent(self) -> str | None:
        """The trace this work belongs to."""
        return self.envelope.traceparent


@dataclass(frozen=True, slots=True)
class Idempotency:
    """A caller's Idempotency-Key: `scope` is shop, caller and operation."""

    scope: str
    key: str
    body_hash: str


@dataclass(slots=True)
class CommandItem:
    """A request of a caller who waits for the answer."""

    message: msgspec.Struct
    idempotency: Idempotency | None = None
    traceparent: str | None = None
    order_key: None = None


@dataclass(slots=True)
class TimerItem:
    """A timer that is due. It takes effect only if it still stands as it was read."""

    message: msgspec.Struct
    key: str
    run_at: datetime
    due_at: datetime
    attempts: int
    traceparent: str | None = None
    order_key: None = None


Item = EventItem | CommandItem | TimerItem
Status = Literal["done", "duplicate", "stale", "refused", "failed", "again"]


@dataclass(slots=True)
class Outcome:
    """What became of an item.

    `done`, `duplicate` (an event seen before, or a repeated command with its first answer) and
    `stale` (a timer moved or cancelled meanwhile) are final. `refused` is a business error: the
    caller of a command gets it, an event becomes a dead letter that parks nothing. `failed`
    carries the exception. `again`: nothing happened, run it in a later batch.
    """

    status: Status
    answer: Any = None
    error: Exception | None = field(default=None)
