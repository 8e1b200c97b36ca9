"""One process per home folder: SQLite files and the embedded bus are for one run at a time."""

import fcntl
import os
from pathlib import Path
from typing import IO

from kefu.cli.failures import UNAVAILABLE, CommandFailed

LOCK_FILE = "dev.lock"


class HomeLock:
    """Holds a home folder while this process lives; the kernel lets go of it whatever happens."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._file: IO[str] | None = None

    def take(self, address: str) -> None:
        """Takes the folder, or says who has it."""
        self._home.mkdir(parents=True, exist_ok=True)
        file = (self._home / LOCK_FILE).open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "another process"
            file.close()
            raise CommandFailed(
                f"{self._home}/ is in use by {holder}: stop that one, or use another folder "
                "(KEFU_HOME or --home) and another port (KEFU_PORT or --port)",
                UNAVAILABLE,
            ) from None
        self._file = file
        self.describe(address)

    def describe(self, address: str) -> None:
        """Writes down who holds the folder and where it listens."""
        if self._file is not None:
            self._file.seek(0)
            self._file.truncate()
            self._file.write(f"process {os.getpid()} ({address})\n")
            self._file.flush()

    def release(self) -> None:
        """Lets go of the folder."""
        if self._file is not None:
            self._file.close()
            self._file = None
