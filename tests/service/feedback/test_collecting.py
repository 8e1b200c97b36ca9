"""FB1 and FB2 over real events: every source becomes an item, once, and counts once."""

import asyncio
import random
from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy.engine import Connection

from common.contracts import FeedbackTagged
from feedback.models import FeedbackTable
from tests.service.feedback.shop import (
    closed,
    closed_case,
    events_of,
    feedback,
    message,
    opened_case,
    paid,
    query,
    rated,
    review,
    settled,
)
from tests.support.harness import publish

ITEMS = "SELECT item_id, product_id, sentiment FROM items ORDER BY item_id"
COUNTS = (
    "SELECT product_id, tag, day, hits FROM daily_hits WHERE hits > 0 ORDER BY product_id, tag, day"
)
ORDERS = "SELECT product_id, day, orders FROM daily_orders ORDER BY product_id, day"


async def test_migrated_schema_is_the_schema_of_the_models(
    tmp_path: Path, database_url: str
) -> None:
    def differences(connection: Connection) -> list[object]:
        context = MigrationContext.configure(connection, opts={"compare_type": False})
        return list(compare_metadata(context, FeedbackTable.metadata))

    async with feedback(tmp_path, database_url) as service, service.database.read() as conn:
        found = await conn.run_sync(differences)
    assert [one for one in found if "alembic_version" not in str(one)] == []


async def test_a_review_becomes_an_item_once_however_often_it_comes(
    tmp_path: Path, database_url: str
) -> None:
    async with feedback(tmp_path, database_url) as service:
        for _ in range(3):
            await publish(service.bus, *[review(n) for n in range(5)])
        await settled(service)
        assert [row[0] for row in await query(service, ITEMS)] == [
            f"review:rv-{n}" for n in range(5)
        ]
        assert len(await events_of(service, FeedbackTagged)) == 5
        assert await query(service, COUNTS) == [("coat", "quality.pilling", "2026-03-02", 5)]


async def test_an_edited_review_moves_its_count(tmp_path: Path, database_url: str) -> None:
    async with feedback(tmp_path, database_url) as service:
        await publish(service.bus, review(1, "起球"), review(1, "掉色"), review(2, "起球"))
        await settled(service)
        assert await query(service, COUNTS) == [
            ("coat", "quality.fading", "2026-03-02", 1),
            ("coat", "quality.pilling", "2026-03-02", 1),
        ]
        await publish(service.bus, review(1, "起球"))
        await settled(service)
        assert await query(service, COUNTS) == [("coat", "quality.pilling", "2026-03-02", 2)]


async def test_order_lines_count_once_whatever_tells_of_them(
    tmp_path: Path, database_url: str
) -> None:
    async with feedback(tmp_path, database_url) as service:
        events = [paid(n, "coat", "scarf") for n in range(20)] * 3
        random.Random(7).shuffle(events)
        await publish(service.bus, *events, paid(99, "coat", days=-1))
        await settled(service)
        assert await query(service, ORDERS) == [
            ("coat", "2026-03-01", 1),
            ("coat", "2026-03-02", 20),
            ("scarf", "2026-03-02", 20),
        ]


async def test_a_complaint_in_a_chat_is_an_item_before_the_chat_is_closed(
    tmp_path: Path, database_url: str
) -> None:
    async with feedback(tmp_path, database_url) as service:
        await publish(
            service.bus,
            message(1, product="coat"),
            message(2, "你好"),
            message(3, "洗了一次就掉色,怎么办"),
        )
        await settled(service)
        assert await query(service, COUNTS) == [("coat", "quality.fading", "2026-03-02", 1)]
        await publish(service.bus, message(4, "还起球"), message(5, "掉色太严重了"), closed())
        await settled(service)
        assert await query(service, ITEMS) == [("conversation:c1", "coat", "negative")]
        assert [row[3] for row in await query(service, COUNTS)] == [1, 1]


