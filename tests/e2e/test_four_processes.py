"""The same flows on Kafka and PostgreSQL, every service a process of its own."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from kefu.demo import DAY
from tests.e2e.replays import dialogues, finished, play, start_replay, verdict, write_lines
from tests.parts.daemon import wait_until
from tests.parts.postgres import PostgresNode
from tests.support.cluster import Cluster, real_cluster

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def four(
    kafka_bootstrap: str, postgres_node: PostgresNode, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    database = postgres_node.create_database()
    home = tmp_path_factory.mktemp("four")
    with real_cluster(home, kafka=kafka_bootstrap, database_url=database) as cluster:
        yield cluster


def test_dialogues_are_delivered_once_and_in_order(four: Cluster, tmp_path: Path) -> None:
    played = play(four, write_lines(tmp_path / "bare.jsonl", dialogues(20)))
    assert played.status == 0, played.output
    assert played.report["messages"]["delivered"] == 120
    assert verdict(played.report) == (0, 0, 0)


def test_the_demo_day_goes_as_on_one_machine(four: Cluster, tmp_path: Path) -> None:
    day = tmp_path / "day.jsonl"
    day.write_bytes(DAY.read_bytes())
    played = play(four, day)
    assert played.status == 0, played.output
    outcome = played.report["outcome"]
    assert verdict(played.report) == (0, 0, 0)
    assert outcome["cases"] == {"refunded": 3, "withdrawn": 1}
    assert outcome["reminders"]["sent (message)"] >= 3
    assert outcome["reminders_stopped"]["paid"] >= 5
    assert any(spike["tag"] == "quality.pilling" for spike in outcome["spikes"])


def test_killing_each_service_in_turn_loses_and_doubles_nothing(
    four: Cluster, tmp_path: Path
) -> None:
    file = write_lines(tmp_path / "bare.jsonl", dialogues(30, rounds=4))
    journal, report = tmp_path / "journal", tmp_path / "report.json"
    replay = start_replay(four, file, "--journal", str(journal), report=report)
    for share, process in enumerate(four.processes[:4], start=1):
        assert wait_until(partial(_has_acknowledged, journal, share * 45), 90)
        process.kill()
        process.start()
    played = finished(replay, report)
    assert played.status == 0, played.output
    assert played.report["messages"]["delivered"] == 240
    assert verdict(played.report) == (0, 0, 0)


def _has_acknowledged(journal: Path, more_than: int) -> bool:
    return journal.exists() and journal.read_bytes().count(b'{"is":"acknowledged"') > more_than
