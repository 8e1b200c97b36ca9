"""What went wrong in the database: a race to repeat, an outage to wait for, or a bad row.

Errors come from SQLAlchemy, with the driver's behind them, and from the drivers themselves.
"""

import asyncio
import sqlite3

import asyncpg
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

_RACES = frozenset({"23505", "40001", "40P01", "55P03"})
# Class 08: connection; 53: out of disk, memory or connections; 57: shutdown; 25006: read-only;
# 58: the database's own disk I/O.
_OUTAGES = ("08", "53", "57", "58", "25006")
_SQLITE_OUTAGES = ("locked", "disk", "full", "readonly", "unable to open", "i/o")


def sql_state(error: BaseException) -> str:
    """The five-character SQLSTATE of a driver's error, empty when there is none."""
    original = getattr(error, "orig", None)
    for source in (error, original, getattr(original, "__cause__", None)):
        state = getattr(source, "sqlstate", None) or getattr(source, "pgcode", None)
        if state:
            return str(state)
    return ""


def is_race(error: BaseException) -> bool:
    """Two transactions met: the same batch, run again, sees what the other one wrote.

    A migration that ran meanwhile is met in the same way: what was prepared is prepared anew.
    """
    if isinstance(error, asyncpg.InvalidCachedStatementError):
        return True
    if isinstance(error, asyncpg.PostgresError | DBAPIError) and (state := sql_state(error)):
        return state in _RACES
    refused = isinstance(error, IntegrityError | sqlite3.IntegrityError)
    return refused and "UNIQUE" in _words(error)


def is_outage(error: BaseException) -> bool:
    """The database cannot be used at present; the work itself is not to blame."""
    if isinstance(error, PoolTimeout | ConnectionError | asyncio.TimeoutError | OSError):
        return True
    if isinstance(error, asyncpg.PostgresError | DBAPIError) and (state := sql_state(error)):
        return state.startswith(_OUTAGES) or _is_broken(error)
    if _is_broken(error):
        return True
    failed = isinstance(error, OperationalError | sqlite3.OperationalError)
    message = _words(error).lower()
    return failed and any(word in message for word in _SQLITE_OUTAGES)


def _is_broken(error: BaseException) -> bool:
    """Whether there is no connection any more to work with."""
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or isinstance(error, InterfaceError)
    # An InterfaceError that is a ValueError too is about a value, not about the connection.
    return isinstance(error, asyncpg.InterfaceError) and not isinstance(error, ValueError)


def _words(error: BaseException) -> str:
    return str(error.orig) if isinstance(error, DBAPIError) else str(error)
