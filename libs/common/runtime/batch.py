"""The heart of the runtime: a batch of items in one database transaction.

Invariants (docs/common/runtime.md names the tests that pin them):

* An item's effects are committed whole or not at all; what one item did wrong costs the others
  nothing but time.
* An event takes effect once, however often it is delivered: its inbox row is inserted first, in
  the same transaction.
* Items with the same order key take effect in order: behind one that failed, none runs.
* The number of statements depends on the tables that a batch touches, not on its size.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa

from common.clock import Clock
from common.contracts import Event
from common.db.backbone import backbone_tables
from common.db.binding import Binding, Values
from common.db.bulk import Insert
from common.db.database import Database
from common.db.faults import is_outage, is_race
from common.db.transaction import Transaction
from common.db.types import utc_to_text
from common.errors import IdempotencyMismatch, KefuError
from common.runtime.flush import Numbers, Outgoing, flush, outgoing
from common.runtime.handlers import Handler, Handlers
from common.runtime.items import CommandItem, EventItem, Item, Outcome, TimerItem
from common.runtime.needs import Need
from common.runtime.work import NotLoaded, Work
from common.telemetry.traces import current_traceparent, start_span

RACE_RETRIES = 5
TIMERS_LOOK_EVERY_SECONDS = 0.5

_PG_INBOX = """
INSERT INTO inbox (event_id, received_at) SELECT event_id, $2::timestamptz
FROM unnest($1::text[]) AS v(event_id) ON CONFLICT DO NOTHING RETURNING event_id
"""
_SQLITE_INBOX = """
INSERT INTO inbox (event_id, received_at)
SELECT value, ?2 FROM json_each(?1) WHERE true ON CONFLICT DO NOTHING RETURNING event_id
"""
_PG_FORGET = "DELETE FROM inbox WHERE event_id = ANY($1::text[])"
_SQLITE_FORGET = "DELETE FROM inbox WHERE event_id = ?"
_PG_ANSWERS = """
SELECT i.scope, i.key, i.body_hash, i.answer FROM unnest($1::text[], $2::text[]) AS k(scope, key)
JOIN idempotency AS i ON i.scope = k.scope AND i.key = k.key
"""
_SQLITE_ANSWERS = """
SELECT i.scope, i.key, i.body_hash, i.answer FROM json_each(?) AS k CROSS JOIN idempotency AS i
WHERE i.scope = json_extract(k.value, '$[0]') AND i.key = json_extract(k.value, '$[1]')
"""
_tables = sa.MetaData()
backbone_tables(_tables)
_REMEMBER = Insert.into(
    _tables.tables["idempotency"], ("scope", "key", "body_hash", "answer", "created_at")
)
_RESTORE = Insert.into(
    _tables.tables["timers"],
    ("key", "shop_id", "kind", "payload", "due_at", "run_at", "attempts", "traceparent"),
)
_TIMER_COLUMNS = ", ".join(_RESTORE.columns)
# By the key alone: with many timers due at one moment the index of moments leads nowhere, and
# IS NOT DISTINCT FROM cannot use it.
_PG_FENCE = """
DELETE FROM timers AS t USING unnest($1::text[], $2::timestamptz[]) AS k(key, run_at)
WHERE t.key = k.key AND t.run_at IS NOT DISTINCT FROM k.run_at RETURNING
t.key, t.shop_id, t.kind, t.payload, t.due_at, t.run_at, t.attempts, t.traceparent
"""
_SQLITE_FENCE = f"""
DELETE FROM timers WHERE (key, run_at) IN
(SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(?))
RETURNING {_TIMER_COLUMNS}
"""


_NOT_IN_EFFECT = ("failed", "refused", "again")


class UnhandledMessage(LookupError):
    """A command or timer without a handler: a bug in the service's wiring."""


