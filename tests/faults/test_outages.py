"""R2: broker or database gone, half-open, cut and slow, under load. R3: members come and go."""

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.faults.chaos import settled
from tests.faults.load import Load, start_load
from tests.faults.proxied import ProxiedCluster, proxied_cluster
from tests.faults.proxy import Proxy
from tests.support.cluster import Cluster, Process, run_kefu

pytestmark = pytest.mark.faults

SHORT_SECONDS = 4.0
LONG_SECONDS = float(os.environ.get("KEFU_TEST_OUTAGE_SECONDS", "60"))
LOAD_SECONDS = 420.0
ANSWER_SECONDS = 45.0


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxiedCluster]:
    with proxied_cluster(tmp_path_factory.mktemp("proxied") / "home") as running:
        yield running


def snapshot(name: str) -> dict[str, Any]:
    """An order as the shop's system tells it."""
    now = datetime.now(UTC).isoformat()
    line = {
        "line_id": f"{name}-1", "product_id": "cup-007", "title": "杯", "quantity": 1,
        "unit_price_fen": 4900, "paid_fen": 4900,
    }  # fmt: skip
    return {
        "shop_id": "demo", "platform": "taobao", "order_id": name, "buyer_id": f"b-{name}",
        "status": "paid", "lines": [line], "goods_fen": 4900, "postage_fen": 0,
        "discount_fen": 0, "total_fen": 4900, "paid_fen": 4900, "created_at": now,
        "paid_at": now, "modified_at": now, "version": 1,
    }  # fmt: skip


class Shop:
    """The shop's system, which tells orders while things are broken."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        token = run_kefu(cluster.env, "token", "--role", "system", "--subject", "shop").strip()
        self._headers = {"authorization": f"Bearer {token}"}
        [process] = cluster.named("dev" if cluster.embedded else "order_ops")
        self._url = process.url + ("/order_ops" if cluster.embedded else "")
        self.accepted: list[str] = []

    def tell(self, name: str) -> httpx.Response:
        """One attempt."""
        answer = httpx.post(
            f"{self._url}/v1/orders", json=snapshot(name), timeout=ANSWER_SECONDS,
            headers=self._headers | {"idempotency-key": name}, trust_env=False,
        )  # fmt: skip
        if answer.is_success:
            self.accepted.append(name)
        return answer

    def knows(self, name: str) -> bool:
        """Whether the order book has it."""
        url = f"{self._url}/v1/orders/{name}"
        return httpx.get(url, headers=self._headers, trust_env=False).status_code == 200


def require_clear_answer(answer: httpx.Response) -> None:
    """It worked, or it says in the documented form to come again."""
    if not answer.is_success:
        assert answer.status_code == 503, answer.text
        assert float(answer.headers["retry-after"]) > 0
        assert answer.headers["content-type"].startswith("application/problem+json")
        assert answer.json()["status"] == 503


def outage(proxies: list[Proxy], kind: str, seconds: float, shop: Shop, name: str) -> None:
    """Breaks the way for so long; the shop keeps telling orders meanwhile."""
    until = time.monotonic() + seconds
    for proxy in proxies:
        proxy.set_mode("stall" if kind == "stall" else "refuse" if kind == "gone" else "open")
        proxy.delay = 0.05 if kind == "slow" else 0.0
    told = 0
    try:
        while time.monotonic() < until:
            if kind == "cut":
                for proxy in proxies:
                    proxy.cut()
            told += 1
            require_clear_answer(shop.tell(f"{name}-{told}"))
            time.sleep(0.3)
    finally:
        for proxy in proxies:
            proxy.delay = 0.0
            proxy.set_mode("open")


def played(
    proxied: ProxiedCluster, folder: Path, name: str, *, seed: int, minutes: float = 0.6
) -> Load:
    """A day that begins; the checker compares all days of this cluster with what is there."""
    load = start_load(proxied.cluster, folder, name, seed=seed, buyers=60, minutes=minutes)
    proxied.journals.append(load.journal)
    return load


def under_load(
    proxied: ProxiedCluster, folder: Path, name: str, *, seed: int, seconds: float
) -> None:
    """Every kind of outage of both parts while a day is played; then everything is there."""
    cluster, shop = proxied.cluster, Shop(proxied.cluster)
    load = played(proxied, folder, name, seed=seed, minutes=max(0.6, seconds / 15))
    for kind in ("gone", "stall", "cut", "slow"):
        for part, proxy in (("broker", proxied.broker), ("database", proxied.database)):
            outage([proxy], kind, seconds, shop, f"{name}-{part}-{kind}")
            for process in cluster.processes:
                process.wait_ready()
    found = load.finish(LOAD_SECONDS) + settled(cluster, proxied.journals)
    assert not found, "\n".join(map(str, found[:30]))
    assert shop.accepted
    assert [name for name in shop.accepted if not shop.knows(name)] == []


@pytest.mark.timeout(600)
def test_short_outages_of_broker_and_database_lose_nothing(
    proxied: ProxiedCluster, tmp_path: Path
) -> None:
    under_load(proxied, tmp_path, "short", seed=7, seconds=SHORT_SECONDS)


@pytest.mark.timeout(1500)
def test_a_minute_without_broker_or_database_loses_nothing(
    proxied: ProxiedCluster, tmp_path: Path
) -> None:
    under_load(proxied, tmp_path, "long", seed=8, seconds=LONG_SECONDS)


@pytest.mark.timeout(400)
def test_replicas_that_join_leave_and_stall_double_nothing(
    proxied: ProxiedCluster, tmp_path: Path
) -> None:
    """R3: a second and third chat_router come, freeze for longer than their session, and go."""
    cluster = proxied.cluster
    [first] = cluster.named("chat_router")
    others = [
        Process("chat_router", ["serve", "chat_router"], first.env, tmp_path / f"more-{n}.log")
        for n in (1, 2)
    ]
    load = played(proxied, tmp_path, "members", seed=9)
    try:
        for joins in others:
            joins.start()
            joins.wait_ready()
        others[0].pause()
        time.sleep(9)  # longer than the session: the group goes on without it
        others[0].resume()
        status, _ = others[1].terminate()
        assert status == 0, others[1].log_tail()
        others[1].start()
        others[1].wait_ready()
        first.pause()  # the leader, most likely
        time.sleep(9)
        first.resume()
        others[0].kill()
        found = load.finish(LOAD_SECONDS) + settled(cluster, proxied.journals)
    finally:
        for process in others:
            process.terminate()
    assert not found, "\n".join(map(str, found[:30]))
