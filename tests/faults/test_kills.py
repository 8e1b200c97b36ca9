"""R1 in its short form: a few kills under load on each engine (make test-faults does many)."""

import os
from pathlib import Path

import pytest

from tests.faults.chaos import engine, run

KILLS = int(os.environ.get("KEFU_TEST_KILLS", "3"))
SEED = int(os.environ.get("KEFU_TEST_SEED", "20"))


@pytest.mark.slow
@pytest.mark.timeout(240 + 30 * KILLS)
@pytest.mark.parametrize("name", ["embedded", pytest.param("real", marks=pytest.mark.faults)])
def test_kills_under_load_lose_and_double_nothing(name: str, tmp_path: Path) -> None:
    print(f"seed {SEED}")
    with engine(name, tmp_path / "home") as cluster:
        outcome = run(cluster, tmp_path, kills=KILLS, seed=SEED, buyers=50, minutes=0.5)
    print(outcome.line())
    assert outcome.kills >= KILLS
    assert not outcome.findings, "\n".join(map(str, outcome.findings[:30]))
