"""What went wrong in the database: a race to repeat, an outage to wait for, or a bad row."""

import asyncio

from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

_RACES = frozenset({"23505", "40001", "40P01", "55P03"})
# Class 08: connection; 53: out of disk, memory or connections; 57: shutdown; 25006: read-only;
# 58: the database's own disk I/O.
_OUTAGES = ("08", "53", "57", "58", "25006")
_SQLITE_OUTAGES = ("locked", "disk", "full", "readonly", "unable to open", "i/o")


def sql_state(error: BaseException) -> str:
    """The five-character SQLSTATE behind a driver error, empty when there is none."""
    original = getattr(error, "orig", None)
    for source in (original, getattr(original, "__cause__", None)):
        state = getattr(source, "sqlstate", None) or getattr(source, "pgcode", None)
        if state:
            return str(state)
    return ""


def is_race(error: BaseException) -> bool:
    """Two transactions met: the same batch, run again, sees what the other one wrote."""
    if not isinstance(error, DBAPIError):
        return False
    state = sql_state(error)
    if state:
        return state in _RACES
    return isinstance(error, IntegrityError) and "UNIQUE" in str(error.orig)


def is_outage(error: BaseException) -> bool:
    """The database cannot be used at present; the work itself is not to blame."""
    if isinstance(error, PoolTimeout | ConnectionError | asyncio.TimeoutError | OSError):
        return True
    if not isinstance(error, DBAPIError):
        return False
    if error.connection_invalidated or isinstance(error, InterfaceError):
        return True
    state = sql_state(error)
    if state:
        return state.startswith(_OUTAGES)
    message = str(error.orig).lower()
    return isinstance(error, OperationalError) and any(w in message for w in _SQLITE_OUTAGES)
