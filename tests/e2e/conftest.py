"""A system under test: `kefu dev` on a folder of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cluster import Cluster, embedded_cluster


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One embedded system for the tests of a module that neither kill nor restart it."""
    with embedded_cluster(tmp_path_factory.mktemp("dev")) as cluster:
        yield cluster


@pytest.fixture
def own_dev(tmp_path: Path) -> Iterator[Cluster]:
    """An embedded system of the test's own, to be killed and restarted."""
    with embedded_cluster(tmp_path / "home") as cluster:
        yield cluster
