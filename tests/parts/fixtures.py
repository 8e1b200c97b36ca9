"""Real parts as pytest fixtures: started when the first test asks, ended with the session.

A part that cannot be had skips the tests that need it, with the reason.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from tests.parts.errors import PartUnavailable
from tests.parts.kafka import KafkaNode
from tests.parts.node import Node
from tests.parts.postgres import PostgresNode

N = TypeVar("N", bound=Node)


def _started(node: N) -> Iterator[N]:
    try:
        node.start()
    except PartUnavailable as reason:
        pytest.skip(str(reason))
    try:
        yield node
    finally:
        node.close()


@pytest.fixture(scope="session")
def postgres_node() -> Iterator[PostgresNode]:
    """The PostgreSQL server that all tests share; never kill or pause this one."""
    yield from _started(PostgresNode(fsync=False))


@pytest.fixture(scope="session")
def postgres_url(postgres_node: PostgresNode) -> str:
    """URL of the shared server's maintenance database; put no tables into it."""
    return postgres_node.url


@pytest.fixture
def pg_database(postgres_node: PostgresNode) -> Iterator[str]:
    """URL of a new empty PostgreSQL database, for this test alone."""
    url = postgres_node.create_database()
    yield url
    postgres_node.drop_database(url)


@pytest.fixture
def sqlite_database(tmp_path: Path) -> str:
    """URL of a new empty SQLite database, for this test alone."""
    return f"sqlite:///{tmp_path / 'test.sqlite3'}"


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest) -> str:
    """The test runs twice: on an empty SQLite database and on an empty PostgreSQL one."""
    name = "sqlite_database" if request.param == "sqlite" else "pg_database"
    return str(request.getfixturevalue(name))


@pytest.fixture(scope="session")
def kafka_node() -> Iterator[KafkaNode]:
    """The Kafka broker that all tests share; never kill or pause this one."""
    yield from _started(KafkaNode())


@pytest.fixture(scope="session")
def kafka_bootstrap(kafka_node: KafkaNode) -> str:
    """`host:port` of the shared broker; tests keep apart by topic and group names."""
    return kafka_node.url
