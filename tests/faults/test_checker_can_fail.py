"""A broken promise is found, and the same crash without a broken promise is not one."""

from pathlib import Path

import pytest

from tests.faults.chaos import settled
from tests.faults.checker import Finding
from tests.faults.load import Load, start_load
from tests.parts.daemon import wait_until
from tests.support.cluster import Process, embedded_cluster

LOAD_SECONDS = 150.0
UNSETTLED_SECONDS = 8.0


def findings(home: Path, *, broken: str, crash: str) -> list[Finding]:
    """What is found after a load on an embedded system that died once, at the worst moment."""
    settings = {"KEFU_TEST_BREAK": broken, "KEFU_TEST_CRASH": crash}
    with embedded_cluster(home, module="tests.faults.broken", **settings) as cluster:
        [dev] = cluster.processes
        load = start_load(cluster, home, "load", seed=4, buyers=25, minutes=0.25)
        assert _revived(load, dev, home / f"died.{crash}")
        found = load.finish(LOAD_SECONDS)
        return found + settled(cluster, [load.journal], UNSETTLED_SECONDS)


def _revived(load: Load, dev: Process, died: Path) -> bool:
    """Whether the process died of its own crash; it runs again."""
    wait_until(lambda: not dev.running or not load.running, LOAD_SECONDS)
    dev.start()
    dev.wait_ready()
    return died.exists()


@pytest.mark.slow
@pytest.mark.faults
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "crash", [pytest.param("after_publish", marks=pytest.mark.faults), "before_work"]
)
def test_a_crash_at_the_worst_moment_is_no_finding(crash: str, tmp_path: Path) -> None:
    found = findings(tmp_path, broken="", crash=crash)
    assert not found, "\n".join(map(str, found))


@pytest.mark.slow
@pytest.mark.faults
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "broken, crash, kind, promise",
    [
        ("offsets_first", "before_work", "lost", "every event takes effect at its readers"),
        pytest.param(
            *("fresh_ids", "after_publish", "doubled", "what was committed is published"),
            marks=pytest.mark.faults,
        ),
        pytest.param(
            *("no_inbox", "after_publish", "doubled", "an event takes effect once"),
            marks=pytest.mark.faults,
        ),
    ],
)
def test_a_broken_promise_is_found(
    broken: str, crash: str, kind: str, promise: str, tmp_path: Path
) -> None:
    found = findings(tmp_path, broken=broken, crash=crash)
    assert any((one.kind, one.promise) == (kind, promise) for one in found), found
