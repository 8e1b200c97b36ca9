"""What one bad item, a race, or a row that is not loaded costs the rest of its batch: nothing."""

import asyncio
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import text

from common.errors import Conflict, IdempotencyMismatch
from common.runtime import Idempotency, NotLoaded
from common.runtime.items import CommandItem, EventItem, Item, Outcome
from tests.support.harness import make, running, until
from tests.support.tally.reading import count_of, delivered, review, rows, size_of
from tests.support.tally.service import (
    FAILING_TEXT,
    TALLY,
    Add,
    Added,
    AddThrough,
    Careless,
    Corrupt,
    Forget,
    Point,
)


def statuses(outcomes: list[Outcome]) -> list[str]:
    return [outcome.status for outcome in outcomes]


@pytest.mark.parametrize("how", ["null", "huge"])
async def test_a_row_that_the_database_refuses_fails_alone(
    tmp_path: Path, database_url: str, how: str
) -> None:
    async with running(TALLY, tmp_path, database_url, start=False) as service:
        items: list[Item] = [CommandItem(Add("s1", f"p{n}", n)) for n in range(1, 8)]
        items.insert(3, CommandItem(Corrupt("s1", "bad", how)))  # type: ignore[arg-type]
        outcomes, _ = await service.runner.run(items)
        assert statuses(outcomes) == ["done"] * 3 + ["failed"] + ["done"] * 4
        assert [await count_of(service, f"p{n}") for n in range(1, 8)] == list(range(1, 8))
        assert await count_of(service, "bad") is None


async def test_behind_an_event_that_the_database_refuses_its_key_waits(
    tmp_path: Path, database_url: str
) -> None:
    """The refused row comes with an event of its own key, wherever the batch is cut in two."""
    async with running(TALLY, tmp_path, database_url, start=False) as service:
        items: list[Item] = [delivered(review(n, product="p1"), n) for n in range(3)]
        items += [CommandItem(Corrupt("s1", "bad", "null"))]
        items += [delivered(review(n, product="p2"), n) for n in range(3)]
        outcomes, _ = await service.runner.run(items)
        assert statuses(outcomes) == ["done"] * 3 + ["failed"] + ["done"] * 3
        assert await size_of(service, "inbox") == 6


async def test_what_a_failing_item_did_is_undone_whole(tmp_path: Path, database_url: str) -> None:
    async with running(TALLY, tmp_path, database_url, start=False) as service:
        items = [
            delivered(review(1), 1),
            delivered(review(2, product="p2", body=FAILING_TEXT), 2),
            delivered(review(3, product="p2"), 3),
            delivered(review(4), 4),
        ]
        outcomes, _ = await service.runner.run(items)
        assert statuses(outcomes) == ["done", "failed", "again", "done"]
        assert await count_of(service) == 2
        assert await count_of(service, "p2") is None
        assert await size_of(service, "outbox") == 2
        assert await rows(service, "SELECT receiver, last_seq FROM feed_heads ORDER BY 1") == [
            ("product:p1", 2),
            ("shop", 2),
        ]


async def test_the_inbox_keeps_no_event_that_failed_or_waits(
    tmp_path: Path, database_url: str, faults: set[str]
) -> None:
    async with running(TALLY, tmp_path, database_url, start=False) as service:
        items = [delivered(review(n, body=FAILING_TEXT if n == 1 else "好"), n) for n in range(3)]
        first, _ = await service.runner.run(items)
        assert statuses(first) == ["done", "failed", "again"]
        assert await rows(service, "SELECT event_id FROM inbox") == [(items[0].inbox_id,)]
        faults.clear()
        second, _ = await service.runner.run(items)
        assert statuses(second) == ["duplicate", "done", "done"]
        assert await count_of(service) == 3


async def test_an_event_delivered_twice_in_one_batch_takes_effect_once(
    tmp_path: Path, database_url: str
) -> None:
    async with running(TALLY, tmp_path, database_url, start=False) as service:
        twice = [delivered(review(1), n, id_="e1") for n in range(2)]
        outcomes, _ = await service.runner.run(twice)
        assert statuses(outcomes) == ["done", "duplicate"]
        assert await count_of(service) == 1


async def test_the_same_event_id_of_another_source_is_another_event(
    tmp_path: Path, database_url: str
) -> None:
    async with running(TALLY, tmp_path, database_url, start=False) as service:
        ours, theirs = (delivered(review(1), n, id_="e1") for n in range(2))
        other = msgspec.structs.replace(theirs.envelope, source="elsewhere")
        outcomes, _ = await service.runner.run([ours, EventItem(theirs.record, other)])
        assert statuses(outcomes) == ["done", "done"]


async def test_two_replicas_that_make_the_same_row_both_take_effect(
    tmp_path: Path, pg_database: str
) -> None:
    """The other replica has inserted the row and not yet committed: ours waits, then adds."""
    async with running(TALLY, tmp_path, pg_database, start=False) as service:
        async with service.database.engine.connect() as other:
            insert = "INSERT INTO tallies VALUES ('s1', 'p1', 5, '[]', null, 0)"
            await other.execute(text(insert))
            ours = asyncio.create_task(service.runner.run([CommandItem(Add("s1", "p1", 2))]))

            async def blocked() -> bool:
                waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                return bool(await rows(service, waiting))

            await until(blocked)
            await other.commit()
        outcomes, _ = await ours
        assert outcomes == [Outcome("done", Added(7))]
        assert await count_of(service) == 7


