"""Ends what a killed test run left behind.

A part must not outlive the process that started it, not even after `kill -9`. So
that process holds a pipe to this small program and tells it what it started; when
the pipe closes, for whatever reason, what is still on the list is killed with all
its descendants, and its folders are removed.

Runs alone (`python -I -S reaper.py`): standard library only, no imports from here.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path


def process_tree(root: int) -> list[int]:
    """The process and its living descendants, parents before children; zombies left out."""
    children: dict[int, list[int]] = {}
    for pid, parent in _processes():
        children.setdefault(parent, []).append(pid)
    tree = [root]
    for pid in tree:  # grows while it is walked
        tree.extend(children.get(pid, []))
    return tree


def signal_all(pids: list[int], number: signal.Signals) -> None:
    """Send one signal to each; who is gone already is passed over."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def freeze_tree(root: int) -> list[int]:
    """Stop the process and all its descendants; none can be born meanwhile."""
    frozen: list[int] = []
    while fresh := [pid for pid in process_tree(root) if pid not in frozen]:
        signal_all(fresh, signal.SIGSTOP)
        frozen += fresh
    return frozen


def alive(pid: int) -> bool:
    """Whether the process runs: a zombie does not."""
    return any(pid == other for other, _ in _processes())


def _processes() -> list[tuple[int, int]]:
    """(pid, parent) of every process that is not a zombie."""
    if Path("/proc/self/stat").exists():
        return _processes_by_proc()
    listing = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid=,stat="], capture_output=True, text=True, check=True
    ).stdout
    rows = (line.split() for line in listing.splitlines())
    return [(int(pid), int(parent)) for pid, parent, state in rows if state[0] != "Z"]


def _processes_by_proc() -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):
                # "pid (name) state parent …", where the name may hold anything, even ") ".
                stat = Path("/proc", name, "stat").read_text(errors="replace")
                state, parent = stat[stat.rindex(")") + 2 :].split()[:2]
                if state not in "ZX":
                    found.append((int(name), int(parent)))
    return found


class Reaper:
    """This side of the pipe; one reaper serves the whole process and starts when first needed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._child: subprocess.Popen[str] | None = None

    def watch(self, pid: int) -> None:
        """From now on this process ends with us."""
        self._tell(f"watch {pid}")

    def forget(self, pid: int) -> None:
        """The process has ended; its number may be somebody else's from now on."""
        self._tell(f"forget {pid}")

    def remove_later(self, folder: Path) -> None:
        """The folder is removed when we end, if it still exists."""
        self._tell(f"remove {folder}")

    def _tell(self, line: str) -> None:
        with self._lock:
            if self._child is None:
                self._child = self._start()
            assert self._child.stdin is not None
            self._child.stdin.write(line + "\n")
            self._child.stdin.flush()

    def _start(self) -> subprocess.Popen[str]:
        child = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C in the terminal is not for the reaper
            text=True,
        )
        atexit.register(self._finish, child)
        return child

    @staticmethod
    def _finish(child: subprocess.Popen[str]) -> None:
        assert child.stdin is not None
        child.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(timeout=30)


REAPER = Reaper()


def main() -> None:
    """Listen until the pipe closes, then clear up."""
    pids: set[int] = set()
    folders: list[str] = []
    for line in sys.stdin:
        verb, _, rest = line.rstrip("\n").partition(" ")
        if verb == "watch":
            pids.add(int(rest))
        elif verb == "forget":
            pids.discard(int(rest))
        else:
            folders.append(rest)
    for pid in pids:
        signal_all(freeze_tree(pid), signal.SIGKILL)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
