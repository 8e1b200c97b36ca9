"""What a replay found, as a structure for JSON and as tables for a terminal."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from kefu.replay.check import MESSAGE_TYPES, Books, Finding, Reached, Thread, deliveries_by_side
from kefu.replay.records import Acknowledged, Delivered, Planned

if TYPE_CHECKING:
    from rich.console import RenderableType

SHOWN_FINDINGS = 20


class Spread(Struct, frozen=True):
    """A distribution in seconds; None where nothing was measured."""

    count: int
    p50: float | None
    p99: float | None
    max: float | None

    @classmethod
    def of(cls, values: Iterable[float]) -> "Spread":
        """Nearest-rank percentiles."""
        ordered = sorted(values)
        if not ordered:
            return cls(0, None, None, None)
        rank = [ordered[max(0, math.ceil(len(ordered) * share) - 1)] for share in (0.5, 0.99)]
        return cls(len(ordered), *(round(value, 4) for value in (*rank, ordered[-1])))


class Messages(Struct, frozen=True):
    """Counts of chat messages; the last three are the verdict."""

    sent: int
    acknowledged: int
    delivered: int
    refused: int
    unplayed: int
    lost: int
    doubled: int
    out_of_order: int


class Outcome(Struct, frozen=True, kw_only=True):
    """What the services told about the run's orders, cases and feedback, read over HTTP.

    `reminders` counts by state (`sent`, `hinted`) and by the reason for which they were stopped;
    `cases` by outcome, or by state while open; `tags` by tag.
    """

    orders: Mapping[str, int] = {}
    orders_lost: Sequence[str] = ()
    reminders: Mapping[str, int] = {}
    reminders_stopped: Mapping[str, int] = {}
    reminders_twice: Sequence[str] = ()
    cases: Mapping[str, int] = {}
    cases_lost: Sequence[str] = ()
    refunded_fen: int = 0
    feedback_items: Mapping[str, int] = {}
    feedback_lost: Sequence[str] = ()
    tags: Mapping[str, int] = {}
    spikes: Sequence[Mapping[str, Any]] = ()
    tasks: Sequence[Mapping[str, Any]] = ()


class Report(Struct, frozen=True, kw_only=True):
    """The whole result. `passed` decides the exit status."""

    run: str
    shop_id: str
    file: str
    speed: float
    seconds: float
    passed: bool
    messages: Messages
    delivery_seconds: Mapping[str, Spread]
    assignments: Mapping[str, int]
    waited_seconds: Spread
    outcome: Outcome
    refusals: Mapping[str, int]
    findings: Sequence[Finding]


def count_messages(books: Books, found: Sequence[Finding], threads: Sequence[Thread]) -> Messages:
    """The counts of a run's messages."""
    planned = {intent_of(action) for action in books.messages}
    acknowledged = [action for action in books.messages if action in books.acknowledged]
    done = {intent_of(action) for action in acknowledged}
    refused = {intent_of(action) for action in books.messages if action in books.refused} - done
    kinds = _by_kind(found)
    stored = {m.message_id for thread in threads for m in thread.messages}
    reached = deliveries_by_side(books)
    return Messages(
        sent=len(planned),
        acknowledged=len(acknowledged),
        delivered=sum(
            _delivered(str(books.acknowledged[action][0].message_id), stored, reached)
            for action in acknowledged
        ),
        refused=len(refused),
        unplayed=len(planned - done - refused),
        lost=kinds["lost"],
        doubled=kinds["doubled"],
        out_of_order=kinds["out_of_order"],
    )


def _by_kind(found: Iterable[Finding]) -> Counter[str]:
    """How many messages each kind of finding concerns."""
    return Counter(kind for kind, _ in {(finding.kind, finding.message) for finding in found})


def _delivered(message_id: str, stored: set[str], reached: Mapping[str, Reached]) -> bool:
    by = reached.get(message_id)
    return message_id in stored and by is not None and bool(by.buyers) and bool(by.agents)


def delivery_times(books: Books) -> dict[str, Spread]:
    """Seconds from sending a message to its first showing at the other side's socket.

    A message that found no agent waits in the queue first; that wait is told separately.
    """
    firsts = _first_shown(books)
    to_agent: list[float] = []
    to_buyer: list[float] = []
    for action, plan in books.messages.items():
        answers = books.acknowledged.get(action)
        if not answers:
            continue
        side, into = ("agent", to_agent) if plan.actor.startswith("buyer:") else ("buyer", to_buyer)
        shown_at = firsts.get((str(answers[0].message_id), side))
        if shown_at is not None:
            into.append(max(0.0, shown_at - answers[0].sent_at))
    return {
        "all": Spread.of(to_agent + to_buyer),
        "to_agent": Spread.of(to_agent),
        "to_buyer": Spread.of(to_buyer),
    }


def _first_shown(books: Books) -> dict[tuple[str, str], float]:
    """When each message was first shown at each side, if that was by a push.

    What an agent's client loaded had waited for an agent; that wait is told by itself.
    """
    firsts: dict[tuple[str, str], Delivered] = {}
    for receiver, stream in books.streams.items():
        side = receiver.partition(":")[0]
        for record in stream:
            if isinstance(record, Delivered) and record.type in MESSAGE_TYPES:
                key = (str(record.message_id), side)
                if key not in firsts or record.at < firsts[key].at:
                    firsts[key] = record
    return {key: record.at for key, record in firsts.items() if record.via == "socket"}


