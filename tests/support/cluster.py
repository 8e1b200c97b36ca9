"""The whole system as processes: four services on Kafka and PostgreSQL, or one embedded process.

Every process may be killed, paused and brought back; ports stay the same. None outlives the
process that started it.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.parts.daemon import Daemon, wait_until
from tests.parts.node import free_port

SERVICES = ("chat_router", "order_ops", "aftersales", "feedback")
READY_SECONDS = 90.0
STOP_SECONDS = 40.0
CHECKOUT = Path(__file__).resolve().parents[2]


class Process:
    """One kefu process, on a fixed port if it has one."""

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        env: Mapping[str, str],
        log: Path,
        *,
        module: str = "kefu",
        serves: bool = True,
    ) -> None:
        self.name = name
        self.log = log
        self.port = free_port() if serves else 0
        port = ["--port", str(self.port)] if serves else []
        self._command = [sys.executable, "-m", module, *arguments, *port]
        self.env = dict(env)
        self._daemon: Daemon | None = None

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def running(self) -> bool:
        """Whether the process lives; a paused one does."""
        return self._daemon is not None and self._daemon.running

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._started.pid

    @property
    def status(self) -> int | None:
        """What it ended with; None while it runs."""
        return self._started.status

    @property
    def _started(self) -> Daemon:
        assert self._daemon is not None, f"{self.name} was never started"
        return self._daemon

    def start(self) -> None:
        """Start it; returns at once."""
        if not self.running:
            self._daemon = Daemon(self._command, log=self.log, env=self.env)

    def is_ready(self) -> bool:
        """Whether `/readyz` (or, of the embedded process, `/healthz`) answers 200."""
        if not self.port:
            return self.running
        path = "/healthz" if self.name == "dev" else "/readyz"
        try:
            return httpx.get(self.url + path, timeout=2, trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False

    def wait_ready(self, seconds: float = READY_SECONDS) -> None:
        """Until it is ready. `AssertionError` when it ends instead, or takes too long."""
        if not wait_until(lambda: not self.running or self.is_ready(), seconds):
            raise AssertionError(f"{self.name} not ready after {seconds:g} s:\n{self.log_tail()}")
        if not self.running:
            raise AssertionError(f"{self.name} ended ({self.status}):\n{self.log_tail()}")

    def kill(self) -> None:
        """kill -9; returns when it is gone."""
        self._started.kill()

    def pause(self) -> None:
        """Freeze it: connections stay open, nothing answers."""
        self._started.pause()

    def resume(self) -> None:
        """Undo `pause`."""
        self._started.resume()

    def terminate(self, within: float = STOP_SECONDS) -> tuple[int | None, float]:
        """SIGTERM; the exit status and the seconds it took. Killed after `within`."""
        began = time.monotonic()
        if self._daemon is not None:
            self._daemon.terminate(signal.SIGTERM, within=within)
        return (self._daemon.status if self._daemon else None), time.monotonic() - began

    def log_tail(self, characters: int = 4000) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-characters:] if self.log.exists() else ""


class Cluster:
    """All processes of a system, how clients reach them, and where its data are."""

    def __init__(
        self,
        processes: list[Process],
        env: Mapping[str, str],
        home: Path,
        *,
        kafka: str = "",
        database_url: str = "",
    ) -> None:
        self.processes = processes
        self.env = dict(env)
        self.home = home
        self.kafka = kafka
        self.database_url = database_url

    @property
    def embedded(self) -> bool:
        """Whether one process runs everything."""
        return not self.kafka

    def named(self, name: str) -> list[Process]:
        """The replicas of a service."""
        return [process for process in self.processes if process.name == name]

    def url_options(self) -> list[str]:
        """What tells `kefu replay` and `kefu load` where the services are."""
        if self.embedded:
            return ["--base-url", self.processes[0].url]
        first = {p.name: p.url for p in reversed(self.processes) if p.port}
        return [part for name, url in first.items() for part in ("--url", f"{name}={url}")]

    def start(self) -> None:
        """Start everything and wait until it is ready."""
        for process in self.processes:
            process.start()
        for process in self.processes:
            process.wait_ready()

    def stop(self) -> None:
        """End everything, kindly at first."""
        for process in reversed(self.processes):
            process.terminate()


def run_kefu(env: Mapping[str, str], *arguments: str, timeout: float = 120) -> str:
    """Run a kefu command to its end; its output. `AssertionError` when it fails."""
    done = subprocess.run(
        [sys.executable, "-m", "kefu", *arguments],
        env=dict(env),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert not done.returncode, f"kefu {' '.join(arguments)} failed:\n{done.stdout[-4000:]}"
    return done.stdout


def clean_environment(home: Path, **settings: str) -> dict[str, str]:
    """This environment without its own KEFU settings, and with these."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("KEFU_")}
    path = os.pathsep.join(filter(None, [str(CHECKOUT), ours.get("PYTHONPATH", "")]))
    home.mkdir(parents=True, exist_ok=True)
    return ours | {
        "KEFU_HOME": str(home),
        "KEFU_LOG_LEVEL": "WARNING",
        "KEFU_LOG_FORMAT": "json",
        "PYTHONPATH": path,
        "PYTHONUNBUFFERED": "1",
        **settings,
    }


@contextmanager
def embedded_cluster(home: Path, *, module: str = "kefu", **settings: str) -> Iterator[Cluster]:
    """`kefu dev` on its own home. `module` may name another entry with the same commands."""
    env = clean_environment(home, **settings)
    dev = Process("dev", ["dev"], env, home / "dev.log", module=module)
    cluster = Cluster([dev], env, home)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


@contextmanager
def real_cluster(
    home: Path,
    *,
    kafka: str,
    database_url: str,
    replicas: Mapping[str, int] | None = None,
    module: str = "kefu",
    seen_as: Mapping[str, str] | None = None,
    **settings: str,
) -> Iterator[Cluster]:
    """Every service as processes of its own on Kafka and PostgreSQL, with the demo shop in it.

    `kafka` is a bootstrap address; `database_url` an empty database. `seen_as` are settings of
    the services alone: how they reach broker and database when that is not how tests do.
    """
    env = clean_environment(
        home,
        **{
            "KEFU_BUS": f"kafka://{kafka}",
            "KEFU_DATABASE_URL": database_url,
            "KEFU_ALLOW_LOCAL_TOKENS": "true",
            # A killed member is missed after this: as short as the setting goes.
            "KEFU_KAFKA_SESSION_TIMEOUT_MS": "6000",
            **settings,
        },
    )
    run_kefu(env, "topics", "apply")
    run_kefu(env, "migrate")
    run_kefu(env, "token", "--role", "system", "--subject", "first")  # makes the signing key
    served = env | dict(seen_as or {})
    processes = [
        Process(name, ["serve", name], served, home / f"{name}-{n}.log", module=module)
        for name in SERVICES
        for n in range((replicas or {}).get(name, 1))
    ]
    platform = Process("sandbox", ["sandbox"], served, home / "sandbox.log", serves=False)
    cluster = Cluster([*processes, platform], env, home, kafka=kafka, database_url=database_url)
    try:
        cluster.start()
        run_kefu(env, "seed", *cluster.url_options())
        yield cluster
    finally:
        cluster.stop()
