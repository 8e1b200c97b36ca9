"""`python -m tests.faults --kills N --seed S --engine embedded|real|both`.

Prints the seed first and the verdict last: `N kills, N lost, N doubled, N out of order`. With
both engines each gets N kills and a line of its own, and the last line has the findings of both.
The exit status is 0 only if nothing was lost, doubled or out of order.
"""

import argparse
import secrets
import shutil
import sys
import tempfile
from pathlib import Path

from tests.faults.chaos import ENGINES, Outcome, engine, run

SHOWN_FINDINGS = 50


def main(arguments: list[str] | None = None) -> int:
    """Runs the kills and prints what came of it; the exit status."""
    options = _options(arguments)
    _say(f"seed {options.seed}  (repeat with --seed {options.seed})")
    names = ENGINES if options.engine == "both" else (options.engine,)
    outcomes = [_run(name, options) for name in names]
    together = Outcome(
        kills=min(outcome.kills for outcome in outcomes),
        findings=[finding for outcome in outcomes for finding in outcome.findings],
    )
    _say(together.line())
    return 1 if together.findings else 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000))
    parser.add_argument("--engine", choices=(*ENGINES, "both"), default="both")
    parser.add_argument("--buyers", type=int, default=120, help="per round of load")
    parser.add_argument("--minutes", type=float, default=1.5, help="per round of load")
    parser.add_argument("--keep", type=Path, help="folder for journals, logs and data")
    return parser.parse_args(arguments)


def _run(name: str, options: argparse.Namespace) -> Outcome:
    folder = (options.keep or Path(tempfile.mkdtemp(prefix="kefu-faults-"))) / name
    with engine(name, folder / "home") as cluster:
        outcome = run(
            cluster, folder, kills=options.kills, seed=options.seed, buyers=options.buyers,
            minutes=options.minutes,
        )  # fmt: skip
    for finding in outcome.findings[:SHOWN_FINDINGS]:
        _say(str(finding))
    _say(f"{name}: {outcome.line()} ({outcome.pauses} pauses, {outcome.rounds} rounds of load)")
    if not outcome.findings and options.keep is None:
        shutil.rmtree(folder.parent, ignore_errors=True)
    else:
        _say(f"{name}: journals, logs and data are in {folder}")
    return outcome


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
