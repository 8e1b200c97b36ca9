"""A server that the environment names is used and never touched."""

from __future__ import annotations

import pytest

from tests.parts import KafkaNode, PartUnavailable, PostgresNode
from tests.parts.node import Node, free_port


@pytest.fixture(params=["postgres", "kafka"])
def named(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Node:
    monkeypatch.setenv("DATABASE_URL", "postgres://me:secret@db.example:5432/main")
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "a.example:9092,b.example:9092")
    return PostgresNode() if request.param == "postgres" else KafkaNode()


def test_a_named_server_is_what_start_returns(named: Node) -> None:
    expected = {
        "postgres": "postgresql://me:secret@db.example:5432/main",
        "kafka": "a.example:9092,b.example:9092",
    }
    assert named.start() == expected[named.name]
    assert named.running


@pytest.mark.parametrize("verb", ["stop", "kill", "pause", "resume", "restart"])
def test_a_named_server_is_never_stopped(named: Node, verb: str) -> None:
    with pytest.raises(PartUnavailable, match="not ours to touch"):
        getattr(named, verb)()


def test_closing_lets_a_named_server_be(named: Node) -> None:
    named.start()
    named.close()
    assert named.running


def test_whoever_wants_to_kill_gets_a_server_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://db.example/main")
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "a.example:9092")
    assert PostgresNode(own=True).ours
    assert KafkaNode(own=True).ours


@pytest.mark.parametrize("url", ["", "sqlite:///kefu.db", "mysql://db.example/main"])
def test_a_setting_that_names_no_postgres_names_no_server(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", url)
    assert PostgresNode().ours


def test_ports_lie_below_those_given_to_outgoing_connections() -> None:
    assert all(free_port() < 32_768 for _ in range(20))