class BatchRunner:
    """Runs batches of items against one service's database."""

    def __init__(
        self,
        database: Database,
        bindings: Sequence[Binding[Any]],
        handlers: Handlers,
        *,
        source: str,
        clock: Clock,
        count: Callable[[Event], None] | None = None,
        show: Callable[[Sequence[Outgoing], Numbers], None] | None = None,
    ) -> None:
        self.database = database
        self.bindings = bindings
        self.handlers = handlers
        self.source = source
        self.span_attributes = {"kefu.service": source.removeprefix("kefu/")}
        self.clock = clock
        self.count = count
        self.show = show
        self._codecs = {b.kind: b.codec(database.dialect) for b in bindings}
        self._order = {b.kind: n for n, b in enumerate(bindings)}

    async def run(self, items: Sequence[Item]) -> tuple[list[Outcome], list[str]]:
        """The outcome of each item, and the background loops to wake.

        Raises only when the database cannot be used (`is_outage`): then nothing took effect, or,
        if the connection broke during the commit, it took effect and a repeat finds it in the
        inbox. A batch that the database refuses is split until the item at fault stands alone.
        """
        if not items:
            return [], []
        for _ in range(RACE_RETRIES):
            try:
                return await _Batch(self, items).run()
            except Exception as error:
                if is_race(error):
                    last = error
                    continue
                if is_outage(error):
                    raise
                last = error
                break
        return await self._split(items, last)

    async def _split(
        self, items: Sequence[Item], error: Exception
    ) -> tuple[list[Outcome], list[str]]:
        if len(items) == 1:
            return [Outcome("failed", error=error)], []
        middle = len(items) // 2
        first, wakes = await self.run(items[:middle])
        blocked = {
            item.order_key
            for item, outcome in zip(items, first, strict=False)
            if item.order_key and outcome.status in ("failed", "again")
        }
        rest = [item for item in items[middle:] if item.order_key not in blocked]
        second, more = await self.run(rest)
        following = iter(second)
        late = [
            Outcome("again") if item.order_key in blocked else next(following)
            for item in items[middle:]
        ]
        return [*first, *late], [*wakes, *more]


class _Question(NamedTuple):
    """A query, its input, and who takes what it finds."""

    sql: str
    keys: list[Values]
    take: Callable[[Sequence[Sequence[Any]]], None]


async def _ask(tx: Transaction, questions: Sequence[_Question]) -> None:
    answers = await tx.query_all(*((one.sql, one.keys) for one in questions))
    for question, found in zip(questions, answers, strict=True):
        question.take(found)


