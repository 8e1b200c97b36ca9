"""From a script to lanes of steps: who does what, in which order, no earlier than when.

Pure: the same script and run give the same plan, so a replay that was killed finds its way back.
"""

from collections.abc import Iterable

from msgspec import Struct

from kefu.replay.names import Names
from kefu.replay.script import Line, Numbered, Script


class Step(Struct, frozen=True):
    """One line to be played by one lane. `buyer` is the buyer's id in this run."""

    id: str
    lane: str
    at: float
    action: str
    line: Line
    buyer: str | None = None

    @property
    def bare(self) -> bool:
        """Whether the line came without buyer or time: a dialogue that stands alone."""
        return self.action == "turns" and self.line.buyer is None


class Phase(Struct, frozen=True):
    """Lanes that run side by side; the next phase begins when all have ended."""

    lanes: dict[str, tuple[Step, ...]]


class Plan(Struct, frozen=True):
    """Everything that will be played. `policy` holds from before the first step to the end."""

    policy: dict[str, object]
    phases: tuple[Phase, ...]

    @property
    def steps(self) -> list[Step]:
        """Every step, phase by phase and lane by lane."""
        return [step for phase in self.phases for lane in phase.lanes.values() for step in lane]

    @property
    def buyers(self) -> list[str]:
        """Every buyer of the plan, in the order of appearance."""
        return list(dict.fromkeys(step.buyer for step in self.steps if step.buyer))


def make_plan(script: Script, names: Names) -> Plan:
    """The lanes of a script: one per buyer, one per agent whose presence changes."""
    policy: dict[str, object] = {}
    phases: list[list[Step]] = [[]]
    for numbered in script.lines:
        if numbered.line.policy is not None:
            policy |= numbered.line.policy
        elif numbered.line.barrier is not None:
            phases.append([])
        else:
            phases[-1].append(_step(numbered, names))
    return Plan(policy, tuple(Phase(_lanes(steps)) for steps in phases if steps))


def _step(numbered: Numbered, names: Names) -> Step:
    line, step_id = numbered.line, f"L{numbered.number}"
    if numbered.action == "presence" and line.buyer is None:
        return Step(step_id, f"agent:{line.agent}", line.at, numbered.action, line)
    buyer = names.buyer(line.buyer or f"b{numbered.number:05d}")
    return Step(step_id, f"buyer:{buyer}", line.at, numbered.action, line, buyer)


def _lanes(steps: Iterable[Step]) -> dict[str, tuple[Step, ...]]:
    lanes: dict[str, list[Step]] = {}
    for step in steps:
        lanes.setdefault(step.lane, []).append(step)
    return {lane: tuple(of_lane) for lane, of_lane in lanes.items()}
