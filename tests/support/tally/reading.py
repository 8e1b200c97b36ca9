"""Events for the tally service, and what its database holds."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import text

from common.bus import Record
from common.clock import utc_now
from common.contracts import Envelope, Event, ShopReview, decode, encode
from common.ids import new_id
from common.runtime import Service
from common.runtime.items import EventItem


def review(n: int, product: str = "p1", body: str = "好看") -> ShopReview:
    """The n-th review; reviews of one product share a key."""
    return ShopReview(
        shop_id="s1",
        platform="own",
        review_id=f"r{n}",
        product_id=product,
        buyer_id=f"b-{product}",
        rating=5,
        text=body,
        created_at=datetime(2026, 3, 1, tzinfo=UTC),
    )


def delivered(event: Event, offset: int = 0, *, id_: str = "") -> EventItem:
    """An event as the consumer hands it to the batch runtime."""
    name = id_ or new_id()
    message = encode(Envelope.of(event, id=name, source="test", time=utc_now()))
    envelope = decode(message.topic, message.key, message.value, message.headers)
    return EventItem(
        Record(message.topic, 0, offset, message.key, message.value, message.headers), envelope
    )


async def count_of(service: Service, product: str = "p1") -> int | None:
    """The count that is stored for a product."""
    found = await rows(service, "SELECT count FROM tallies WHERE product_id = :p", p=product)
    return int(found[0][0]) if found else None


async def rows(service: Service, sql: str, **values: object) -> list[tuple[Any, ...]]:
    """What a query finds in the service's database."""
    async with service.database.read() as conn:
        return [tuple(row) for row in await conn.execute(text(sql), values)]


async def size_of(service: Service, table: str) -> int:
    """How many rows a table has."""
    return int((await rows(service, f"SELECT count(*) FROM {table}"))[0][0])


def counts_of(item_ids: Iterable[str], *, products: int) -> list[list[int]]:
    """The running counts that were published for each product; review n is of product n % all."""
    found: list[list[int]] = [[] for _ in range(products)]
    for review_id, _, count in (item_id.partition("#") for item_id in item_ids):
        found[int(review_id[1:]) % products].append(int(count))
    return [sorted(counts) for counts in found]
