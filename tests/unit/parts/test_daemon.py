"""A part goes on, stops and ends together with everything it has forked."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.parts.daemon import Daemon, wait_until
from tests.parts.reaper import alive, process_tree

ROOT = Path(__file__).parents[3]
# Two generations that count: the child is in a session of its own, as PostgreSQL's are.
COUNTING = """
import itertools, os, subprocess, sys, time
if len(sys.argv) > 1:
    subprocess.Popen([sys.executable, "-c", sys.argv[1]], start_new_session=True)
for number in itertools.count():
    os.write(1, b"%d %d\\n" % (os.getpid(), number))
    time.sleep(0.005)
"""


def counting_daemon(folder: Path) -> Daemon:
    daemon = Daemon([sys.executable, "-c", COUNTING, COUNTING], log=folder / "log.txt")
    assert wait_until(lambda: len(counts(folder / "log.txt")) == 2, seconds=20)
    return daemon


def counts(log: Path) -> dict[str, int]:
    """The last number each process has written."""
    lines = log.read_text().splitlines()[:-1]  # the last line may be half written
    return {pid: int(number) for pid, number in (line.split() for line in lines)}


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    daemon = counting_daemon(tmp_path)
    yield daemon
    daemon.kill()


def test_a_paused_part_stands_still_with_its_children_and_goes_on_when_resumed(
    daemon: Daemon, tmp_path: Path
) -> None:
    daemon.pause()
    states = {pid: process_state(pid) for pid in process_tree(daemon.pid)}
    assert len(states) == 2
    assert set(states.values()) == {"T"}
    before = counts(tmp_path / "log.txt")

    daemon.resume()

    def both_went_on() -> bool:
        now = counts(tmp_path / "log.txt")
        return all(now[pid] > before[pid] + 1 for pid in before)

    assert wait_until(both_went_on, seconds=20)


def process_state(pid: int) -> str:
    shown = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True)
    return shown.stdout[:1]


def test_a_killed_part_leaves_no_child_behind(daemon: Daemon) -> None:
    tree = process_tree(daemon.pid)
    daemon.kill()
    assert not daemon.running
    assert [pid for pid in tree if alive(pid)] == []


def test_a_paused_part_can_be_killed(daemon: Daemon) -> None:
    daemon.pause()
    daemon.kill()
    assert not daemon.running


def test_a_part_that_ignores_the_request_to_end_is_killed(tmp_path: Path) -> None:
    deaf = "trap '' TERM; echo deaf; while :; do sleep 0.05; done"
    daemon = Daemon(["sh", "-c", deaf], log=tmp_path / "log.txt")
    assert wait_until(lambda: "deaf" in (tmp_path / "log.txt").read_text(), seconds=20)
    daemon.terminate(signal.SIGTERM, within=0.2)
    assert not daemon.running


STARTS_A_PART = """
import signal, sys, time
# Whoever is started in a shell's background inherits a SIGINT that is ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
from pathlib import Path
from tests.parts.daemon import Daemon
from tests.parts.reaper import REAPER
folder = Path(sys.argv[1])
REAPER.remove_later(folder)
daemon = Daemon([sys.executable, "-c", sys.argv[2], sys.argv[2]], log=folder / "log.txt")
print(daemon.pid, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_parts_end_with_whoever_started_them_however_that_ends(
    tmp_path: Path, end: signal.Signals
) -> None:
    folder = tmp_path / "part"
    folder.mkdir()
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTS_A_PART, str(folder), COUNTING],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=ROOT,
        text=True,
    )
    assert starter.stdout is not None
    part = int(starter.stdout.readline())
    assert wait_until(lambda: len(counts(folder / "log.txt")) == 2, seconds=20)
    tree = process_tree(part)
    assert len(tree) == 2

    os.kill(starter.pid, end)
    starter.wait(timeout=20)
    starter.stdout.close()

    assert wait_until(lambda: not any(alive(pid) for pid in tree), seconds=20)
    assert wait_until(lambda: not folder.exists(), seconds=20)
