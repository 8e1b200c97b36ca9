"""Tagging in bulk: what a batch costs does not grow with its size."""

from pathlib import Path

from common.bus.port import Record
from common.clock import utc_now
from common.contracts import Envelope, Event, encode
from common.ids import new_id
from common.runtime import Service
from common.runtime.items import EventItem
from feedback.app import SERVICE
from tests.service.feedback.shop import message, paid, review
from tests.support.harness import make
from tests.support.statements import statements


def item_of(event: Event) -> EventItem:
    envelope = Envelope.of(event, id=new_id(), source="test", time=utc_now())
    encoded = encode(envelope)
    record = Record(encoded.topic, 0, 0, encoded.key, encoded.value, encoded.headers)
    return EventItem(record, envelope)


async def statements_of(service: Service, events: list[Event]) -> int:
    """How many statements one batch of these events takes."""
    with statements(service.database) as seen:
        outcomes, _ = await service.runner.run([item_of(event) for event in events])
    assert {outcome.status for outcome in outcomes} == {"done"}
    return len(seen)


def mixed(first: int, count: int) -> list[Event]:
    """Reviews, chats and orders of as many buyers."""
    events: list[Event] = []
    for n in range(first, first + count):
        events += [review(n), paid(n), message(1, "起球", conversation=f"c{n}", buyer=f"b-{n}")]
    return events


async def test_a_batch_takes_as_many_statements_whatever_its_size(
    tmp_path: Path, database_url: str
) -> None:
    service = await make(SERVICE, tmp_path, database_url)
    try:
        small = await statements_of(service, mixed(0, 60))
        large = await statements_of(service, mixed(100, 150))
    finally:
        await service.database.close()
        await service.bus.close()
    assert large <= small
    assert large <= 25
