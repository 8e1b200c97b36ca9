"""Tasks: who has to mend what by when, what they answered, and whether the complaints fell."""

from datetime import datetime, timedelta
from typing import Literal

import msgspec

from common.contracts import FeedbackTaskClosed, FeedbackTaskOpened, OwnerRole, TaskOutcome
from common.errors import Conflict
from feedback.alarms import Spike
from feedback.policies import FeedbackPolicy, answer_by

TaskState = Literal["open", "answered", "closed"]
Effect = Literal["fell", "rose", "unclear"]
CERTAIN = 0.05
"""A change of rate less likely than this under an equal rate is called one."""
MOST_ANSWERS = 50
"""Of one task, its closing not counted: a task is read, and written, with all its answers."""


class TaskClosed(Conflict):
    """A closed task takes no more answers."""

    code = "task_closed"
    title = "任务已关闭 / Task is closed"
    hint = "Open a new task if there is more to do."


class TooManyAnswers(Conflict):
    """A task with so many answers needs a decision, not one more."""

    code = "too_many_answers"
    title = "任务答复过多 / Too many answers"
    hint = "Close the task, which takes a last answer, and open a new one if there is more to do."


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """One of the complaints behind a task."""

    item_id: str
    excerpt: str
    occurred_at: datetime


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody says about a task, before or while closing it."""

    by: str
    role: str
    text: str
    at: datetime


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """Complaints and orders before and after; rates are complaints per 100 orders.

    `final` proofs are stored `proof_days` after closing; until then the figures still move.
    """

    hits_before: int
    orders_before: int
    hits_after: int
    orders_after: int
    rate_before: float
    rate_after: float | None
    p_value: float
    effect: Effect
    from_day: str
    to_day: str
    final: bool


class Task(msgspec.Struct, kw_only=True):
    """A task. `overdue` stays set once the deadline passed without a closing."""

    shop_id: str
    task_id: str
    spike_id: str | None
    product_id: str
    tag: str
    owner_role: OwnerRole
    state: TaskState = "open"
    overdue: bool = False
    note: str = ""
    evidence: tuple[Evidence, ...] = ()
    answers: tuple[Answer, ...] = ()
    hits_before: int = 0
    orders_before: int = 0
    opened_at: datetime
    deadline_at: datetime
    outcome: TaskOutcome | None = None
    closed_by: str | None = None
    closed_at: datetime | None = None
    proof_due_at: datetime | None = None
    proof: Proof | None = None
    version: int = 0


class TaskDeadline(msgspec.Struct, frozen=True, kw_only=True):
    """Timer: the deadline of a task has come."""

    shop_id: str
    task_id: str


def deadline_key(task: Task) -> str:
    """The key of a task's deadline timer."""
    return f"task_deadline:{task.shop_id}:{task.task_id}"


def task_for(
    spike: Spike,
    task_id: str,
    owner: OwnerRole,
    evidence: tuple[Evidence, ...],
    policy: FeedbackPolicy,
    now: datetime,
) -> Task:
    """The task that a paged spike opens."""
    return Task(
        shop_id=spike.shop_id,
        task_id=task_id,
        spike_id=spike.spike_id,
        product_id=spike.product_id,
        tag=spike.tag,
        owner_role=owner,
        evidence=evidence,
        hits_before=spike.count,
        orders_before=spike.exposure_orders,
        opened_at=now,
        deadline_at=answer_by(policy, owner, now),
    )


def answer(task: Task, text: str, by: str, role: str, now: datetime) -> None:
    """Record an answer that leaves the task open.

    `TaskClosed` when it comes too late, `TooManyAnswers` when there are `MOST_ANSWERS` already.
    """
    require_open(task)
    if len(task.answers) >= MOST_ANSWERS:
        raise TooManyAnswers(
            "this task has all the answers that it takes", extra={"most": MOST_ANSWERS}
        )
    _record(task, text, by, role, now)
    task.state = "answered"


def _record(task: Task, text: str, by: str, role: str, now: datetime) -> None:
    task.answers = (*task.answers, Answer(by=by, role=role, text=text, at=now))


def close(
    task: Task,
    outcome: TaskOutcome,
    text: str,
    by: str,
    role: str,
    policy: FeedbackPolicy,
    now: datetime,
) -> None:
    """Close a task with its last answer; `TaskClosed` when somebody already did."""
    require_open(task)
    _record(task, text, by, role, now)
    task.state, task.outcome = "closed", outcome
    task.closed_by, task.closed_at = by, now
    task.proof_due_at = now + timedelta(days=policy.proof_days)


def miss_deadline(task: Task, now: datetime) -> None:
    """Mark a task that nobody closed in time; a timer that fires early changes nothing."""
    if task.state != "closed" and now >= task.deadline_at:
        task.overdue = True


def require_open(task: Task) -> None:
    """`TaskClosed` when the task is closed."""
    if task.state == "closed":
        raise TaskClosed("this task was closed before")


def prove(
    task: Task, hits_after: int, orders_after: int, days: tuple[str, str], final: bool
) -> Proof:
    """Whether the rate fell after the task was closed.

    Given all complaints of both periods, those after follow a binomial law if nothing changed:
    the exact conditional test of two Poisson rates, one-sided in the direction seen.
    """
    before, after = task.hits_before, hits_after
    exposure = max(task.orders_before, 1), max(orders_after, 0)
    p_value = _change_p(before, after, exposure)
    return Proof(
        hits_before=before,
        orders_before=task.orders_before,
        hits_after=after,
        orders_after=orders_after,
        rate_before=100 * before / exposure[0],
        rate_after=100 * after / exposure[1] if exposure[1] else None,
        p_value=p_value,
        effect=_effect(before, after, exposure, p_value),
        from_day=days[0],
        to_day=days[1],
        final=final,
    )


def _change_p(before: int, after: int, exposure: tuple[int, int]) -> float:
    from scipy.special import bdtr, bdtrc

    total = before + after
    if not total or not exposure[1]:
        return 1.0
    share = exposure[1] / sum(exposure)
    if after * exposure[0] < before * exposure[1]:
        return float(bdtr(after, total, share))
    return float(bdtrc(after - 1, total, share)) if after else 1.0


def _effect(before: int, after: int, exposure: tuple[int, int], p_value: float) -> Effect:
    if p_value > CERTAIN:
        return "unclear"
    return "fell" if after * exposure[0] < before * exposure[1] else "rose"


def task_opened(task: Task) -> FeedbackTaskOpened:
    """The event that hands a task to its department."""
    return FeedbackTaskOpened(
        shop_id=task.shop_id,
        task_id=task.task_id,
        spike_id=task.spike_id,
        product_id=task.product_id,
        tag=task.tag,
        owner_role=task.owner_role,
        note=task.note,
        deadline_at=task.deadline_at,
        opened_at=task.opened_at,
    )


def task_closed(task: Task) -> FeedbackTaskClosed:
    """The event that tells what became of a task. Only for closed tasks."""
    assert task.outcome is not None
    assert task.closed_by is not None
    assert task.closed_at is not None
    return FeedbackTaskClosed(
        shop_id=task.shop_id,
        task_id=task.task_id,
        product_id=task.product_id,
        tag=task.tag,
        answer=task.answers[-1].text,
        outcome=task.outcome,
        closed_by=task.closed_by,
        closed_at=task.closed_at,
    )
