"""`kefu dev` before anything starts: the folder's lock and the port, in sentences."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from kefu.cli.failures import CommandFailed
from kefu.dev.lock import HomeLock
from kefu.listening import address_of, listen


def test_a_second_run_on_the_same_home_is_told_who_has_it(tmp_path: Path) -> None:
    first = HomeLock(tmp_path)
    first.take("http://127.0.0.1:8080")
    with pytest.raises(CommandFailed, match=r"in use by process \d+ \(http://127.0.0.1:8080\)"):
        HomeLock(tmp_path).take("http://127.0.0.1:8081")
    first.release()


def test_a_released_home_can_be_taken_again(tmp_path: Path) -> None:
    first = HomeLock(tmp_path)
    first.take("http://127.0.0.1:8080")
    first.release()
    second = HomeLock(tmp_path)
    second.take("http://127.0.0.1:8080")
    second.release()


def test_a_killed_holder_does_not_keep_the_home(tmp_path: Path) -> None:
    code = (
        "import os, sys, pathlib; from kefu.dev.lock import HomeLock;"
        "HomeLock(pathlib.Path(sys.argv[1])).take('x'); os.kill(os.getpid(), 9)"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert ended.returncode == -9
    lock = HomeLock(tmp_path)
    lock.take("http://127.0.0.1:8080")
    lock.release()


def test_a_taken_port_is_named_with_what_to_do() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(CommandFailed, match=f"port {port} is in use.*KEFU_PORT") as refused:
            listen("127.0.0.1", port)
    assert refused.value.status == 3


def test_an_address_that_is_not_ours_is_told() -> None:
    with pytest.raises(CommandFailed, match=r"cannot listen on 192\.0\.2\.1"):
        listen("192.0.2.1", 0)


def test_port_zero_takes_a_free_one_and_says_which() -> None:
    with listen("127.0.0.1", 0) as bound:
        assert address_of(bound) == f"http://127.0.0.1:{bound.getsockname()[1]}"
    with listen("0.0.0.0", 0) as bound:
        assert address_of(bound).startswith("http://127.0.0.1:")
