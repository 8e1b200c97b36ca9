"""What the hot path sends straight to the driver means the same on both databases."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from common.db.bulk import Insert
from common.db.prepared import Prepared
from common.db.transaction import FEW_ROWS, Transaction
from tests.support.harness import running
from tests.support.tally.service import TALLY, TallyRow

TALLIES: sa.Table = TallyRow.__table__  # type: ignore[attr-defined]
INSERT = Insert.into(TALLIES, ("shop_id", "product_id", "count", "texts", "version"))
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def rows(count: int) -> list[tuple[Any, ...]]:
    return [("s1", f"p{n:03}", n, '["好"]', 0) for n in range(count)]


def asked(tx: Transaction) -> str:
    """A query for tallies by shop and product."""
    binding = next(one for one in TALLY.bindings if one.table is TALLIES)
    return tx.statements(binding).select(None)


@pytest.mark.parametrize("count", [1, FEW_ROWS // 2, FEW_ROWS])
async def test_changes_take_effect_however_many_rows_they_are_of(
    tmp_path: Path, database_url: str, count: int
) -> None:
    async with running(TALLY, tmp_path, database_url, start=False) as service:
        delete = asked_to_delete(service.database.dialect)
        async with service.database.transaction() as tx:
            await tx.write((INSERT, rows(count)))
        async with service.database.transaction() as tx:
            left = await tx.write(
                (INSERT, [("s2", "p", 1, "[]", 0)]),
                last=(delete, [(product,) for _, product, *_ in rows(count)]),
            )
        assert sorted(product for (product,) in left) == [row[1] for row in rows(count)]
        async with service.database.quick_read() as tx:
            assert [row[0] for row in await tx.fetch("SELECT shop_id FROM tallies")] == ["s2"]


def asked_to_delete(dialect: str) -> str:
    if dialect == "sqlite":
        chosen = "SELECT json_extract(value, '$[0]') FROM json_each(?)"
        return f"DELETE FROM tallies WHERE product_id IN ({chosen}) RETURNING product_id"
    return "DELETE FROM tallies WHERE product_id = ANY($1::text[]) RETURNING product_id"


async def test_questions_asked_together_are_answered_as_if_asked_one_by_one(
    tmp_path: Path, database_url: str
) -> None:
    async with running(TALLY, tmp_path, database_url, start=False) as service:
        async with service.database.transaction() as tx:
            await tx.write((INSERT, rows(9)))
        inputs = [[("s1", "p003"), ("s1", "p001")], [], [("s9", "p001")], [("s1", "p008")]]
        async with service.database.transaction() as tx:
            together = await tx.query_all(*((asked(tx), keys) for keys in inputs))
            apart = [await tx.query(asked(tx), keys) for keys in inputs]
    assert [[tuple(row) for row in found] for found in together] == [
        [tuple(row) for row in found] for found in apart
    ]
    assert [[row[1] for row in found] for found in together] == [["p001", "p003"], [], [], ["p008"]]


async def test_a_prepared_select_speaks_of_times_and_json_as_the_models_do(
    tmp_path: Path, database_url: str
) -> None:
    since = sa.bindparam("since", type_=TALLIES.c.changed_at.type)
    select = (
        sa.select(TALLIES, TALLIES.c.changed_at.is_(None).label("is_new"))
        .where(TALLIES.c.shop_id == sa.bindparam("shop"))
        .where((TALLIES.c.changed_at > since) | TALLIES.c.changed_at.is_(None))
        .order_by(TALLIES.c.product_id)
        .limit(2)
    )
    prepared = Prepared(select)
    moments = [None, NOON - timedelta(hours=1), NOON + timedelta(microseconds=1), None]
    async with running(TALLY, tmp_path, database_url, start=False) as service:
        values = [
            {
                "shop_id": "s1",
                "product_id": f"p{n}",
                "count": n,
                "texts": ["好"],
                "changed_at": moment,
                "version": 0,
            }
            for n, moment in enumerate(moments)
        ]
        async with service.database.write() as conn:
            await conn.execute(TALLIES.insert(), values)
        async with service.database.quick_read() as tx:
            found = await prepared.rows(tx, shop="s1", since=NOON)
            assert await prepared.rows(tx, shop="s2", since=NOON) == []
    assert found == [{**values[0], "is_new": True}, {**values[2], "is_new": False}]
    assert all(isinstance(one["is_new"], bool) for one in found)


async def test_a_statement_that_is_a_transaction_by_itself_is_there_for_all_others(
    tmp_path: Path, database_url: str
) -> None:
    async with running(TALLY, tmp_path, database_url, start=False) as service:
        async with service.database.quick_write() as tx:
            await tx.write((INSERT, rows(1)))
        async with service.database.quick_read() as tx:
            assert len(await tx.query(asked(tx), [("s1", "p000")])) == 1
