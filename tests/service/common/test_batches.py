"""The promises of the batch runtime, on both databases."""

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import text

from common.bus.embedded import EmbeddedBus
from common.contracts import FeedbackTagged
from common.errors import Conflict, IdempotencyMismatch
from common.runtime import Idempotency
from tests.support.harness import MovableClock, idle, publish, published, running, until
from tests.support.tally.reading import count_of, review
from tests.support.tally.service import (
    FAILING_TEXT,
    REFUSED_TEXT,
    TALLY,
    Add,
    Added,
    ArmExpiry,
    Total,
)


async def test_each_event_takes_effect_once_however_often_it_is_delivered(
    tmp_path: Path, database_url: str
) -> None:
    async with running(TALLY, tmp_path, database_url) as service:
        for _ in range(3):
            await publish(
                service.bus, *[review(n) for n in range(20)], ids=[f"e{n}" for n in range(20)]
            )
        await idle(service)
        assert await count_of(service) == 20
        assert isinstance(service.bus, EmbeddedBus)
        events = await published(service.bus, "kefu.feedback")
        assert [e.item_id for e in events if isinstance(e, FeedbackTagged)] == [
            f"r{n}#{n + 1}" for n in range(20)
        ]


async def test_commands_that_arrive_together_share_a_transaction_and_keep_their_answers(
    tmp_path: Path, database_url: str
) -> None:
    async with running(TALLY, tmp_path, database_url) as service:
        answers: list[Added] = await asyncio.gather(
            *(service.submit(Add("s1", "p1", 1)) for _ in range(100))
        )
        assert sorted(a.count for a in answers) == list(range(1, 101))
        assert (await service.submit(Total("s1"))).count == 100


async def test_a_refused_command_leaves_nothing_and_disturbs_no_other(
    tmp_path: Path, database_url: str
) -> None:
    async with running(TALLY, tmp_path, database_url) as service:
        answers = await asyncio.gather(
            *(service.submit(Add("s1", "p1", 1, limit=10)) for _ in range(25)),
            return_exceptions=True,
        )
        refused = [a for a in answers if isinstance(a, Conflict)]
        assert len(refused) == 15
        assert await count_of(service) == 10


async def test_a_repeated_idempotency_key_gets_the_first_answer(
    tmp_path: Path, database_url: str
) -> None:
    async with running(TALLY, tmp_path, database_url) as service:
        key = Idempotency("s1|a|POST /x", "k1", "h1")
        answers = await asyncio.gather(*(service.submit(Add("s1", "p1", 5), key) for _ in range(8)))
        answers.append(await service.submit(Add("s1", "p1", 5), key))
        assert answers == [Added(5)] * 9
        with pytest.raises(IdempotencyMismatch):
            await service.submit(Add("s1", "p1", 6), Idempotency("s1|a|POST /x", "k1", "h2"))


async def test_a_failing_event_is_parked_with_its_key_while_other_keys_go_on(
    tmp_path: Path, database_url: str
) -> None:
    async with running(TALLY, tmp_path, database_url) as service:
        await publish(
            service.bus,
            review(1),
            review(2, body=FAILING_TEXT),
            review(3),
            review(4, product="p2"),
        )
        await idle(service)
        async with service.database.read() as conn:
            letters = (
                await conn.execute(text("SELECT code, state FROM dead_letters ORDER BY letter_id"))
            ).all()
        assert [tuple(x) for x in letters] == [
            ("handler_failed", "parked"),
            ("parked_behind", "behind"),
        ]
        assert await count_of(service) == 1
        assert await count_of(service, "p2") == 1


async def test_a_timer_fires_once_when_it_is_due(tmp_path: Path, database_url: str) -> None:
    clock = MovableClock()
    async with running(TALLY, tmp_path, database_url, clock=clock) as service:
        await service.submit(Add("s1", "p1", 7))
        await service.submit(ArmExpiry("s1", "p1", 60))
        clock.advance(seconds=61)

        async def expired() -> bool:
            return await count_of(service) == 0

        await until(expired)
        async with service.database.read() as conn:
            assert (await conn.execute(text("SELECT count(*) FROM timers"))).scalar() == 0


async def test_a_refused_event_is_a_dead_letter_at_once_and_parks_nothing(
    tmp_path: Path, database_url: str
) -> None:
    async with running(TALLY, tmp_path, database_url) as service:
        await publish(service.bus, review(1), review(2, body=REFUSED_TEXT), review(3))
        await idle(service)
        async with service.database.read() as conn:
            letters = (await conn.execute(text("SELECT code, state FROM dead_letters"))).all()
            parked = (await conn.execute(text("SELECT count(*) FROM parked_keys"))).scalar()
        assert [tuple(letter) for letter in letters] == [("conflict", "poison")]
        assert parked == 0
        assert await count_of(service) == 2
