"""The statements that batches send, as they are sent."""

import contextlib
from collections.abc import Iterator

from common.db.database import Database


@contextlib.contextmanager
def statements(database: Database) -> Iterator[list[str]]:
    """Those inside the block, white space folded; one `executemany` or COPY is one."""
    seen: list[str] = []

    def note(statement: str) -> None:
        seen.append(" ".join(statement.split()))

    database.watchers.append(note)
    try:
        yield seen
    finally:
        database.watchers.remove(note)