async def test_replicas_that_race_for_new_rows_lose_no_effect(
    tmp_path: Path, database_url: str
) -> None:
    first = await make(TALLY, tmp_path, database_url)
    second = await make(TALLY, tmp_path, database_url, bus=first.bus)
    for n in range(10):
        batches = [[CommandItem(Add("s1", f"p{n}", 1))] for _ in range(4)]
        runners = (first.runner, second.runner, first.runner, second.runner)
        await asyncio.gather(*(r.run(b) for r, b in zip(runners, batches, strict=True)))
    assert [await count_of(first, f"p{n}") for n in range(10)] == [4] * 10
    for service in (first, second):
        await service.stop()
    await first.bus.close()


async def test_a_row_that_an_earlier_item_made_necessary_is_loaded_in_another_run(
    tmp_path: Path, database_url: str
) -> None:
    async with running(TALLY, tmp_path, database_url, start=False) as service:
        await service.runner.run([CommandItem(Point("s1", "p1", "old"))])
        pair: list[Item] = [
            CommandItem(Point("s1", "p1", "new")),
            CommandItem(AddThrough("s1", "p1", 3)),
        ]
        outcomes, _ = await service.runner.run(pair)
        assert statuses(outcomes) == ["done", "again"]
        answers = await asyncio.gather(
            service.submit(Point("s1", "p1", "newest")),
            service.submit(AddThrough("s1", "p1", 4)),
            service.submit(AddThrough("s1", "p1", 5)),
        )
        assert list(answers) == [Added(0), Added(4), Added(9)]
        assert await count_of(service, "newest") == 9


async def test_a_handler_that_names_too_few_rows_fails_instead_of_running_for_ever(
    tmp_path: Path, database_url: str
) -> None:
    async with running(TALLY, tmp_path, database_url, start=False) as service:
        answers = await asyncio.gather(
            service.submit(Careless("s1")),
            service.submit(Add("s1", "p1", 1)),
            service.submit(Careless("s1")),
            return_exceptions=True,
        )
        assert isinstance(answers[0], NotLoaded)
        assert answers[1] == Added(1)
        assert isinstance(answers[2], NotLoaded)


async def test_a_repeated_key_inside_a_batch_is_held_to_the_same_body(
    tmp_path: Path, database_url: str
) -> None:
    async with running(TALLY, tmp_path, database_url, start=False) as service:
        answers = await asyncio.gather(
            service.submit(Add("s1", "p1", 5), Idempotency("scope", "k", "h1")),
            service.submit(Add("s1", "p1", 6), Idempotency("scope", "k", "h2")),
            service.submit(Add("s1", "p1", 5), Idempotency("scope", "k", "h1")),
            service.submit(Add("s1", "p1", 5), Idempotency("other scope", "k", "h1")),
            return_exceptions=True,
        )
        assert [answers[0], answers[2], answers[3]] == [Added(5), Added(5), Added(10)]
        assert isinstance(answers[1], IdempotencyMismatch)


async def test_a_key_whose_command_was_refused_may_be_used_again(
    tmp_path: Path, database_url: str
) -> None:
    async with running(TALLY, tmp_path, database_url, start=False) as service:
        key = Idempotency("scope", "k", "h1")
        answers = await asyncio.gather(
            *(service.submit(Add("s1", "p1", 5, limit=3), key) for _ in range(3)),
            return_exceptions=True,
        )
        assert all(isinstance(answer, Conflict) for answer in answers)
        assert await size_of(service, "idempotency") == 0
        assert await service.submit(Add("s1", "p1", 2), key) == Added(2)


async def test_a_repeat_of_a_command_that_answers_nothing_answers_nothing(
    tmp_path: Path, database_url: str
) -> None:
    async with running(TALLY, tmp_path, database_url, start=False) as service:
        await service.submit(Add("s1", "p1", 5))
        key = Idempotency("scope", "k", "h1")
        assert await service.submit(Forget("s1", "p1"), key) is None
        assert await service.submit(Forget("s1", "p1"), key) is None


async def test_a_row_removed_and_made_again_in_one_batch_is_the_new_one(
    tmp_path: Path, database_url: str
) -> None:
    async with running(TALLY, tmp_path, database_url, start=False) as service:
        await service.runner.run([CommandItem(Add("s1", "p1", 5))])
        items: list[Item] = [
            CommandItem(Forget("s1", "p1")),
            CommandItem(Add("s1", "p1", 2)),
            CommandItem(Add("s1", "p2", 1)),
            CommandItem(Forget("s1", "p2")),
        ]
        outcomes, _ = await service.runner.run(items)
        assert statuses(outcomes) == ["done"] * 4
        assert await count_of(service) == 2
        assert await count_of(service, "p2") is None
