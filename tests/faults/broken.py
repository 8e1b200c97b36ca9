"""`python -m tests.faults.broken …` is `kefu …` with a promise broken, or a crash at a bad moment.

KEFU_TEST_BREAK says which promise: `offsets_first` (positions are committed before the work),
`fresh_ids` (an event published again gets another id), `no_inbox` (a repeated event takes effect
again). KEFU_TEST_CRASH says where the process dies, once per home: `after_publish` (the bus has
the events, the outbox still has them, too) or `before_work` (records are taken, nothing is done).
"""

import itertools
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from common.bus.embedded import EmbeddedBus
from common.bus.port import Record
from common.ids import new_id
from common.runtime.consumer import Consumer
from common.runtime.items import EventItem
from common.runtime.relay import Pending

CRASH_AT = {"after_publish": 40, "before_work": 60}
TOLD = {b"kefu.message.received.v1", b"kefu.message.sent.v1"}

publish = EmbeddedBus.publish
work_through = Consumer._work_through
message_of: Any = vars(Pending)["message"].fget
inbox_id_of: Any = vars(EventItem)["inbox_id"].fget


class Crash:
    """Dies the nth time that a place is passed, unless it died before on this home."""

    def __init__(self, place: str) -> None:
        self._place = place
        self._passed = itertools.count(1)

    def passes(self, place: str) -> None:
        """`kill -9` of this process, here and now, when the time has come."""
        if place != self._place or next(self._passed) < CRASH_AT[place]:
            return
        died = Path(os.environ["KEFU_HOME"]) / f"died.{place}"
        if not died.exists():
            died.touch()
            os.kill(os.getpid(), signal.SIGKILL)


crash = Crash(os.environ.get("KEFU_TEST_CRASH", ""))


async def publishing(bus: EmbeddedBus, messages: Sequence[Any]) -> None:
    """Publishes, and may die before anybody knows that it did: with somebody's words in it, for
    these are what the checker counts."""
    await publish(bus, messages)
    types = {dict(message.headers).get("ce_type", b"") for message in messages}
    if types & TOLD:
        crash.passes("after_publish")


async def working(consumer: Consumer, records: Sequence[Record]) -> None:
    """May die with records in hand."""
    crash.passes("before_work")
    await work_through(consumer, records)


async def committing_first(consumer: Consumer, records: Sequence[Record]) -> None:
    """Says that records are done, then does them."""
    for record in records:
        consumer._offsets[record.topic, record.partition] = record.offset + 1
    await consumer._commit(force=True)
    await working(consumer, records)


def with_fresh_id(row: Pending) -> Any:
    """The record under an id that nobody has seen."""
    message = message_of(row)
    headers = [
        (name, new_id().encode() if name == "ce_id" else value) for name, value in message.headers
    ]
    return message._replace(headers=headers)


def never_the_same(item: EventItem) -> str:
    """An inbox id by which no repeat is recognised."""
    return f"{inbox_id_of(item)}/{new_id()}"


def patch(owner: type, name: str, replacement: Any) -> None:
    """Puts something else in the place of a method or property."""
    setattr(owner, name, replacement)


def _offsets_first() -> None:
    patch(Consumer, "_work_through", committing_first)


def _fresh_ids() -> None:
    patch(Pending, "message", property(with_fresh_id))


def _no_inbox() -> None:
    patch(EventItem, "inbox_id", property(never_the_same))


BREAKS: Mapping[str, Callable[[], None]] = {
    "": lambda: None,
    "offsets_first": _offsets_first,
    "fresh_ids": _fresh_ids,
    "no_inbox": _no_inbox,
}

if __name__ == "__main__":
    patch(EmbeddedBus, "publish", publishing)
    patch(Consumer, "_work_through", working)
    BREAKS[os.environ.get("KEFU_TEST_BREAK", "")]()
    from kefu.cli import main

    main()