def assignments(books: Books) -> tuple[dict[str, int], Spread]:
    """Assignments by agent, and how long buyers waited for them."""
    seen = [
        record
        for receiver, stream in books.streams.items()
        if receiver.startswith("buyer:")
        for record in stream
        if isinstance(record, Delivered) and record.type == "conversation.assigned"
    ]
    by_agent = Counter(str(record.agent_id) for record in seen)
    return dict(by_agent.most_common()), Spread.of(record.waited_seconds or 0.0 for record in seen)


def refusals(books: Books) -> dict[str, int]:
    """Refused actions by kind and error code, without those that a later attempt made good."""
    done = {intent_of(action) for action in books.acknowledged}
    return dict(
        Counter(
            f"{refused.kind}: {refused.status} {refused.code}"
            for action, refused in books.refused.items()
            if intent_of(action) not in done
        )
    )


def intent_of(action: str) -> str:
    """The action without the number of its attempt: `L3.1~2` is another try of `L3.1`."""
    return action.partition("~")[0]


def acknowledged_of(books: Books, kind: str) -> list[tuple[Planned, Acknowledged]]:
    """The acknowledged actions of one kind, each with its first answer."""
    return [
        (plan, books.acknowledged[action][0])
        for action, plan in books.planned.items()
        if plan.kind == kind and action in books.acknowledged
    ]


def tables(report: Report) -> "RenderableType":
    """The report for a terminal."""
    from rich.console import Group

    parts: list[RenderableType] = [_summary(report)]
    if report.findings:
        parts.append(_finding_table(report.findings))
    if report.refusals:
        parts.append("refused: " + _counts(report.refusals))
    return Group(*parts)


def _summary(report: Report) -> "RenderableType":
    from rich.table import Table

    table = Table(title=f"replay {report.run} · {report.file}", title_justify="left")
    table.add_column("", style="bold", no_wrap=True)
    table.add_column("", overflow="fold")
    for name, text in summary_rows(report):
        table.add_row(name, text)
    return table


def summary_rows(report: Report) -> list[tuple[str, str]]:
    """Label and text of each row of the closing table."""
    count, times, outcome = report.messages, report.delivery_seconds, report.outcome
    return [
        ("messages sent", str(count.sent)),
        ("acknowledged", str(count.acknowledged)),
        ("delivered", str(count.delivered)),
        ("lost", str(count.lost)),
        ("doubled", str(count.doubled)),
        ("out of order", str(count.out_of_order)),
        ("refused / unplayed", f"{count.refused} / {count.unplayed}"),
        ("time to delivery", _spread(times["all"])),
        ("  to the agent", _spread(times["to_agent"])),
        ("  to the buyer", _spread(times["to_buyer"])),
        ("assignments", f"{sum(report.assignments.values())}  ({_counts(report.assignments)})"),
        ("waited for an agent", _spread(report.waited_seconds)),
        ("orders", _counts(outcome.orders)),
        ("reminders", _counts(outcome.reminders)),
        ("reminders stopped", _counts(outcome.reminders_stopped)),
        ("cases", _counts(outcome.cases) + _yuan(outcome.refunded_fen)),
        ("feedback", _counts(outcome.feedback_items)),
        ("tags", _counts(outcome.tags)),
        ("spikes", _spikes(outcome.spikes)),
        ("tasks", _tasks(outcome.tasks)),
        ("verdict", "passed" if report.passed else "FAILED"),
    ]


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "none"


def _spread(spread: Spread) -> str:
    if spread.p50 is None or spread.p99 is None:
        return "-"
    return f"p50 {spread.p50 * 1000:.0f} ms, p99 {spread.p99 * 1000:.0f} ms  ({spread.count})"


def _yuan(fen: int) -> str:
    return f"  (refunded ¥{fen / 100:,.2f})" if fen else ""


def _spikes(spikes: Sequence[Mapping[str, Any]]) -> str:
    return "; ".join(
        f"{spike['product_id']} × {spike['tag']}: {spike['count']} (expected "
        f"{spike['expected']:.1f}, {spike['level']})"
        for spike in spikes
    ) or "none"  # fmt: skip


def _tasks(tasks: Sequence[Mapping[str, Any]]) -> str:
    return "; ".join(
        f"{task['owner_role']}: {task['product_id']} × {task['tag']}, {task['state']}"
        for task in tasks
    ) or "none"  # fmt: skip


def _finding_table(found: Sequence[Finding]) -> "RenderableType":
    from rich.table import Table

    table = Table(title=f"{len(found)} findings", title_justify="left", style="red")
    for heading in ("what", "message", "where"):
        table.add_column(heading, overflow="fold")
    for finding in found[:SHOWN_FINDINGS]:
        table.add_row(finding.kind, finding.message, finding.where)
    if len(found) > SHOWN_FINDINGS:
        table.add_row("…", f"{len(found) - SHOWN_FINDINGS} more in the report", "")
    return table
