"""One process of a part: started, stopped, paused and killed with all it has forked."""

from __future__ import annotations

import pwd
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.parts.reaper import REAPER, alive, freeze_tree, process_tree, signal_all

POLL_SECONDS = 0.02


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Poll until the condition holds; False when it did not within the time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


@dataclass(frozen=True)
class Identity:
    """Whom a command runs as; without a name, as we are."""

    name: str | None = None

    @property
    def user(self) -> int | None:
        """Number of the user."""
        return pwd.getpwnam(self.name).pw_uid if self.name else None

    @property
    def group(self) -> int | None:
        """Number of the user's own group."""
        return pwd.getpwnam(self.name).pw_gid if self.name else None

    @property
    def extra_groups(self) -> list[int] | None:
        """None of root's groups go along."""
        return [] if self.name else None

    def run(self, command: Sequence[str | Path], folder: Path) -> subprocess.CompletedProcess[str]:
        """Run a short command there and return what it said."""
        return subprocess.run(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            user=self.user,
            group=self.group,
            extra_groups=self.extra_groups,
        )


OURSELVES = Identity()


class Daemon:
    """A running process whose output goes to a log file and which ends when we end."""

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        log: Path,
        identity: Identity = OURSELVES,
        env: Mapping[str, str] | None = None,
    ) -> None:
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=log.parent,
                user=identity.user,
                group=identity.group,
                extra_groups=identity.extra_groups,
                env=env,
            )
        REAPER.watch(self.pid)

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended yet; a paused process runs."""
        return self._process.poll() is None

    @property
    def status(self) -> int | None:
        """What it ended with, minus the signal that ended it; None while it runs."""
        return self._process.poll()

    def pause(self) -> None:
        """Freeze it with all its descendants: connections stay open, nothing answers."""
        freeze_tree(self.pid)

    def resume(self) -> None:
        """Let all of them go on, children first so that the parent finds them awake."""
        signal_all(process_tree(self.pid)[::-1], signal.SIGCONT)

    def kill(self) -> None:
        """`kill -9` for it and all its descendants; returns when all are gone."""
        if self.running:
            tree = freeze_tree(self.pid)
            signal_all(tree, signal.SIGKILL)
            self._process.wait()
            wait_until(lambda: not any(alive(pid) for pid in tree), seconds=10)
        REAPER.forget(self.pid)

    def terminate(self, number: signal.Signals, *, within: float) -> None:
        """Ask it to end, and kill it when it has not after so many seconds."""
        if self.running:
            self.resume()
            self._process.send_signal(number)
            try:
                self._process.wait(within)
            except subprocess.TimeoutExpired:
                self.kill()
        REAPER.forget(self.pid)