class _Batch:
    """One attempt at a batch: one transaction, one `Work`."""

    def __init__(self, runner: BatchRunner, items: Sequence[Item]) -> None:
        self.runner = runner
        self.database = runner.database
        self.sqlite = runner.database.is_sqlite
        self.items = items
        self.outcomes: list[Outcome | None] = [None] * len(items)
        self.work = Work(runner.clock(), runner.bindings, runner._codecs)
        self.blocked: set[Any] = set()
        self.effective = False
        self.events: list[Outgoing] = []
        self.fenced: dict[str, Values] = {}

    async def run(self) -> tuple[list[Outcome], list[str]]:
        async with self.database.transaction() as tx:
            await self._drop_duplicate_events(tx)
            await self._load(tx)
            await self._drop_stale_timers(tx)
            for position in self._open():
                self._handle(position, self.items[position])
            self._answer_repeats()
            await self._forget_unfinished_events(tx)
            await self._restore_failed_timers(tx)
            numbers = await flush(
                tx, self.runner.bindings, self.work, self.events, (_REMEMBER, self._answers())
            )
        self._tell(numbers)
        return [outcome or Outcome("done") for outcome in self.outcomes], self._wakes()

    def _tell(self, numbers: Numbers) -> None:
        """Let those in this process know what is committed now."""
        if self.runner.count is not None:
            for event in self.events:
                self.runner.count(event.envelope.event)
        if self.runner.show is not None:
            self.runner.show(self.events, numbers)

    def _wakes(self) -> list[str]:
        """The loops that have something to do now that this is committed."""
        relay = ["relay"] if self.events else []
        # One that is due later than the loop's next look is found by that look.
        soon = self.work.now + timedelta(seconds=TIMERS_LOOK_EVERY_SECONDS)
        due_soon = any(one.due_at is not None and one.due_at <= soon for one in self.work.armed)
        due = ["timers"] if due_soon else []
        return [*relay, *due, *self.work.wakes]

    def _open(self) -> list[int]:
        return [n for n, outcome in enumerate(self.outcomes) if outcome is None]

    def _moment(self, moment: Any) -> Any:
        return utc_to_text(moment) if self.sqlite else moment

    # -- dedupe ---------------------------------------------------------------------------

    async def _drop_duplicate_events(self, tx: Transaction) -> None:
        ids = {n: i.inbox_id for n, i in enumerate(self.items) if isinstance(i, EventItem)}
        if not ids:
            return
        unique = sorted(set(ids.values()))
        listed: Any = msgspec.json.encode(unique).decode() if self.sqlite else unique
        sql = _SQLITE_INBOX if self.sqlite else _PG_INBOX
        found = await tx.fetch(sql, listed, self._moment(self.work.now))
        fresh = {inbox_id for (inbox_id,) in found}
        for position, inbox_id in ids.items():
            if inbox_id in fresh:
                fresh.discard(inbox_id)
            else:
                self.outcomes[position] = Outcome("duplicate")

    async def _forget_unfinished_events(self, tx: Transaction) -> None:
        unfinished: list[Values] = [
            (item.inbox_id,)
            for item, outcome in zip(self.items, self.outcomes, strict=True)
            if isinstance(item, EventItem) and outcome and outcome.status in _NOT_IN_EFFECT
        ]
        await tx.execute(_SQLITE_FORGET if self.sqlite else _PG_FORGET, unfinished)

    def _known_answers(self) -> "_Question":
        asked = {
            (item.idempotency.scope, item.idempotency.key)
            for item in self.items
            if isinstance(item, CommandItem) and item.idempotency
        }
        sql = _SQLITE_ANSWERS if self.sqlite else _PG_ANSWERS
        return _Question(sql, list(asked), self._answer_again)

    def _answer_again(self, found: Sequence[Sequence[Any]]) -> None:
        known = {(row[0], row[1]): row for row in found}
        first: set[tuple[str, str]] = set()
        for position, item in enumerate(self.items):
            if isinstance(item, CommandItem) and item.idempotency:
                identity = (item.idempotency.scope, item.idempotency.key)
                if identity in known:
                    self.outcomes[position] = self._replay(item, *known[identity][2:])
                elif identity in first:
                    self.outcomes[position] = Outcome("again")
                first.add(identity)

    def _replay(self, item: CommandItem, body_hash: str, answer: str) -> Outcome:
        assert item.idempotency is not None
        if body_hash != item.idempotency.body_hash:
            return Outcome("refused", error=IdempotencyMismatch())
        handler = self._handler_of(item)
        return Outcome("duplicate", msgspec.json.decode(answer, type=handler.answer))

    def _answer_repeats(self) -> None:
        """A repeat inside the batch gets the first one's answer, or another try if it failed."""
        done = {
            (item.idempotency.scope, item.idempotency.key): (item.idempotency.body_hash, outcome)
            for item, outcome in zip(self.items, self.outcomes, strict=True)
            if isinstance(item, CommandItem)
            and item.idempotency
            and outcome
            and outcome.status == "done"
        }
        for position, (item, outcome) in enumerate(zip(self.items, self.outcomes, strict=True)):
            if not isinstance(item, CommandItem) or not item.idempotency or not outcome:
                continue
            first = done.get((item.idempotency.scope, item.idempotency.key))
            if outcome.status == "again" and first:
                same = first[0] == item.idempotency.body_hash
                self.outcomes[position] = (
                    Outcome("duplicate", first[1].answer)
                    if same
                    else Outcome("refused", error=IdempotencyMismatch())
                )

    def _answers(self) -> list[Values]:
        """The answers to be remembered under their Idempotency-Keys."""
        moment = self._moment(self.work.now)
        return [
            (
                item.idempotency.scope,
                item.idempotency.key,
                item.idempotency.body_hash,
                msgspec.json.encode(outcome.answer).decode(),
                moment,
            )
            for item, outcome in zip(self.items, self.outcomes, strict=True)
            if isinstance(item, CommandItem)
            and item.idempotency
            and outcome
            and outcome.status == "done"
        ]

    # -- loading ----------------------------------------------------------------------------

    async def _load(self, tx: Transaction) -> None:
        """Known answers, and all that the items need, depth by depth and in lock order.

        What is only read is asked for together, up to the next that is locked.
        """
        together = [self._known_answers()]
        depth = 0
        while (wanted := self._wanted(depth)) is not None:
            for kind, index in sorted(wanted, key=self._lock_order):
                binding = next(b for b in self.runner.bindings if b.kind is kind)
                question = self._lookup(tx, binding, index, wanted[kind, index])
                if binding.lock:
                    await _ask(tx, together)
                    await _ask(tx, [question])
                    together = []
                else:
                    together.append(question)
            await _ask(tx, together)
            together = []
            depth += 1
        await _ask(tx, together)

    def _lookup(
        self, tx: Transaction, binding: Binding[Any], index: str | None, keys: list[Values]
    ) -> "_Question":
        def take(found: Sequence[Sequence[Any]]) -> None:
            self.work.loaded(binding.kind, index, keys, found)

        return _Question(tx.statements(binding).select(index), keys, take)

    def _lock_order(self, source: tuple[type, str | None]) -> tuple[int, str]:
        return self.runner._order[source[0]], source[1] or ""

    def _wanted(self, depth: int) -> dict[tuple[type, str | None], list[Values]] | None:
        needs: list[Need] = []
        deeper = False
        for position in self._open():
            item = self.items[position]
            handler = self._handler_or_none(item)
            if handler is None or depth > len(handler.then):
                continue
            deeper = True
            try:
                if depth == 0:
                    needs.extend(handler.needs(item.message))
                else:
                    needs.extend(handler.then[depth - 1](item.message, self.work))
            except Exception as error:
                self._fail(position, item, error)
        return self.work.missing(needs) if deeper else None

    async def _drop_stale_timers(self, tx: Transaction) -> None:
        """Deleting a due timer is the fence: rows are locked already, so order is kept."""
        timers = {n: i for n, i in enumerate(self.items) if isinstance(i, TimerItem)}
        wanted: list[Values] = [(t.key, self._moment(t.run_at)) for t in timers.values()]
        sql = _SQLITE_FENCE if self.sqlite else _PG_FENCE
        found = await tx.query(sql, wanted)
        self.fenced = {timer[0]: tuple(timer) for timer in found}
        for position, timer in timers.items():
            if timer.key not in self.fenced and self.outcomes[position] is None:
                self.outcomes[position] = Outcome("stale")

    async def _restore_failed_timers(self, tx: Transaction) -> None:
        rows = [
            self.fenced[item.key]
            for item, outcome in zip(self.items, self.outcomes, strict=True)
            if isinstance(item, TimerItem)
            and outcome
            and outcome.status in ("failed", "again")
            and item.key in self.fenced
        ]
        await tx.write((_RESTORE, rows))

    # -- handling ---------------------------------------------------------------------------

    def _handler_or_none(self, item: Item) -> Handler | None:
        return self.runner.handlers.of(item.message)

    def _handler_of(self, item: Item) -> Handler:
        handler = self._handler_or_none(item)
        if handler is None:
            raise UnhandledMessage(type(item.message).__name__)
        return handler

    def _handle(self, position: int, item: Item) -> None:
        if item.order_key is not None and item.order_key in self.blocked:
            self.outcomes[position] = Outcome("again")
            return
        if isinstance(item, TimerItem) and self.work.timer_settled(item.key):
            # An earlier timer of this batch moved or cancelled this one: what it left stands.
            self.outcomes[position] = Outcome("stale")
            return
        with start_span(
            f"process {type(item.message).__name__}",
            "consumer",
            parent=item.traceparent,
            attributes=self.runner.span_attributes,
        ) as span:
            cause = item.envelope if isinstance(item, EventItem) else None
            self.work.begin_item(cause, current_traceparent())
            written = len(self.work.emitted)
            try:
                answer = self._call(item)
                self._encode(self.work.emitted[written:])
                self.outcomes[position] = Outcome("done", answer)
                self.effective = True
            except Exception as error:
                span.fail(error.code if isinstance(error, KefuError) else type(error).__name__)
                self.work.undo_item()
                self._fail(position, item, error)

    def _call(self, item: Item) -> Any:
        handler = self._handler_or_none(item)
        if handler is None and isinstance(item, EventItem):
            return None  # an event on a topic of ours that this service has no use for
        return self._handler_of(item).function(item.message, self.work)

    def _encode(self, emitted: Iterable[Any]) -> None:
        source, now = self.runner.source, self.work.now
        self.events.extend([outgoing(one, source=source, now=now) for one in emitted])

    def _fail(self, position: int, item: Item, error: Exception) -> None:
        if isinstance(error, NotLoaded) and self.effective:
            # An earlier item of the batch changed what this one needs: run it in the next batch.
            # The first item has no such excuse, so that every batch brings at least one to an end.
            self.outcomes[position] = Outcome("again")
        elif isinstance(error, KefuError) and not isinstance(item, TimerItem):
            # Refused, not failed: trying again would not help, and nothing waits behind it.
            self.outcomes[position] = Outcome("refused", error=error)
            return
        else:
            self.outcomes[position] = Outcome("failed", error=error)
        if item.order_key is not None:
            self.blocked.add(item.order_key)
