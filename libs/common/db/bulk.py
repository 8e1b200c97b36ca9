"""The texts of bulk statements: one per table and batch on either database.

PostgreSQL takes each column as one array (`unnest`), so that a statement's text never depends
on the number of rows, and many rows to be inserted by COPY; SQLite takes `executemany`, and keys as
one JSON array. `transaction.py` runs them.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

import sqlalchemy as sa

from common.db.binding import Binding, Index, Values, pg_type_of


def _unnest(types: Iterable[str]) -> str:
    # JSON arrays travel as text and are cast one by one: the driver has no array codec for json.
    casts = (f"${n}::{'text' if kind == 'json' else kind}[]" for n, kind in enumerate(types, 1))
    return f"unnest({', '.join(casts)})"


def _picked(name: str, kind: str) -> str:
    """A column of the arrays, cast back where it travelled as text."""
    return f'v."{name}"::json' if kind == "json" else f'v."{name}"'


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _equal(other: str, names: Iterable[str]) -> str:
    """Conditions that table `t` and another have the same values in these columns."""
    return " AND ".join(f't."{name}" = {other}."{name}"' for name in names)


class Insert(NamedTuple):
    """Where rows go: the columns that their values are of, in this order."""

    table: str
    columns: tuple[str, ...]
    postgres: str
    """The statement for rows as arrays."""
    sqlite: str

    @classmethod
    def into(cls, table: sa.Table, columns: Sequence[str]) -> "Insert":
        """An insert of these columns; the others get their defaults."""
        names, types = _quoted(columns), [pg_type_of(table.columns[name].type) for name in columns]
        marks = ", ".join("?" for _ in columns)
        picked = ", ".join(map(_picked, columns, types))
        into = f'INSERT INTO "{table.name}" ({names})'
        return cls(
            table.name,
            tuple(columns),
            f"{into} SELECT {picked} FROM {_unnest(types)} AS v({names})",
            f"{into} VALUES ({marks})",
        )


class Update(NamedTuple):
    """An UPDATE, and what picks its parameters from a row in field order."""

    sql: str
    pick: Callable[[Values], Values]


class Statements:
    """The SQL texts of one binding on one dialect, composed once."""

    def __init__(self, binding: Binding[Any], dialect: str) -> None:
        self.binding = binding
        self.dialect = dialect
        self.table = f'"{binding.table.name}"'
        self.names = [spec.name for spec in binding.columns]
        self.types = {spec.name: spec.pg_type for spec in binding.columns}
        self.insert = Insert.into(binding.table, self.names)
        self.delete = self._delete()
        self._key_positions = [self.names.index(n) for n in binding.key]
        self._updates: dict[frozenset[int], Update] = {}
        self._selects: dict[str, str] = {}

    def update(self, changed: frozenset[int]) -> "Update":
        """The statement that sets these columns, named by their positions in field order.

        Only what a batch changed is sent: a wide row of which little changes costs little.
        """
        found = self._updates.get(changed)
        if found is None:
            found = self._updates[changed] = self._update(sorted(changed))
        return found

    def _update(self, changed: Sequence[int]) -> "Update":
        positions = (*changed, *self._key_positions)
        values = [self.names[position] for position in changed]
        order = [self.names[position] for position in positions]
        pick = itemgetter(*positions)
        if self.dialect == "sqlite":
            sets = ", ".join(f'"{n}" = ?' for n in values)
            keys = " AND ".join(f'"{n}" = ?' for n in self.binding.key)
            return Update(f"UPDATE {self.table} SET {sets} WHERE {keys}", pick)
        sets = ", ".join(f'"{n}" = {_picked(n, self.types[n])}' for n in values)
        keys = _equal("v", self.binding.key)
        source = _unnest(self.types[n] for n in order)
        return Update(
            f"UPDATE {self.table} AS t SET {sets} FROM {source} AS v({_quoted(order)}) "
            f"WHERE {keys}",
            pick,
        )

    def _delete(self) -> str:
        if self.dialect == "sqlite":
            keys = " AND ".join(f'"{n}" = ?' for n in self.binding.key)
            return f"DELETE FROM {self.table} WHERE {keys}"
        source = _unnest(self.types[n] for n in self.binding.key)
        keys = _equal("v", self.binding.key)
        return (
            f"DELETE FROM {self.table} AS t USING {source} AS v({_quoted(self.binding.key)}) "
            f"WHERE {keys}"
        )

    def select(self, index_name: str | None) -> str:
        """Rows by key (`None`) or by a named index; locked and in key order where they are."""
        cached = self._selects.get(index_name or "")
        if cached is None:
            index = self.binding.indexes[index_name] if index_name else None
            cached = self._selects[index_name or ""] = self._select(index)
        return cached

    def _select(self, index: Index[Any] | None) -> str:
        columns = index.columns if index else self.binding.key
        picked = ", ".join(f't."{name}"' for name in self.names)
        order = ", ".join(f't."{name}"' for name in self.binding.key)
        where = f" AND ({index.sql})" if index and index.sql else ""
        if self.dialect == "sqlite":
            matches = " AND ".join(
                f"t.\"{name}\" = json_extract(k.value, '$[{n}]')" for n, name in enumerate(columns)
            )
            # CROSS JOIN keeps the few keys outside and the table's index inside.
            source = f"json_each(?) AS k CROSS JOIN {self.table} AS t"
            return f"SELECT {picked} FROM {source} WHERE {matches}{where} ORDER BY {order}"
        source = self._keys("k", columns)
        if where:
            source, columns = self._found(columns, where), self.binding.key
        lock = " FOR UPDATE OF t" if self.binding.lock else ""
        return (
            f"SELECT {picked} FROM {source} JOIN {self.table} AS t ON {_equal('k', columns)} "
            f"ORDER BY {order}{lock}"
        )

    def _keys(self, name: str, columns: Sequence[str]) -> str:
        arrays = _unnest(self.types[column] for column in columns)
        return f"{arrays} AS {name}({_quoted(columns)})"

    def _found(self, columns: Sequence[str], where: str) -> str:
        """The keys of the rows that a lookup with a condition finds.

        By statistics of an hour ago hardly a row may meet the condition, and then PostgreSQL goes
        through all that do and compares each with every key. The subquery stays as it is, for its
        OFFSET, so each key is looked up by itself. Rows that stop meeting the condition before
        they are locked come along; `Index.where` leaves them out.
        """
        keys = ", ".join(f't."{name}"' for name in self.binding.key)
        matches = _equal("given", columns)
        return (
            f"{self._keys('given', columns)} CROSS JOIN LATERAL (SELECT {keys} "
            f"FROM {self.table} AS t WHERE {matches}{where} OFFSET 0) AS k"
        )


class StatementBook:
    """The statements of a service's bindings on one dialect."""

    def __init__(self, dialect: str) -> None:
        self._dialect = dialect
        self._statements: dict[type[Any], Statements] = {}
        self._changes: dict[tuple[str, ...], str] = {}
        self._questions: dict[tuple[str, ...], str] = {}

    def of(self, binding: Binding[Any]) -> Statements:
        """The (cached) statements of a binding."""
        found = self._statements.get(binding.kind)
        if found is None:
            found = self._statements[binding.kind] = Statements(binding, self._dialect)
        return found

    def changes(self, texts: tuple[str, ...]) -> str:
        """One statement for changes of which none sees what another does; PostgreSQL only.

        Its parameters are those of each, one after the other.
        """
        found = self._changes.get(texts)
        if found is None:
            *others, last = _numbered_on(texts)
            beside = ", ".join(f"change_{n} AS ({text})" for n, text in enumerate(others))
            found = self._changes[texts] = f"WITH {beside} {last}" if others else last
        return found

    def questions(self, texts: tuple[str, ...]) -> str:
        """One statement for questions: answers (number of the question, row); PostgreSQL only."""
        found = self._questions.get(texts)
        if found is None:
            found = self._questions[texts] = " UNION ALL ".join(
                f"SELECT {n}, ROW(q.*) FROM ({text}) AS q"
                for n, text in enumerate(_numbered_on(texts))
            )
        return found


_PARAMETER = re.compile(r"\$(\d+)")


def _numbered_on(texts: Sequence[str]) -> list[str]:
    """The texts with their parameters numbered through, as if they were one."""
    numbered: list[str] = []
    before = 0
    for text in texts:
        numbered.append(_shifted(text, before))
        before += max((int(n) for n in _PARAMETER.findall(text)), default=0)
    return numbered


def _shifted(text: str, by: int) -> str:
    return _PARAMETER.sub(lambda found: f"${by + int(found[1])}", text)
