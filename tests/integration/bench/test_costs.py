"""The deterministic gate: what chat_router costs the database does not creep up.

When a change is meant to cost more, `python -m bench --write-costs` keeps the new counts, and the
commit shows them.
"""

import copy
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from bench.costs import Costs, baseline, grown, measured, write
from bench.counting import counted_link
from tests.parts import PartUnavailable


async def test_no_count_of_the_database_work_grew_by_more_than_a_twentieth() -> None:
    try:
        version, found = await measured()
    except PartUnavailable as reason:
        pytest.skip(str(reason))
    assert grown(found, baseline(version)) == []


@pytest.mark.parametrize("work", ["event", "command", "timer"])
@pytest.mark.parametrize("name", ["statements", "round_trips", "wal_bytes"])
def test_a_count_that_grew_by_six_hundredths_is_told(work: str, name: str) -> None:
    kept = baseline("15")
    found = copy.deepcopy(kept)
    found[work][name] *= 1.04
    assert grown(found, kept) == []
    found[work][name] *= 1.02
    [told] = grown(found, kept)
    assert told.startswith(f"{work}: {name} ")


def test_smaller_transactions_are_told_and_larger_ones_are_not() -> None:
    kept = baseline("15")
    found = copy.deepcopy(kept)
    found["event"]["per_transaction"] *= 2
    assert grown(found, kept) == []
    found["event"]["per_transaction"] *= 0.4
    [told] = grown(found, kept)
    assert told.startswith("event: per_transaction ")


def test_counts_are_kept_by_the_servers_version(tmp_path: Path) -> None:
    path = tmp_path / "costs.json"
    old: Costs = {"event": {"wal_bytes": 100.0}}
    new: Costs = {"event": {"wal_bytes": 110.0}}
    write("15", old, path)
    write("18", new, path)
    assert baseline("15", path) == old
    assert baseline("18", path) == new
    assert baseline("17", path) == new


async def test_a_question_to_the_database_is_one_round_trip_whatever_its_size(
    pg_database: str,
) -> None:
    async with counted_link(pg_database) as (url, trips):
        connection: asyncpg.Connection[Any] = await asyncpg.connect(url)
        try:
            before = trips.count
            for size in (1, 1000, 1_000_000):
                assert await connection.execute(f"SELECT '{'x' * size}'") == "SELECT 1"
            assert trips.count - before == 3
        finally:
            await connection.close()
