"""`kefu replay` as the tests run it: small files, its report, and a process that can be killed."""

import json
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.cluster import Cluster

TIMEOUT = 150


def dialogues(count: int, rounds: int = 3) -> list[dict[str, Any]]:
    """Bare dialogues of a buyer and the shop in turn."""
    return [
        {
            "turns": [
                {"from": side, "text": f"{text} {n}-{round_}"}
                for round_ in range(rounds)
                for side, text in (("buyer", "请问还有货吗"), ("shop", "亲,有的"))
            ]
        }
        for n in range(count)
    ]


def write_lines(path: Path, lines: Iterable[object]) -> Path:
    """A file to replay."""
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), "utf-8")
    return path


@dataclass
class Played:
    """How a replay ended."""

    status: int
    output: str
    report: dict[str, Any]


def start_replay(
    cluster: Cluster, file: Path, *options: str, report: Path
) -> "subprocess.Popen[str]":
    """Starts `kefu replay`."""
    return subprocess.Popen(
        [
            sys.executable, "-m", "kefu", "replay", str(file), *cluster.url_options(),
            "--report", str(report), *options,
        ],
        env=cluster.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def finished(process: "subprocess.Popen[str]", report: Path) -> Played:
    """Waits for its end."""
    output, _ = process.communicate(timeout=TIMEOUT)
    found = json.loads(report.read_text("utf-8")) if report.exists() else {}
    return Played(process.returncode, output, found)


def play(cluster: Cluster, file: Path, *options: str) -> Played:
    """Plays a file to its end."""
    report = file.with_suffix(".report.json")
    report.unlink(missing_ok=True)
    return finished(start_replay(cluster, file, *options, report=report), report)


def verdict(report: dict[str, Any]) -> tuple[int, int, int]:
    """Lost, doubled, out of order."""
    counts = report["messages"]
    return counts["lost"], counts["doubled"], counts["out_of_order"]
