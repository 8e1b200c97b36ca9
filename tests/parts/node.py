"""What every part can do, whatever it is: start, stop, pause, die, and come back."""

from __future__ import annotations

import random
import shutil
import signal
import socket
import tempfile
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from tests.parts.daemon import Daemon, wait_until
from tests.parts.errors import PartBroken, PartUnavailable
from tests.parts.reaper import REAPER

# Below the ports that systems hand to outgoing connections (from 32768 on Linux, from
# 49152 elsewhere): a node that is down must find its port free when it comes back.
PORTS = range(15_000, 30_000)
LOG_TAIL_CHARACTERS = 2_000


def free_port() -> int:
    """A loopback port nobody listens on, out of a range nobody is given by chance."""
    while True:
        port = random.choice(PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


class Node(ABC):
    """One server on loopback with its own data folder, or one that the environment names.

    Data and port stay the same from the first `start` to `close`, whatever happens
    between. Every method returns only when what it says has happened.
    """

    name: ClassVar[str]
    external_setting: ClassVar[str]
    stop_signal: ClassVar[signal.Signals]
    start_seconds: ClassVar[float] = 60
    stop_seconds: ClassVar[float] = 20

    def __init__(self, external: str | None) -> None:
        self._external = external
        self._folder: Path | None = None
        self._daemon: Daemon | None = None

    # What a part must say of itself

    @property
    @abstractmethod
    def url(self) -> str:
        """How clients reach it."""

    @abstractmethod
    def _prepare(self, folder: Path) -> None:
        """Make its data in the new folder, and choose its ports."""

    @abstractmethod
    def _launch(self, folder: Path, log: Path) -> Daemon:
        """Start the process on that data."""

    @abstractmethod
    def _answers(self, daemon: Daemon, folder: Path, log: Path) -> bool:
        """Whether it is ready for clients."""

    # What all can do

    @property
    def ours(self) -> bool:
        """False for a server that the environment names: it is used, never touched."""
        return self._external is None

    @property
    def running(self) -> bool:
        """Whether the process lives; a paused one does."""
        return not self.ours or (self._daemon is not None and self._daemon.running)

    def start(self) -> str:
        """Start and wait until it answers; where it listens. PartUnavailable, PartBroken."""
        if not self.running:
            folder = self._folder or self._new_folder()
            log = folder / "log.txt"
            log.unlink(missing_ok=True)  # readiness is read from it
            self._daemon = self._launch(folder, log)
            self._wait_until_it_answers(self._daemon, folder, log)
        return self.url

    def restart(self) -> str:
        """Stop if it runs, then start on the same data and port."""
        self.stop()
        return self.start()

    def stop(self) -> None:
        """End it in order; the data stays."""
        if daemon := self._ours_running():
            daemon.terminate(self.stop_signal, within=self.stop_seconds)

    def kill(self) -> None:
        """`kill -9`; the data stays as it was at that instant."""
        if daemon := self._ours_running():
            daemon.kill()

    def pause(self) -> None:
        """Freeze it: connections stay open, nothing answers."""
        if daemon := self._ours_running():
            daemon.pause()

    def resume(self) -> None:
        """Undo `pause`."""
        if daemon := self._ours_running():
            daemon.resume()

    def close(self) -> None:
        """End it at once and remove its data."""
        if self._daemon is not None:
            self._daemon.kill()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._daemon = self._folder = None

    def log_tail(self) -> str:
        """The end of what it wrote since it last started."""
        if self._folder is None:
            return ""
        text = (self._folder / "log.txt").read_text(errors="replace")
        return text[-LOG_TAIL_CHARACTERS:]

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def _ours_running(self) -> Daemon | None:
        if not self.ours:
            raise PartUnavailable(
                f"{self.name}: {self.external_setting} names a server that is not ours to touch"
            )
        return self._daemon if self.running else None

    def _new_folder(self) -> Path:
        folder = Path(tempfile.mkdtemp(prefix=f"kefu-{self.name}-"))
        REAPER.remove_later(folder)
        try:
            self._prepare(folder)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        self._folder = folder
        return folder

    def _wait_until_it_answers(self, daemon: Daemon, folder: Path, log: Path) -> None:
        def settled() -> bool:
            return not daemon.running or self._answers(daemon, folder, log)

        if wait_until(settled, self.start_seconds) and daemon.running:
            return
        daemon.kill()
        raise PartBroken(f"{self.name} did not start:\n{self.log_tail()}")
