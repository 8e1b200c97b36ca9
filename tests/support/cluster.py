"""The whole system as processes: four services on Kafka and PostgreSQL, or one embedded process.

Every process may be killed, paused and brought back; ports stay the same.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.parts.node import free_port

SERVICES = ("chat_router", "order_ops", "aftersales", "feedback")
READY_SECONDS = 60.0
STOP_SECONDS = 40.0


class Process:
    """One kefu process on a fixed port."""

    def __init__(self, name: str, arguments: list[str], env: Mapping[str, str], log: Path) -> None:
        self.name = name
        self.port = free_port()
        self._arguments = arguments
        self._env = dict(env)
        self._log = log
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._child is not None and self._child.poll() is None

    def start(self) -> None:
        """Start it; returns at once."""
        with self._log.open("ab") as log:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "kefu", *self._arguments, "--port", str(self.port)],
                env=self._env,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                process_group=0,
            )

    def wait_ready(self, seconds: float = READY_SECONDS) -> None:
        """Until `/readyz` (or, of the embedded process, `/healthz`) answers 200."""
        deadline = time.monotonic() + seconds
        path = "/healthz" if self.name == "dev" else "/readyz"
        while time.monotonic() < deadline:
            if not self.running:
                raise AssertionError(f"{self.name} ended by itself:\n{self.log_tail()}")
            try:
                if httpx.get(self.url + path, timeout=2).status_code == 200:
                    return
            except httpx.HTTPError:
                pass
            time.sleep(0.05)
        raise AssertionError(f"{self.name} is not ready after {seconds} s:\n{self.log_tail()}")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process and its children."""
        if self._child is not None and self.running:
            os.killpg(self._child.pid, number)

    def kill(self) -> None:
        """kill -9."""
        self.signal(signal.SIGKILL)
        if self._child is not None:
            self._child.wait()

    def terminate(self, seconds: float = STOP_SECONDS) -> int:
        """SIGTERM, and the exit status; `TimeoutExpired` when it does not end in time."""
        assert self._child is not None
        self.signal(signal.SIGTERM)
        return self._child.wait(seconds)

    def log_tail(self, characters: int = 4000) -> str:
        """The end of its log."""
        return self._log.read_text(errors="replace")[-characters:] if self._log.exists() else ""


class Cluster:
    """All processes of a system, and how clients reach them."""

    def __init__(self, processes: list[Process], env: Mapping[str, str]) -> None:
        self.processes = processes
        self.env = dict(env)

    @property
    def embedded(self) -> bool:
        """Whether one process runs everything."""
        return self.processes[0].name == "dev"

    def url_options(self) -> list[str]:
        """What tells `kefu replay` and `kefu load` where the services are."""
        if self.embedded:
            return ["--base-url", self.processes[0].url]
        first = {process.name: process.url for process in reversed(self.processes)}
        return [part for name, url in first.items() for part in ("--url", f"{name}={url}")]

    def start(self) -> None:
        """Start everything and wait until it is ready."""
        for process in self.processes:
            process.start()
        for process in self.processes:
            process.wait_ready()

    def stop(self) -> None:
        """End everything, kindly at first."""
        for process in self.processes:
            process.signal(signal.SIGCONT)
            process.signal(signal.SIGTERM)
        for process in self.processes:
            try:
                process.terminate()
            except subprocess.TimeoutExpired:
                process.kill()


def run_kefu(env: Mapping[str, str], *arguments: str, timeout: float = 120) -> str:
    """Run a kefu command to its end; its output. `CalledProcessError` when it fails."""
    done = subprocess.run(
        [sys.executable, "-m", "kefu", *arguments],
        env=dict(env),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        check=False,
    )
    if done.returncode:
        raise AssertionError(f"kefu {' '.join(arguments)} failed:\n{done.stdout[-4000:]}")
    return done.stdout


@contextmanager
def embedded_cluster(home: Path) -> Iterator[Cluster]:
    """`kefu dev` on its own home."""
    env = os.environ | {"KEFU_HOME": str(home), "KEFU_LOG_LEVEL": "WARNING"}
    home.mkdir(parents=True, exist_ok=True)
    cluster = Cluster([Process("dev", ["dev"], env, home / "dev.log")], env)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


@contextmanager
def real_cluster(
    home: Path, *, kafka: str, database_url: str, replicas: int = 1, **settings: str
) -> Iterator[Cluster]:
    """Every service as processes of its own on Kafka and PostgreSQL, with the demo shop in it.

    `kafka` is a bootstrap address; `database_url` an empty database.
    """
    env = os.environ | {
        "KEFU_HOME": str(home),
        "KEFU_BUS": f"kafka://{kafka}",
        "KEFU_DATABASE_URL": database_url,
        "KEFU_LOG_LEVEL": "WARNING",
        "KEFU_ALLOW_LOCAL_TOKENS": "true",
        **settings,
    }
    home.mkdir(parents=True, exist_ok=True)
    run_kefu(env, "topics", "apply")
    run_kefu(env, "migrate")
    processes = [
        Process(name, ["serve", name], env, home / f"{name}-{n}.log")
        for name in SERVICES
        for n in range(replicas)
    ]
    cluster = Cluster(processes, env)
    try:
        cluster.start()
        run_kefu(env, "seed", *cluster.url_options())
        yield cluster
    finally:
        cluster.stop()
