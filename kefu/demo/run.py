"""`kefu demo`: a system of its own in a child process, the demo day, the summary, the end."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import typer

from kefu.cli.failures import UNAVAILABLE, CommandFailed
from kefu.demo import DAY

READY_SECONDS = 60.0
STOP_SECONDS = 30.0


def run_demo(
    *, home: Path | None, port: int, speed: float, report: Path | None, keep: bool,
    base_url: str | None,
) -> None:  # fmt: skip
    """Plays the demo day and prints what came of it."""
    if base_url is not None:
        _play(base_url, speed, report)
        return
    with _home(home) as folder:
        os.environ["KEFU_HOME"] = str(folder)  # whose key signs the replay's tokens
        with running(folder, port or free_port()) as address:
            failed = _play_and_tell(address, speed, report)
            if keep:
                typer.echo(f"\nstill running at {address}; Ctrl-C stops it")
                with contextlib.suppress(KeyboardInterrupt):
                    signal.pause()
    if failed is not None:
        raise failed


def _play_and_tell(address: str, speed: float, report: Path | None) -> typer.Exit | None:
    """Plays; the exit that the findings ask for comes after the system has stopped."""
    try:
        _play(address, speed, report)
    except typer.Exit as failed:
        return failed
    return None


def _play(base_url: str, speed: float, report: Path | None) -> None:
    from kefu.cli.playing import finish, play
    from kefu.replay.http import Urls
    from kefu.replay.run import Options

    typer.echo("a day in the demo shop, about a minute long …", err=True)
    options = Options(file=DAY, urls=Urls(base_url), shop_id="demo", speed=speed)
    finish(play(options), report)


@contextlib.contextmanager
def _home(home: Path | None) -> Iterator[Path]:
    if home is not None:
        yield home.absolute()
        return
    with tempfile.TemporaryDirectory(prefix="kefu-demo-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def running(home: Path, port: int) -> Iterator[str]:
    """`kefu dev` in a child process while the block lasts; its address."""
    command = [sys.executable, "-m", "kefu", "dev", "--home", str(home), "--port", str(port)]
    # A session of its own: Ctrl-C is for the replay, which then stops the child in order.
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)  # noqa: S603
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_until_ready(child, address)
        yield address
    finally:
        _stop(child)


def _wait_until_ready(child: "subprocess.Popen[bytes]", address: str) -> None:
    until = time.monotonic() + READY_SECONDS
    while time.monotonic() < until:
        if child.poll() is not None:
            raise CommandFailed("the system did not start; see above why", UNAVAILABLE)
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{address}/healthz", trust_env=False).status_code == 200:
                return
        time.sleep(0.1)
    raise CommandFailed(f"the system was not ready within {READY_SECONDS:.0f} s", UNAVAILABLE)


def _stop(child: "subprocess.Popen[bytes]") -> None:
    child.terminate()
    try:
        child.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
