"""R4: what no service can use, put on the topics under load, is kept with bytes and reason."""

import asyncio
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.faults.chaos import ENGINES, engine, settled
from tests.faults.checker import check
from tests.faults.evidence import gather
from tests.faults.load import start_load
from tests.support.cluster import Cluster, run_kefu

pytestmark = pytest.mark.faults

TOPIC = "shop.orders"
LOAD_SECONDS = 240.0
HEADERS = {
    "ce_specversion": "1.0", "ce_source": "elsewhere", "ce_type": "kefu.shop.order.v1",
    "ce_time": "2026-01-01T00:00:00Z", "ce_shopid": "demo", "content-type": "application/json",
}  # fmt: skip
BAD: dict[str, tuple[dict[str, str], bytes]] = {
    "malformed_json": (HEADERS, b"\xff\xfe{not json"),
    "too_large": (HEADERS, b'{"shop_id":"' + b"x" * 300_000 + b'"}'),
    "missing_attribute": ({"content-type": "application/json"}, b'{"hello": "world"}'),
    "unknown_type": (HEADERS | {"ce_type": "com.example.parcel.v1"}, b"{}"),
    "future_version": (HEADERS | {"ce_type": "kefu.shop.order.v99"}, b"{}"),
    "invalid_event": (HEADERS, b'{"shop_id": "demo", "order_id": 5}'),
}
"""Reason code → headers and value of a record that must end with it."""


def put(cluster: Cluster) -> None:
    """Puts each bad record on the topic, each under a key of its own."""
    records = [
        (f"demo:bad-{code}", headers | {"ce_id": f"bad-{code}"}, value)
        for code, (headers, value) in BAD.items()
    ]
    if cluster.embedded:
        _put_into_file(cluster.home / "bus.db", records)
    else:
        asyncio.run(_put_into_kafka(cluster.kafka, records))


def _put_into_file(path: Path, records: list[tuple[str, dict[str, str], bytes]]) -> None:
    with closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as log:
        for key, headers, value in records:
            log.execute("BEGIN IMMEDIATE")
            query = "SELECT coalesce(max(next), 0) FROM ends WHERE topic = ? AND partition = 0"
            [(at,)] = log.execute(query, (TOPIC,))
            pairs = json.dumps(list(headers.items()))
            log.execute(
                "INSERT INTO log VALUES (?, 0, ?, ?, ?, ?, unixepoch())",
                (TOPIC, at, key.encode(), value, pairs),
            )
            log.execute("INSERT OR REPLACE INTO ends VALUES (?, 0, ?)", (TOPIC, at + 1))
            log.execute("COMMIT")


async def _put_into_kafka(bootstrap: str, records: list[tuple[str, dict[str, str], bytes]]) -> None:
    from aiokafka import AIOKafkaProducer

    producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
    await producer.start()
    try:
        for key, headers, value in records:
            pairs = [(name, text.encode()) for name, text in headers.items()]
            await producer.send_and_wait(TOPIC, value, key=key.encode(), headers=pairs)
    finally:
        await producer.stop()


@pytest.mark.timeout(400)
@pytest.mark.parametrize("name", ENGINES)
def test_bad_records_become_letters_and_other_keys_go_on(name: str, tmp_path: Path) -> None:
    with engine(name, tmp_path / "home") as cluster:
        load = start_load(cluster, tmp_path, "load", seed=3, buyers=25, minutes=0.25)
        put(cluster)
        found = load.finish(LOAD_SECONDS)
        found += settled(cluster, [load.journal], letters=list(BAD))
        assert not found, "\n".join(map(str, found[:30]))
        kept = gather(cluster, []).rows("order_ops", "dead_letters")
        assert {one["code"]: bytes(one["value"]) for one in kept} == {
            code: value for code, (_, value) in BAD.items()
        }
        assert all(one["reason"] for one in kept)
        listed = run_kefu(cluster.env, "dead-letters", "list", "--service", "order_ops")
        for one in kept:
            assert one["letter_id"] in listed
            run_kefu(cluster.env, "dead-letters", "drop", "order_ops", one["letter_id"])
        evidence = gather(cluster, [load.journal])
        assert not evidence.rows("order_ops", "dead_letters")
        # Of a dropped record that could not be read nothing is left: the checker misses those.
        missed = {one.what for one in check(evidence)}
        assert all("bad-" in what for what in missed), missed
