"""R8: SIGTERM with work in hand. R10: a disk that takes nothing more."""

import resource
import time
from pathlib import Path

import httpx
import pytest

from tests.faults.chaos import ENGINES, engine, settled
from tests.faults.load import start_load
from tests.faults.test_outages import Shop, require_clear_answer
from tests.support.cluster import Cluster, embedded_cluster

pytestmark = pytest.mark.faults

LOAD_SECONDS = 240.0
GRACE_SECONDS = 30.0
FULL_SECONDS = 4.0
SMALLEST_FILE = 8192


@pytest.mark.timeout(400)
@pytest.mark.parametrize("name", ENGINES)
def test_sigterm_under_load_ends_in_time_and_loses_nothing(name: str, tmp_path: Path) -> None:
    with engine(name, tmp_path / "home") as cluster:
        load = start_load(cluster, tmp_path, "load", seed=8, buyers=40, minutes=0.4)
        for process in cluster.processes:
            time.sleep(3)
            status, seconds = process.terminate(GRACE_SECONDS)
            assert (status, seconds < GRACE_SECONDS) == (0, True), process.log_tail()
            process.start()
            process.wait_ready()
        found = load.finish(LOAD_SECONDS) + settled(cluster, [load.journal])
    assert not found, "\n".join(map(str, found[:30]))


def fill_disk(cluster: Cluster, *, full: bool) -> None:
    """From now on no file of the process may grow beyond a few pages; or any may again."""
    unlimited = resource.RLIM_INFINITY
    soft = SMALLEST_FILE if full else unlimited
    for process in cluster.processes:
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (soft, unlimited))


@pytest.mark.timeout(300)
@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="limits of a live process: Linux")
def test_a_full_disk_is_told_clearly_and_overcome_without_a_restart(tmp_path: Path) -> None:
    with embedded_cluster(tmp_path / "home") as cluster:
        shop = Shop(cluster)
        load = start_load(cluster, tmp_path, "load", seed=6, buyers=25, minutes=0.3)
        assert shop.tell("before").is_success
        answers: list[httpx.Response] = []
        fill_disk(cluster, full=True)
        try:
            until = time.monotonic() + FULL_SECONDS
            while time.monotonic() < until:
                answers.append(shop.tell(f"full-{len(answers)}"))
                require_clear_answer(answers[-1])
        finally:
            fill_disk(cluster, full=False)
        assert {answer.status_code for answer in answers} == {503}
        found = load.finish(LOAD_SECONDS) + settled(cluster, [load.journal])
        assert not found, "\n".join(map(str, found[:30]))
        assert shop.tell("after").is_success
        assert all(shop.knows(name) for name in shop.accepted)
        assert cluster.processes[0].running
