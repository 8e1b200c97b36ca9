"""The deterministic gate: how many statements a batch costs, whatever its size.

When one of these numbers grows, the hot path has a new round trip: find out why before changing
the number here.
"""

import re
from pathlib import Path

import pytest

from common.db.transaction import FEW_ROWS
from common.runtime import Idempotency
from common.runtime.items import CommandItem, EventItem, Item, TimerItem
from common.runtime.timers import page
from tests.support.harness import running
from tests.support.statements import statements
from tests.support.tally.reading import delivered, review, rows
from tests.support.tally.service import TALLY, Add, ArmExpiry, Expire


def gist(statement: str) -> str:
    """What a statement does to which table, whichever way the database takes rows."""
    verb = statement.split()[0]
    if verb == "WITH":
        return "INSERT " + " ".join(re.findall(r'INSERT INTO "?(\w+)', statement))
    before_table = {"COPY": "COPY", "INSERT": "INTO", "SELECT": "JOIN"}[verb]
    table = statement.partition(f"{before_table} ")[2].split()[0].strip('"')
    return f"{verb.replace('COPY', 'INSERT')} {table}"


@pytest.mark.parametrize("size", [1, 10, 60, 120])
async def test_events_of_new_rows_cost_six_statements_or_fewer(
    tmp_path: Path, database_url: str, size: int
) -> None:
    async with running(TALLY, tmp_path, database_url, start=False) as service:
        items = [delivered(review(n, product=f"p{n}"), n) for n in range(size)]
        with statements(service.database) as seen:
            outcomes, _ = await service.runner.run(items)
        assert {outcome.status for outcome in outcomes} == {"done"}
        at_once = not service.database.is_sqlite and size * 3 <= FEW_ROWS
        assert [gist(statement) for statement in seen] == [
            "INSERT inbox",
            "SELECT tallies",
            *(
                ["INSERT tallies feed_heads", "INSERT feed outbox"]
                if at_once
                else ["INSERT tallies", "INSERT feed_heads", "INSERT feed", "INSERT outbox"]
            ),
        ]


@pytest.mark.parametrize("size", [1, 60])
async def test_events_of_known_rows_cost_six_statements_or_fewer(
    tmp_path: Path, database_url: str, size: int
) -> None:
    async with running(TALLY, tmp_path, database_url, start=False) as service:

        def events(first: int, count: int) -> list[EventItem]:
            numbers = range(first, first + count)
            return [delivered(review(n, product=f"p{n % 7}"), n) for n in numbers]

        await service.runner.run(events(0, 7))
        with statements(service.database) as seen:
            await service.runner.run(events(7, size))
        if service.database.is_sqlite:
            assert seen[2].startswith('UPDATE "tallies"')
            assert len(seen) == 6
        else:
            assert seen[2].startswith('WITH change_0 AS (UPDATE "tallies"')
            assert len(seen) == (4 if size == 1 else 5)


async def test_events_seen_before_cost_one_statement(tmp_path: Path, database_url: str) -> None:
    async with running(TALLY, tmp_path, database_url, start=False) as service:
        items = [delivered(review(n), n) for n in range(60)]
        await service.runner.run(items)
        with statements(service.database) as seen:
            await service.runner.run(items)
        assert len(seen) == 1


@pytest.mark.parametrize("size", [1, 60])
async def test_commands_cost_two_statements_and_two_for_their_keys(
    tmp_path: Path, database_url: str, size: int
) -> None:
    async with running(TALLY, tmp_path, database_url, start=False) as service:
        plain: list[Item] = [CommandItem(Add("s1", f"p{n}", 1)) for n in range(size)]
        with statements(service.database) as seen:
            await service.runner.run(plain)
        assert len(seen) == 2
        keyed: list[Item] = [
            CommandItem(Add("s1", f"p{n}", 1), Idempotency("scope", f"k{n}", "h"))
            for n in range(size)
        ]
        with statements(service.database) as seen:
            await service.runner.run(keyed)
        assert len(seen) == 4


@pytest.mark.parametrize("size", [1, 60])
async def test_timers_cost_three_statements(tmp_path: Path, database_url: str, size: int) -> None:
    async with running(TALLY, tmp_path, database_url, start=False) as service:
        setup: list[Item] = [CommandItem(Add("s1", f"p{n}", 1)) for n in range(size)]
        setup += [CommandItem(ArmExpiry("s1", f"p{n}", 60)) for n in range(size)]
        await service.runner.run(setup)
        [(armed,)] = await rows(service, "SELECT count(*) FROM timers")
        assert armed == size
        async with service.database.read() as conn:
            timers = await page(conn, limit=size)
        items: list[Item] = [
            TimerItem(
                Expire("s1", timer.key.partition("/")[2]),
                timer.key,
                timer.run_at,
                timer.due_at,
                0,
            )
            for timer in timers
        ]
        with statements(service.database) as seen:
            outcomes, _ = await service.runner.run(items)
        assert {outcome.status for outcome in outcomes} == {"done"}
        assert [statement.split()[0] for statement in seen] == ["SELECT", "DELETE", "UPDATE"]
