"""`kefu load` as a child process: clients that survive whatever happens to the system."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.faults.checker import Finding
from tests.parts.daemon import Daemon, wait_until
from tests.support.cluster import Cluster

PASSED, FINDINGS = 0, 1
PATIENCE_SECONDS = 180
SETTLE_SECONDS = 90


@dataclass(slots=True)
class Load:
    """One festival day played against a cluster."""

    journal: Path
    report: Path
    log: Path
    command: list[str]
    daemon: Daemon

    @property
    def running(self) -> bool:
        """Whether it still plays."""
        return self.daemon.running

    def finish(self, within: float) -> list[Finding]:
        """Waits for the end; what its own checker found. `AssertionError` when it hangs."""
        if not wait_until(lambda: not self.running, within):
            self.daemon.kill()
            raise AssertionError(f"the load did not end within {within:g} s:\n{self.log_tail()}")
        if self.daemon.status not in (PASSED, FINDINGS):
            raise AssertionError(f"the load ended with {self.daemon.status}:\n{self.log_tail()}")
        return list(_findings(json.loads(self.report.read_bytes())["report"]))

    def kill(self) -> None:
        """Ends it at once."""
        self.daemon.kill()

    def log_tail(self) -> str:
        """The end of what it printed."""
        return self.log.read_text(errors="replace")[-4000:]


def start_load(
    cluster: Cluster, folder: Path, name: str, *, seed: int, buyers: int, minutes: float
) -> Load:
    """Starts a day; its journal and report lie in `folder` under `name`."""
    folder.mkdir(parents=True, exist_ok=True)
    journal, report = folder / f"{name}.jsonl", folder / f"{name}.json"
    options = {
        "--profile": "festival", "--buyers": buyers, "--minutes": minutes, "--seed": seed,
        "--journal": journal, "--report": report, "--run": name, "--patience": PATIENCE_SECONDS,
        "--settle": SETTLE_SECONDS,
    }  # fmt: skip
    if not cluster.embedded:
        options["--bus"] = f"kafka://{cluster.kafka}"
    flags = [str(part) for option in options.items() for part in option]
    command = [sys.executable, "-m", "kefu", "load", *flags, *cluster.url_options()]
    log = folder / f"{name}.log"
    return Load(journal, report, log, command, Daemon(command, log=log, env=cluster.env))


def _findings(report: dict[str, Any]) -> list[Finding]:
    """The load's own findings, and what it could not play: nobody may be turned away."""
    found = [
        Finding(one["kind"], "load", f"{one['message']} {one['where']}")
        for one in report["findings"]
    ]
    found += [
        Finding("lost", "load", f"refused {count} × {what}")
        for what, count in report["refusals"].items()
    ]
    if unplayed := report["messages"]["unplayed"]:
        found.append(Finding("lost", "load", f"{unplayed} messages unplayed"))
    return found
