"""A service as it is served, in a process of its own, and tokens to talk to it."""

import asyncio
import contextlib
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from dataclasses import dataclass

from bench.backlog import SHOP
from bench.programs import Program
from bench.stage import Stage
from common.auth.keys import load_or_create_signing_key
from common.auth.principal import Role
from common.auth.tokens import issue_token
from common.settings import Settings
from tests.parts.node import free_port

READY_SECONDS = 60.0


@dataclass(frozen=True)
class Served:
    """A running service: its process, its address and who may sign tokens for it."""

    program: Program
    base_url: str
    settings: Settings

    def processor_time(self, stage: Stage) -> dict[str, float]:
        """Seconds so far of the service and of what it stands on."""
        return {"chat_router": self.program.cpu_seconds()} | stage.cpu_by_part()

    async def metrics(self) -> dict[str, float]:
        """Every sample of its metrics by name and labels, as they are written."""
        text = await asyncio.to_thread(_read, f"{self.base_url}/metrics")
        samples = (line.rpartition(" ") for line in text.splitlines() if line[:1] != "#")
        return {name: float(value) for name, _, value in samples if name}

    def token(self, subject: str, role: Role) -> str:
        """A token of the benchmarks' shop."""
        key = load_or_create_signing_key(self.settings)
        return issue_token(key, self.settings, subject=subject, roles=[role], shop_id=SHOP)


@contextlib.asynccontextmanager
async def serving(stage: Stage, url: str, **more: str) -> AsyncIterator[Served]:
    """chat_router on this database, ready, with nothing waiting for it on the bus."""
    await stage.empty_topic("shop.messages")
    port = free_port()
    settings = stage.settings(url, KEFU_PORT=str(port), **more)
    folder = stage.new_folder("chat-router")
    with Program(["kefu", "serve", "chat_router"], settings, folder) as program:
        base_url = f"http://127.0.0.1:{port}"
        await until_ready(program, f"{base_url}/readyz")
        yield Served(program, base_url, Settings(home=stage.folder / "home"))


async def until_ready(program: Program, url: str, seconds: float = READY_SECONDS) -> None:
    """Wait for a 200; `TimeoutError` when there is none in time."""
    deadline = time.monotonic() + seconds
    while not await asyncio.to_thread(answers, url):
        program.require_running()
        if time.monotonic() > deadline:
            raise TimeoutError(f"{url} is not ready:\n{program.last_words()}")
        await asyncio.sleep(0.05)


def _read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as answer:
        return str(answer.read().decode())


def answers(url: str) -> bool:
    """Whether a GET succeeds."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False
