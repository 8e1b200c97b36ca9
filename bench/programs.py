"""Programs that are measured, each a process of its own that ends with us."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from tests.parts.daemon import Daemon

STOP_SECONDS = 30.0
MEBIBYTE = 1024 * 1024
ROOT = Path(__file__).resolve().parent.parent


class ProgramFailed(RuntimeError):
    """A measured program ended by itself; its last words are in the message."""


class Program:
    """`python -m <arguments>` with these settings added to the environment."""

    def __init__(self, arguments: Sequence[str], settings: Mapping[str, str], folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._name = arguments[0]
        self._log = folder / "log.txt"
        given = {"PYTHONPATH": str(ROOT), **settings}
        command = [
            "/usr/bin/env",
            *(f"{name}={value}" for name, value in given.items()),
            *(sys.executable, "-m", *arguments),
        ]
        self._daemon = Daemon(command, log=self._log)
        self._process = psutil.Process(self._daemon.pid)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._daemon.kill()

    @property
    def pid(self) -> int:
        """For a profiler."""
        return self._daemon.pid

    def require_running(self) -> None:
        """`ProgramFailed`, with the end of its log, if it ended."""
        if not self._daemon.running:
            raise ProgramFailed(f"{self._name} ended:\n{self.last_words()}")

    def pause(self) -> None:
        """Stop it where it is."""
        self._daemon.pause()

    def resume(self) -> None:
        """Let it go on."""
        self._daemon.resume()

    def last_words(self) -> str:
        """The end of what it wrote."""
        return self._log.read_text(errors="replace")[-3000:]

    def cpu_seconds(self) -> float:
        """Processor time so far."""
        times = self._process.cpu_times()
        return float(times.user + times.system)

    def resident_mebibytes(self) -> float:
        """Memory that is in use now."""
        return float(self._process.memory_info().rss / MEBIBYTE)
