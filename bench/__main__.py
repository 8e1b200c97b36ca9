"""`python -m bench [--only P1] [--quick]`: measure beside the peers.

Exit status 0 only if every mark that was measured is reached.
"""

import argparse
import asyncio
import logging
import sys
from collections.abc import Sequence

from bench import costs, first_answer, growth, latency, machine, memory, report, throughput, timers
from bench.measures import Finding
from bench.screen import FULL, QUICK, Effort, Screen
from bench.stage import Stage
from tests.parts import PartUnavailable

BENCHMARKS = {
    "P1": throughput.run,
    "P2": latency.run,
    "P4": timers.run,
    "P9": memory.run,
    "P10": first_answer.run,
    "P11": growth.run,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", action="append", choices=list(BENCHMARKS), help="repeatable")
    parser.add_argument("--quick", action="store_true", help="one short round: does it run?")
    parser.add_argument("--rounds", type=int, default=0, help="rounds of A B A B")
    parser.add_argument("--write-costs", action="store_true", help="keep new counts for CI's gate")
    given = parser.parse_args(arguments)
    # The broker's leaders take a moment after a topic is made; aiokafka tells of each retry.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    if given.write_costs:
        return write_costs()
    effort = QUICK if given.quick else FULL
    if given.rounds:
        effort = Effort(given.rounds, effort.scale)
    try:
        return asyncio.run(measure(given.only or list(BENCHMARKS), effort))
    except PartUnavailable as reason:
        print(reason, file=sys.stderr)
        return 1


def write_costs() -> int:
    """Count, and keep the counts that CI holds changes to."""
    version, found = asyncio.run(costs.measured())
    costs.write(version, found)
    print(f"Written to {costs.BASELINE}: see what changed before you commit it.")
    return 0


async def measure(names: Sequence[str], effort: Effort) -> int:
    """Measure, report, and say by the status whether all marks are reached."""
    screen = Screen()
    findings: list[Finding] = []
    with Stage() as stage, screen.progress:
        await stage.make_topics()
        about = await machine.described(stage)
        for name in names:
            found = await BENCHMARKS[name](stage, effort, screen)
            findings.extend(found)
            report.save(findings, about)
            await stage.settle()
    report.show(findings, screen.console)
    screen.say(f"Written to {report.RESULTS}: summary.json, table.md, plot.png")
    return 0 if all(finding.reached for finding in findings) else 1


if __name__ == "__main__":
    sys.exit(main())
