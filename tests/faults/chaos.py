"""Kills and pauses, round after round of load, until the number of kills is reached.

Everything that is chosen (whom, when, for how long) comes from the seed; a run is repeated by
it as far as a machine repeats itself.
"""

import random
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.checker import Finding, check
from tests.faults.evidence import gather
from tests.faults.load import start_load
from tests.parts import KafkaNode, PostgresNode
from tests.support.cluster import Cluster, Process, embedded_cluster, real_cluster

ENGINES = ("embedded", "real")
PAUSE_SHARE = 0.15
AGAIN_SHARE = 0.15
PAUSE_SECONDS = (0.5, 6.0)
DOWN_SECONDS = (0.0, 1.0)
CALM_SECONDS = (0.2, 2.5)
ROUND_SECONDS = 600.0
SETTLED_SECONDS = 90.0


@dataclass(slots=True)
class Outcome:
    """What a run did and what it found."""

    kills: int = 0
    pauses: int = 0
    rounds: int = 0
    findings: list[Finding] = field(default_factory=list)

    def line(self) -> str:
        """The verdict in one line."""
        kinds = Counter(finding.kind for finding in self.findings)
        return (
            f"{self.kills} kills, {kinds['lost']} lost, {kinds['doubled']} doubled, "
            f"{kinds['out_of_order']} out of order"
        )


@contextmanager
def engine(name: str, home: Path, *, module: str = "kefu") -> Iterator[Cluster]:
    """A cluster of its own: the embedded process, or four services on own Kafka and PostgreSQL."""
    if name == "embedded":
        with embedded_cluster(home, module=module) as cluster:
            yield cluster
        return
    with PostgresNode(own=True, fsync=False) as postgres, KafkaNode(own=True) as kafka:
        url = postgres.create_database()
        with real_cluster(home, kafka=kafka.url, database_url=url, module=module) as cluster:
            yield cluster


class Chaos:
    """Hurts the processes of a cluster, one at a time."""

    def __init__(self, cluster: Cluster, seed: int, outcome: Outcome) -> None:
        self._cluster = cluster
        self._chance = random.Random(seed)
        self._outcome = outcome
        self._turn = 0

    def victim(self) -> Process:
        """Every process in turn at first, then whoever it hits."""
        processes = self._cluster.processes
        if self._turn < len(processes):
            self._turn += 1
            return processes[self._turn - 1]
        return self._chance.choice(processes)

    def hurt(self) -> None:
        """One kill or pause; returns when the victim serves again."""
        victim = self.victim()
        if self._turn >= len(self._cluster.processes) and self._chance.random() < PAUSE_SHARE:
            self._pause(victim)
        else:
            self._kill(victim)
        victim.wait_ready()
        time.sleep(self._chance.uniform(*CALM_SECONDS))

    def _pause(self, victim: Process) -> None:
        victim.pause()
        time.sleep(self._chance.uniform(*PAUSE_SECONDS))
        victim.resume()
        self._outcome.pauses += 1

    def _kill(self, victim: Process) -> None:
        victim.kill()
        self._outcome.kills += 1
        time.sleep(self._chance.uniform(*DOWN_SECONDS))
        victim.start()
        if self._chance.random() < AGAIN_SHARE:  # once more, while it is coming up
            time.sleep(self._chance.uniform(0.1, 3.0))
            victim.kill()
            self._outcome.kills += 1
            victim.start()


def run(
    cluster: Cluster, folder: Path, *, kills: int, seed: int, buyers: int, minutes: float
) -> Outcome:
    """Rounds of load under kills until there were `kills`; stops at the first finding."""
    outcome = Outcome()
    chaos = Chaos(cluster, seed, outcome)
    journals: list[Path] = []
    while outcome.kills < kills and not outcome.findings:
        outcome.rounds += 1
        name = f"r{outcome.rounds}"
        load = start_load(
            cluster, folder, name, seed=seed + outcome.rounds, buyers=buyers, minutes=minutes
        )
        journals.append(load.journal)
        while load.running and outcome.kills < kills:
            chaos.hurt()
            _tell(f"{name}: {outcome.kills} kills, {outcome.pauses} pauses")
        outcome.findings += load.finish(ROUND_SECONDS)
        outcome.findings += settled(cluster, journals)
    return outcome


def settled(
    cluster: Cluster,
    journals: Sequence[Path],
    seconds: float = SETTLED_SECONDS,
    letters: Sequence[str] = (),
) -> list[Finding]:
    """The findings once all is quiet: what is still on its way gets `seconds` to arrive."""
    deadline = time.monotonic() + seconds
    while True:
        found = check(gather(cluster, journals), letters=letters)
        # What is doubled or out of order stays so; what is lost may only be late.
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(1.0)


def _tell(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
