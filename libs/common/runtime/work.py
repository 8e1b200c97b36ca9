"""The unit of work of one batch: loaded rows in, changed rows, events and timers out.

Handlers of a batch share one `Work`, run one after another and see each other's changes. What
one item did can be undone alone (`begin_item`, `undo_item`), so that a refused command or a
failing event costs the others nothing.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

import msgspec
from msgspec.structs import astuple

from common.contracts import Envelope, Event
from common.db.binding import Binding, RowCodec, Values
from common.errors import NotFound
from common.runtime.needs import Need

S = TypeVar("S", bound=msgspec.Struct)


class NotLoaded(LookupError):
    """A handler asked for rows that its `needs` did not name: a bug in the handler."""


class Emitted(NamedTuple):
    """An event on its way to the outbox."""

    event: Event
    deliver: tuple[str, ...]
    subject: str | None
    traceparent: str | None


class Armed(NamedTuple):
    """A timer to be armed, or cancelled when `payload` is None."""

    key: str
    due_at: datetime | None
    payload: msgspec.Struct | None
    traceparent: str | None


class Tracked:
    """A row in the batch: what the database has of it (None: nothing yet) and what we have."""

    __slots__ = ("removed", "row", "stored")

    def __init__(self, row: Any, stored: Values | None) -> None:
        self.row = row
        self.stored = stored
        self.removed = False


class _Savepoint:
    """Enough to undo one item: first-touch values of rows, and lengths of the logs."""

    __slots__ = ("added", "armed", "emitted", "touched", "wakes")

    def __init__(self, added: int, emitted: int, armed: int, wakes: int) -> None:
        self.touched: dict[int, tuple[Tracked, Any, Values, bool]] = {}
        self.added = added
        self.emitted = emitted
        self.armed = armed
        self.wakes = wakes


class Work:
    """Everything the handlers of one batch may read and change."""

    def __init__(
        self, now: datetime, bindings: Sequence[Binding[Any]], codecs: dict[type, RowCodec[Any]]
    ) -> None:
        self.now = now
        self.cause: Envelope | None = None
        self.traceparent: str | None = None
        self.emitted: list[Emitted] = []
        self.armed: list[Armed] = []
        self.wakes: list[str] = []
        self._bindings = {binding.kind: binding for binding in bindings}
        self._codecs = codecs
        self._rows: dict[type, dict[Values, Tracked]] = {b.kind: {} for b in bindings}
        self._known: dict[tuple[type, str | None], set[Values]] = {}
        self._buckets: dict[tuple[type, str], dict[Values, dict[Values, Tracked]]] = {}
        self._conditional = {
            binding.kind: [name for name, index in binding.indexes.items() if index.where]
            for binding in bindings
        }
        self._added: list[tuple[type, Values]] = []
        self._first_armed: dict[str, int] = {}
        self._savepoint = _Savepoint(0, 0, 0, 0)

    # -- loading: called by the runtime -----------------------------------------------------

    def missing(self, needs: Iterable[Need]) -> dict[tuple[type, str | None], list[Values]]:
        """Of these needs, what has not been loaded yet, by kind and lookup."""
        wanted: dict[tuple[type, str | None], dict[Values, None]] = {}
        for kind, index, key in needs:
            if key not in self._known.setdefault((kind, index), set()):
                wanted.setdefault((kind, index), {})[key] = None
        return {source: list(keys) for source, keys in wanted.items()}

    def loaded(
        self, kind: type, index: str | None, keys: Sequence[Values], found: Iterable[Sequence[Any]]
    ) -> None:
        """Take in the rows that the database has for these keys."""
        self._known.setdefault((kind, index), set()).update(keys)
        binding, codec, tracked_rows = self._bindings[kind], self._codecs[kind], self._rows[kind]
        conditional = self._conditional[kind]
        for values in found:
            state = codec.decode(values)
            key = binding.key_of(state)
            tracked = tracked_rows.get(key)
            if tracked is None:
                tracked = tracked_rows[key] = Tracked(state, codec.encode(state))
                self._known.setdefault((kind, None), set()).add(key)
                # However it was found: it may come to meet the condition during the batch.
                for name in conditional:
                    self._bucket(kind, name, tracked)[key] = tracked
            if index is not None and index not in conditional:
                self._bucket(kind, index, tracked)[key] = tracked

    def _bucket(self, kind: type, index: str, tracked: Tracked) -> dict[Values, Tracked]:
        columns = self._bindings[kind].indexes[index].columns
        bucket_key = tuple([getattr(tracked.row, column) for column in columns])
        return self._buckets.setdefault((kind, index), {}).setdefault(bucket_key, {})

    # -- items: called by the runtime -------------------------------------------------------

    def begin_item(self, cause: Envelope | None, traceparent: str | None) -> None:
        """From here on, changes belong to the next item."""
        self.cause = cause
        self.traceparent = traceparent
        self._savepoint = _Savepoint(
            len(self._added), len(self.emitted), len(self.armed), len(self.wakes)
        )

    def undo_item(self) -> None:
        """Take back everything the current item did."""
        saved = self._savepoint
        for tracked, row, values, removed in saved.touched.values():
            tracked.row = row
            tracked.removed = removed
            for name, value in zip(row.__struct_fields__, values, strict=True):
                setattr(tracked.row, name, value)
        for kind, key in self._added[saved.added :]:
            tracked = self._rows[kind].pop(key)
            for index in self._bindings[kind].indexes:
                self._bucket(kind, index, tracked).pop(key, None)
        del self._added[saved.added :]
        del self.emitted[saved.emitted :]
        del self.armed[saved.armed :]
        del self.wakes[saved.wakes :]

    def _touch(self, tracked: Tracked) -> None:
        touched = self._savepoint.touched
        if id(tracked) not in touched:
            row = tracked.row
            touched[id(tracked)] = (tracked, row, astuple(row), tracked.removed)

    # -- for handlers -----------------------------------------------------------------------

    def get(self, kind: type[S], *key: Any) -> S | None:
        """The row with this key, or None when there is none."""
        tracked = self._rows[kind].get(key)
        if tracked is None:
            if key not in self._known.get((kind, None), ()):
                raise NotLoaded(f"{kind.__name__}{key} was not among the needs")
            return None
        if tracked.removed:
            return None
        self._touch(tracked)
        found: S = tracked.row
        return found

    def require(self, kind: type[S], *key: Any) -> S:
        """The row with this key; `NotFound` when there is none."""
        found = self.get(kind, *key)
        if found is None:
            raise NotFound(f"There is no such {_spoken(kind)}.")
        return found

    def all(self, kind: type[S], index: str, *key: Any) -> list[S]:
        """The rows of a named lookup, those added in this batch included."""
        if key not in self._known.get((kind, index), ()):
            raise NotLoaded(f"{kind.__name__}.{index}{key} was not among the needs")
        where = self._bindings[kind].indexes[index].where
        found: list[S] = []
        for tracked in self._buckets.get((kind, index), {}).get(key, {}).values():
            if not tracked.removed and (where is None or where(tracked.row)):
                self._touch(tracked)
                found.append(tracked.row)
        return found

    def add(self, row: msgspec.Struct) -> None:
        """A new row; its key must be new."""
        kind = type(row)
        binding = self._bindings[kind]
        key = binding.key_of(row)
        existing = self._rows[kind].get(key)
        if existing is not None:
            self._replace(existing, row, key)
            return
        tracked = self._rows[kind][key] = Tracked(row, None)
        for index in binding.indexes:
            self._bucket(kind, index, tracked)[key] = tracked
        self._added.append((kind, key))

    def _replace(self, tracked: Tracked, row: msgspec.Struct, key: Values) -> None:
        """A row removed earlier in the batch comes back: its lookups must not have changed."""
        kind = type(row)
        if not tracked.removed:
            raise ValueError(f"{kind.__name__}{key} exists already")
        for index in self._bindings[kind].indexes.values():
            if any(getattr(row, c) != getattr(tracked.row, c) for c in index.columns):
                raise ValueError(f"{kind.__name__}{key} comes back under another {index.columns}")
        self._touch(tracked)
        tracked.row, tracked.removed = row, False

    def remove(self, row: msgspec.Struct) -> None:
        """Delete a loaded row."""
        kind = type(row)
        tracked = self._rows[kind][self._bindings[kind].key_of(row)]
        self._touch(tracked)
        tracked.removed = True

    def emit(
        self, event: Event, *, deliver: Iterable[str] = (), subject: str | None = None
    ) -> None:
        """Publish an event with this transaction; `deliver` names the sockets that show it."""
        receivers = tuple(dict.fromkeys(deliver))
        self.emitted.append(Emitted(event, receivers, subject, self.traceparent))

    def arm(self, key: str, due_at: datetime, payload: msgspec.Struct) -> None:
        """Arm a timer; one armed under the same key before is replaced."""
        self._settle_timer(Armed(key, due_at, payload, self.traceparent))

    def cancel(self, key: str) -> None:
        """Cancel the timer with this key, if there is one."""
        self._settle_timer(Armed(key, None, None, None))

    def _settle_timer(self, armed: Armed) -> None:
        if not self.timer_settled(armed.key):
            self._first_armed[armed.key] = len(self.armed)
        self.armed.append(armed)

    def timer_settled(self, key: str) -> bool:
        """Whether an item of this batch has armed or cancelled the timer with this key."""
        first = self._first_armed.get(key)
        # Undoing an item cuts the list: what it armed is no longer where it was noted.
        return first is not None and first < len(self.armed) and self.armed[first].key == key

    def after_commit(self, loop: str) -> None:
        """Wake a background loop of this service once the batch is committed."""
        self.wakes.append(loop)

    # -- flushing: called by the runtime ----------------------------------------------------

    def changes(self, binding: Binding[Any]) -> "Changes":
        """The inserts, updates and deletes of one kind, as driver values."""
        codec = self._codecs[binding.kind]
        changes = Changes([], [], set(), [])
        for key, tracked in self._rows[binding.kind].items():
            if tracked.removed:
                if tracked.stored is not None:
                    changes.deletes.append(key)
            elif tracked.stored is None:
                changes.inserts.append(codec.encode(tracked.row))
            else:
                self._collect_update(binding, codec, tracked, tracked.stored, changes)
        return changes

    @staticmethod
    def _collect_update(
        binding: Binding[Any],
        codec: RowCodec[Any],
        tracked: Tracked,
        stored: Values,
        changes: "Changes",
    ) -> None:
        values = codec.encode(tracked.row)
        if values == stored:
            return
        if not binding.lock:
            raise TypeError(f"{binding.kind.__name__} is bound to be read only; it was changed")
        if "version" in codec.names:
            tracked.row.version += 1
            values = codec.encode(tracked.row)
        changes.updates.append(values)
        pairs = enumerate(zip(values, stored, strict=True))
        changes.changed.update([n for n, (ours, theirs) in pairs if ours != theirs])


def _spoken(kind: type) -> str:
    """`KnownOrder` → `known order`. Of the key nothing is said: it is the caller's own words."""
    return _WORD.sub(r" \1", kind.__name__).strip().lower()


_WORD = re.compile(r"([A-Z])")


class Changes(NamedTuple):
    """What a flush writes for one kind; values in field order, deletes by key.

    `changed` are the positions of the fields in which any of `updates` differs from what is
    stored.
    """

    inserts: list[Values]
    updates: list[Values]
    changed: set[int]
    deletes: list[Values]

    def __bool__(self) -> bool:
        return bool(self.inserts or self.updates or self.deletes)
