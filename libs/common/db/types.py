"""Column types that mean the same on PostgreSQL and SQLite."""

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator


def utc_to_text(moment: datetime) -> str:
    """Fixed-width UTC text, so that SQLite compares moments by comparing text."""
    return moment.astimezone(UTC).isoformat(" ", "microseconds")[:26]


def text_to_utc(text: str) -> datetime:
    """The inverse of `utc_to_text`."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


class UtcDateTime(TypeDecorator[datetime]):
    """An aware moment in UTC: `timestamptz` on PostgreSQL, fixed-width text on SQLite."""

    impl = sa.DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        """Pick the column type of the dialect."""
        if dialect.name == "postgresql":
            return dialect.type_descriptor(sa.DateTime(timezone=True))
        return dialect.type_descriptor(sa.String(26))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Refuse naive moments: they would be read in the wrong zone later."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("naive datetime; every stored moment is aware UTC")
        return value if dialect.name == "postgresql" else utc_to_text(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Hand back aware UTC on both databases."""
        if value is None:
            return None
        if isinstance(value, datetime):
            return value.astimezone(UTC)
        return text_to_utc(value)