async def test_a_chat_without_complaint_is_an_item_when_it_is_closed(
    tmp_path: Path, database_url: str
) -> None:
    async with feedback(tmp_path, database_url) as service:
        await publish(service.bus, message(1, "会掉色吗?"))
        await settled(service)
        assert await query(service, ITEMS) == []
        await publish(service.bus, closed())
        await settled(service)
        assert await query(service, ITEMS) == [("conversation:c1", None, "neutral")]
        assert await query(service, COUNTS) == []


async def test_a_closing_that_overtakes_the_last_message_loses_nothing(
    tmp_path: Path, database_url: str
) -> None:
    async with feedback(tmp_path, database_url) as service:
        await publish(service.bus, message(1, product="coat"), closed(), message(2, "起球"))
        await settled(service)
        assert await query(service, ITEMS) == [("conversation:c1", "coat", "negative")]


async def test_a_chat_about_nothing_named_is_about_what_the_buyer_bought_last(
    tmp_path: Path, database_url: str
) -> None:
    async with feedback(tmp_path, database_url) as service:
        await publish(service.bus, paid(1, "scarf", days=-3), paid(7, "coat", days=-9, buyer="b-1"))
        await settled(service)
        await publish(service.bus, message(1, "起球"))
        await publish(service.bus, message(1, "起球", conversation="c2", buyer="b-2"))
        await publish(service.bus, message(1, order="o-7", conversation="c3"))
        await publish(service.bus, message(2, "起球", conversation="c3"))
        await settled(service)
        assert await query(service, ITEMS) == [
            ("conversation:c1", "scarf", "negative"),
            ("conversation:c2", None, "negative"),
            ("conversation:c3", "coat", "negative"),
        ]


async def test_a_case_is_counted_when_opened_and_not_again_when_closed(
    tmp_path: Path, database_url: str
) -> None:
    async with feedback(tmp_path, database_url) as service:
        await publish(service.bus, paid(1, "coat", "scarf"))
        await settled(service)
        await publish(service.bus, opened_case(1), closed_case(1, "refunded"), opened_case(1))
        await settled(service)
        assert [row[:2] for row in await query(service, ITEMS)] == [
            ("case:case-1", "coat"),
            ("return_reason:case-1", "coat"),
        ]
        fading = [row for row in await query(service, COUNTS) if row[1] == "quality.fading"]
        assert fading == [("coat", "quality.fading", "2026-03-02", 1)]


async def test_a_rating_is_an_item_with_the_mood_of_its_stars(
    tmp_path: Path, database_url: str
) -> None:
    async with feedback(tmp_path, database_url) as service:
        await publish(
            service.bus, rated(1, "半天不回复"), rated(1, "半天不回复"), rated(5, None, "c2")
        )
        await settled(service)
        assert [(row[0], row[2]) for row in await query(service, ITEMS)] == [
            ("rating:c1", "negative"),
            ("rating:c2", "positive"),
        ]
        assert await query(service, COUNTS) == []


async def test_shops_with_the_same_ids_stay_apart(tmp_path: Path, database_url: str) -> None:
    async with feedback(tmp_path, database_url) as service:
        await publish(service.bus, review(1), review(1, "掉色", shop="other"))
        await settled(service)
        assert await query(service, "SELECT shop_id, item_id FROM items ORDER BY shop_id") == [
            ("demo", "review:rv-1"),
            ("other", "review:rv-1"),
        ]


async def test_concurrent_producers_lose_no_count(tmp_path: Path, database_url: str) -> None:
    async with feedback(tmp_path, database_url) as service:
        await asyncio.gather(
            *(
                publish(service.bus, *[review(100 * part + n) for n in range(40)])
                for part in range(5)
            ),
            *(publish(service.bus, *[paid(n) for n in range(50)]) for _ in range(3)),
        )
        await settled(service)
        assert await query(service, COUNTS) == [("coat", "quality.pilling", "2026-03-02", 200)]
        assert await query(service, ORDERS) == [("coat", "2026-03-02", 50)]
