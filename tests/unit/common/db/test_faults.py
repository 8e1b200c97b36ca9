"""Which database errors are races, which outages, and which a row's own fault."""

import sqlite3

import asyncpg
import pytest
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from common.db.faults import is_outage, is_race, sql_state


class Original(Exception):
    """A driver's error as SQLAlchemy's adapter hands it on."""

    def __init__(self, message: str = "", state: str | None = None) -> None:
        super().__init__(message)
        self.sqlstate = state


def wrapped(kind: type[DBAPIError], original: Exception) -> DBAPIError:
    return kind("statement", None, original)


@pytest.mark.parametrize("state", ["23505", "40001", "40P01", "55P03"])
def test_two_transactions_that_met_are_a_race(state: str) -> None:
    error = wrapped(IntegrityError, Original(state=state))
    assert sql_state(error) == state
    assert is_race(error)
    assert not is_outage(error)


def test_sqlite_names_its_races_in_words() -> None:
    assert is_race(wrapped(IntegrityError, Original("UNIQUE constraint failed: tallies.x")))
    refused = wrapped(IntegrityError, Original("NOT NULL constraint failed: tallies.x"))
    assert not is_race(refused)
    assert not is_outage(refused)


@pytest.mark.parametrize("state", ["08006", "53100", "53300", "57P01", "57P03", "58030", "25006"])
def test_a_server_that_cannot_work_is_an_outage(state: str) -> None:
    assert is_outage(wrapped(OperationalError, Original(state=state)))


@pytest.mark.parametrize(
    "words",
    [
        "database is locked",
        "disk I/O error",
        "database or disk is full",
        "attempt to write a readonly database",
        "unable to open database file",
    ],
)
def test_sqlite_names_its_outages_in_words(words: str) -> None:
    assert is_outage(wrapped(OperationalError, Original(words)))


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError(),
        TimeoutError(),
        OSError("network unreachable"),
        PoolTimeout("no connection within 5 s"),
        wrapped(InterfaceError, Original("connection is closed")),
        DBAPIError("statement", None, Original("gone"), connection_invalidated=True),
    ],
)
def test_no_answer_is_an_outage(error: Exception) -> None:
    assert is_outage(error)
    assert not is_race(error)


def test_a_value_that_the_driver_cannot_encode_is_the_rows_fault() -> None:
    """Taken for an outage, one such event would hold up its whole service for ever."""
    original = Original("invalid input for query argument $1")
    original.__cause__ = asyncpg.DataError("value out of int32 range")
    assert not is_outage(wrapped(DBAPIError, original))


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.UniqueViolationError("duplicate key"),
        asyncpg.DeadlockDetectedError("deadlock"),
        asyncpg.SerializationError("could not serialize"),
        asyncpg.InvalidCachedStatementError("the schema changed"),
        sqlite3.IntegrityError("UNIQUE constraint failed: tallies.x"),
    ],
)
def test_a_drivers_own_error_tells_a_race(error: Exception) -> None:
    assert is_race(error)
    assert not is_outage(error)


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.ConnectionDoesNotExistError("connection was closed"),
        asyncpg.CannotConnectNowError("the database system is starting up"),
        asyncpg.AdminShutdownError("terminating connection"),
        asyncpg.TooManyConnectionsError("sorry, too many clients already"),
        asyncpg.DiskFullError("no space left on device"),
        asyncpg.InterfaceError("connection is closed"),
        sqlite3.OperationalError("database is locked"),
        sqlite3.OperationalError("database or disk is full"),
    ],
)
def test_a_drivers_own_error_tells_an_outage(error: Exception) -> None:
    assert is_outage(error)
    assert not is_race(error)


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.DataError("invalid input for query argument $1"),
        asyncpg.NotNullViolationError("null value"),
        OverflowError("value out of int32 range"),
        UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"),
        TypeError("'str' object cannot be interpreted as an integer"),
        sqlite3.IntegrityError("NOT NULL constraint failed: tallies.x"),
        sqlite3.OperationalError("no such table: tallies"),
    ],
)
def test_what_a_driver_refuses_of_a_row_is_the_rows_fault(error: Exception) -> None:
    assert not is_outage(error)
    assert not is_race(error)


@pytest.mark.parametrize("state", ["22003", "22021", "23502", "42P01"])
def test_a_refused_row_is_neither(state: str) -> None:
    error = wrapped(DBAPIError, Original(state=state))
    assert not is_race(error)
    assert not is_outage(error)
