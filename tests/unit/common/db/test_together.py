"""Several statements sent as one: each keeps its own parameters."""

import pytest
import sqlalchemy as sa

from common.db.binding import unique_columns
from common.db.bulk import StatementBook


def test_changes_sent_as_one_keep_their_parameters_apart() -> None:
    book = StatementBook("postgresql")
    first = "UPDATE a SET x = v.x FROM unnest($1::int[], $2::int[]) AS v(x, y) WHERE a.y = v.y"
    second = "DELETE FROM b WHERE y = ANY($1::int[])"
    last = "INSERT INTO c SELECT * FROM unnest($1::int[], $2::int[]) RETURNING y"

    assert book.changes((first, second, last)) == (
        f"WITH change_0 AS ({first}), "
        "change_1 AS (DELETE FROM b WHERE y = ANY($3::int[])) "
        "INSERT INTO c SELECT * FROM unnest($4::int[], $5::int[]) RETURNING y"
    )
    assert book.changes((second,)) == second


def test_questions_sent_as_one_keep_their_parameters_apart() -> None:
    book = StatementBook("postgresql")
    ask = "SELECT x FROM a WHERE x = ANY($1::int[]) OR y = ANY($2::int[])"

    assert book.questions((ask, ask)) == (
        f"SELECT 0, ROW(q.*) FROM ({ask}) AS q UNION ALL "
        "SELECT 1, ROW(q.*) FROM (SELECT x FROM a WHERE x = ANY($3::int[]) OR y = ANY($4::int[])) "
        "AS q"
    )


@pytest.mark.parametrize(
    "within, expected",
    [
        ([], set()),
        ([sa.UniqueConstraint("buyer")], {"buyer"}),
        ([sa.Index("ix", "shop", "buyer")], set()),
        ([sa.Index("ux", "shop", "buyer", unique=True)], {"shop", "buyer"}),
        (
            [sa.Index("ux", "buyer", unique=True, postgresql_where=sa.text("state <> 'closed'"))],
            {"buyer", "state"},
        ),
    ],
)
def test_the_columns_that_decide_who_has_a_unique_key(
    within: list[sa.schema.SchemaItem], expected: set[str]
) -> None:
    columns = [sa.Column(name, sa.String) for name in ("shop", "buyer", "state", "note")]
    table = sa.Table("t", sa.MetaData(), sa.Column("id", sa.String, primary_key=True), *columns)
    for item in within:
        item._set_parent_with_dispatch(table)
    assert unique_columns(table) == expected
