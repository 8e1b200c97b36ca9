"""The tables that every service's schema has: the durable half of the event backbone.

| table | holds |
|---|---|
| `inbox` | ids of the events whose effects are committed (dedupe of redelivery) |
| `outbox` | events committed but not yet on the bus |
| `timers` | what must happen later |
| `dead_letters`, `parked_keys` | events that failed, and the keys that wait behind them |
| `idempotency` | answers of HTTP commands by Idempotency-Key |
| `feed`, `feed_heads` | what each socket receiver was shown, numbered without gaps |
"""

from typing import Any

import sqlalchemy as sa

from common.db.types import UtcDateTime

# SQLite numbers rows by itself only for a column of type INTEGER.
_Serial = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

# Queue tables churn: vacuum them by their dead rows, not by a share of a size they never have.
_QUEUE_STORAGE = (
    "SET (autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 20000, "
    "autovacuum_analyze_scale_factor = 0.0, autovacuum_analyze_threshold = 20000)"
)
QUEUE_TABLES = ("outbox", "timers")


def backbone_tables(metadata: sa.MetaData) -> None:
    """Declare the backbone tables in a service's metadata."""
    _delivery_tables(metadata)
    _failure_tables(metadata)
    _receiver_tables(metadata)


def _delivery_tables(metadata: sa.MetaData) -> None:
    sa.Table(
        "inbox",
        metadata,
        sa.Column("event_id", sa.Text, primary_key=True),
        sa.Column("received_at", UtcDateTime, nullable=False, index=True),
    )
    sa.Table(
        "outbox",
        metadata,
        sa.Column("position", _Serial, primary_key=True, autoincrement=True),
        sa.Column("topic", sa.Text, nullable=False),
        sa.Column("key", sa.LargeBinary, nullable=False),
        sa.Column("value", sa.LargeBinary, nullable=False),
        sa.Column("headers", sa.Text, nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sqlite_autoincrement=True,
    )
    sa.Table(
        "timers",
        metadata,
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("shop_id", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("payload", sa.Text, nullable=False),
        sa.Column("due_at", UtcDateTime, nullable=False),
        sa.Column("run_at", UtcDateTime, nullable=False, index=True),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("traceparent", sa.Text, nullable=False),
    )
    sa.Table(
        "idempotency",
        metadata,
        sa.Column("scope", sa.Text, primary_key=True),
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("body_hash", sa.Text, nullable=False),
        sa.Column("answer", sa.Text, nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False, index=True),
    )


def _failure_tables(metadata: sa.MetaData) -> None:
    sa.Table(
        "dead_letters",
        metadata,
        sa.Column("letter_id", sa.Text, primary_key=True),
        sa.Column("shop_id", sa.Text, nullable=False),
        sa.Column("topic", sa.Text, nullable=False),
        sa.Column("partition", sa.Integer, nullable=False),
        sa.Column("offset", sa.BigInteger, nullable=False),
        sa.Column("key", sa.LargeBinary, nullable=False),
        sa.Column("value", sa.LargeBinary, nullable=False),
        sa.Column("headers", sa.Text, nullable=False),
        sa.Column("code", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Index("ix_dead_letters_key", "topic", "key"),
        sa.Index("ix_dead_letters_state", "state", "letter_id"),
    )
    sa.Table(
        "parked_keys",
        metadata,
        sa.Column("topic", sa.Text, primary_key=True),
        sa.Column("key", sa.LargeBinary, primary_key=True),
        sa.Column("parked_at", UtcDateTime, nullable=False),
    )


def _receiver_tables(metadata: sa.MetaData) -> None:
    sa.Table(
        "feed_heads",
        metadata,
        sa.Column("shop_id", sa.Text, primary_key=True),
        sa.Column("receiver", sa.Text, primary_key=True),
        sa.Column("last_seq", sa.BigInteger, nullable=False),
    )
    sa.Table(
        "feed",
        metadata,
        sa.Column("shop_id", sa.Text, primary_key=True),
        sa.Column("receiver", sa.Text, primary_key=True),
        sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False, index=True),
    )


def create_backbone(op: Any) -> None:
    """Create the backbone tables from inside a service's first Alembic migration."""
    metadata = sa.MetaData()
    backbone_tables(metadata)
    metadata.create_all(op.get_bind())
    if op.get_bind().dialect.name == "postgresql":
        for table in QUEUE_TABLES:
            op.execute(f"ALTER TABLE {table} {_QUEUE_STORAGE}")


# Rows that change often keep some of their page free: a changed row then stays on its page, and
# its dozen index entries stay as they are.
_ROOM = "SET (fillfactor = 70)"


def leave_room_for_updates(op: Any, *tables: str) -> None:
    """For tables whose rows change many times in their life; nothing to do on SQLite."""
    if op.get_bind().dialect.name == "postgresql":
        for table in ("feed_heads", *tables):
            op.execute(f"ALTER TABLE {table} {_ROOM}")


def fill_pages_again(op: Any, *tables: str) -> None:
    """The way back (downgrade)."""
    if op.get_bind().dialect.name == "postgresql":
        for table in ("feed_heads", *tables):
            op.execute(f"ALTER TABLE {table} RESET (fillfactor)")


def drop_backbone(op: Any) -> None:
    """Drop the backbone tables (downgrade of the first migration)."""
    metadata = sa.MetaData()
    backbone_tables(metadata)
    metadata.drop_all(op.get_bind())
