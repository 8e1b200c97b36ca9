"""The desk: commands of people, of shop systems and of the service's own loops, and its timers."""

from collections.abc import Iterable

from common.errors import NotFound
from common.ids import new_id
from common.runtime import Need, Work, row, rows
from feedback import alarms, tasks
from feedback.alarms import Spike, SpikeWatch
from feedback.commands import (
    AnswerTask,
    CloseTask,
    CollectReview,
    CorrectItem,
    ItemAccepted,
    ItemCorrected,
    JudgedStream,
    JudgementRecorded,
    OpenTask,
    PolicySet,
    RecordJudgement,
    RecordProof,
    SetPolicy,
    TaskAccepted,
)
from feedback.handlers import collect, handlers, review_needs
from feedback.items import Item, correct, tagged
from feedback.policies import FeedbackPolicy, answer_by, policy_of
from feedback.sources import of_review
from feedback.tasks import Task, TaskDeadline
from feedback.taxonomy import current_taxonomy

__all__ = ["handlers"]

# -- items ---------------------------------------------------------------------------------


@handlers.command(CollectReview, needs=lambda command: review_needs(command.review))
def accept_review(command: CollectReview, work: Work) -> ItemAccepted:
    """A review handed in over HTTP: the same as one from the bus."""
    item, created = collect(of_review(command.review), work)
    return ItemAccepted(item_id=item.item_id, created=created)


@handlers.command(CorrectItem, needs=lambda c: (row(Item, c.shop_id, c.item_id),))
def correct_item(command: CorrectItem, work: Work) -> ItemCorrected:
    """A person knows better than the tagger."""
    item = work.require(Item, command.shop_id, command.item_id)
    record = correct(
        item, command.tags, command.sentiment, command.by, work.now, correction_id=new_id()
    )
    work.add(record)
    work.emit(tagged(item))
    return ItemCorrected(correction_id=record.correction_id, item_id=item.item_id)


# -- spikes --------------------------------------------------------------------------------


def _judgement_needs(command: RecordJudgement) -> Iterable[Need]:
    yield row(SpikeWatch, command.shop_id)
    yield row(FeedbackPolicy, command.shop_id)
    yield rows(Spike, "live", command.shop_id)


@handlers.command(RecordJudgement, needs=_judgement_needs)
def record_judgement(command: RecordJudgement, work: Work) -> JudgementRecorded:
    """Raise what is new, follow what is known, and open a task for whatever pages."""
    _note_judgement(command, work)
    policy = policy_of(work.get(FeedbackPolicy, command.shop_id), command.shop_id)
    unusual = {_stream(judged): judged for judged in command.unusual}
    paged: list[tuple[Spike, JudgedStream]] = []
    known: set[tuple[str, str]] = set()
    for spike in work.all(Spike, "live", command.shop_id):
        judged = unusual.get((spike.product_id, spike.tag))
        verdict = judged.verdict if judged else None
        if alarms.follow(spike, verdict, command.today, policy.rules, work.now) and judged:
            work.emit(alarms.spiked(spike))
            paged.append((spike, judged))
        # What has just ended may ring again at the next judgement, not in the same breath.
        known.add((spike.product_id, spike.tag))
    new = [judged for stream, judged in unusual.items() if stream not in known]
    for judged in new:
        spike = _raise_spike(command, judged, policy, work)
        if spike.level == "page":
            paged.append((spike, judged))
    for spike, judged in paged:
        _open_task_for(spike, judged, policy, work)
    return JudgementRecorded(spikes=len(new), tasks=len(paged))


def _stream(judged: JudgedStream) -> tuple[str, str]:
    return judged.verdict.stream.product_id, judged.verdict.stream.tag


def _note_judgement(command: RecordJudgement, work: Work) -> None:
    watch = work.get(SpikeWatch, command.shop_id)
    if watch is None:
        watch = SpikeWatch(shop_id=command.shop_id, evaluated_at=command.judged_at, streams=0)
        work.add(watch)
    watch.evaluated_at = max(watch.evaluated_at, command.judged_at)
    watch.streams = command.streams


def _raise_spike(
    command: RecordJudgement, judged: JudgedStream, policy: FeedbackPolicy, work: Work
) -> Spike:
    spike = alarms.raised(
        command.shop_id, new_id(), judged.verdict, command.today, policy.rules, work.now
    )
    work.add(spike)
    work.emit(alarms.spiked(spike))
    return spike


def _open_task_for(spike: Spike, judged: JudgedStream, policy: FeedbackPolicy, work: Work) -> None:
    owner = current_taxonomy().owner_of(spike.tag)
    task = tasks.task_for(spike, new_id(), owner, judged.evidence, policy, work.now)
    spike.task_id = task.task_id
    _hand_out(task, work)


def _hand_out(task: Task, work: Work) -> None:
    work.add(task)
    work.emit(tasks.task_opened(task))
    work.arm(
        tasks.deadline_key(task),
        task.deadline_at,
        TaskDeadline(shop_id=task.shop_id, task_id=task.task_id),
    )


# -- tasks ---------------------------------------------------------------------------------


@handlers.command(OpenTask, needs=lambda c: (row(FeedbackPolicy, c.shop_id),))
def open_task(command: OpenTask, work: Work) -> TaskAccepted:
    """A person saw what no test did."""
    policy = policy_of(work.get(FeedbackPolicy, command.shop_id), command.shop_id)
    owner = command.owner_role or current_taxonomy().owner_of(command.tag)
    task = Task(
        shop_id=command.shop_id,
        task_id=new_id(),
        spike_id=None,
        product_id=command.product_id,
        tag=command.tag,
        owner_role=owner,
        note=command.note,
        hits_before=command.hits_before,
        orders_before=command.orders_before,
        opened_at=work.now,
        deadline_at=command.deadline_at or answer_by(policy, owner, work.now),
    )
    _hand_out(task, work)
    return _accepted(task)


@handlers.command(AnswerTask, needs=lambda c: (row(Task, c.shop_id, c.task_id),))
def answer_task(command: AnswerTask, work: Work) -> TaskAccepted:
    """An answer that leaves the task open."""
    task = work.require(Task, command.shop_id, command.task_id)
    tasks.answer(task, command.text, command.by, command.role, work.now)
    return _accepted(task)


def _closing_needs(command: CloseTask) -> Iterable[Need]:
    yield row(Task, command.shop_id, command.task_id)
    yield row(FeedbackPolicy, command.shop_id)


def _its_spike(command: CloseTask, work: Work) -> Iterable[Need]:
    task = work.get(Task, command.shop_id, command.task_id)
    if task is not None and task.spike_id is not None:
        yield row(Spike, task.shop_id, task.spike_id)


@handlers.command(CloseTask, needs=_closing_needs, then=_its_spike)
def close_task(command: CloseTask, work: Work) -> TaskAccepted:
    """The last answer. The spike stays quiet for a while, then its stream is watched again."""
    task = work.require(Task, command.shop_id, command.task_id)
    policy = policy_of(work.get(FeedbackPolicy, command.shop_id), command.shop_id)
    tasks.close(task, command.outcome, command.text, command.by, command.role, policy, work.now)
    work.cancel(tasks.deadline_key(task))
    if task.spike_id is not None:
        spike = work.get(Spike, task.shop_id, task.spike_id)
        if spike is not None:
            alarms.hush(spike, policy.rules, work.now)
    work.emit(tasks.task_closed(task))
    return _accepted(task)


def _accepted(task: Task) -> TaskAccepted:
    return TaskAccepted(task_id=task.task_id, state=task.state, deadline_at=task.deadline_at)


@handlers.timer(TaskDeadline, needs=lambda timer: (row(Task, timer.shop_id, timer.task_id),))
def task_deadline(timer: TaskDeadline, work: Work) -> None:
    """Nobody closed the task in time."""
    task = work.get(Task, timer.shop_id, timer.task_id)
    if task is not None:
        tasks.miss_deadline(task, work.now)


@handlers.command(RecordProof, needs=lambda c: (row(Task, c.shop_id, c.task_id),))
def record_proof(command: RecordProof, work: Work) -> TaskAccepted:
    """Store the follow-up check, once."""
    task = work.get(Task, command.shop_id, command.task_id)
    if task is None:
        raise NotFound("the task does not exist")
    if task.proof_due_at is not None:
        task.proof, task.proof_due_at = command.proof, None
    return _accepted(task)


# -- policy --------------------------------------------------------------------------------


@handlers.command(SetPolicy, needs=lambda c: (row(FeedbackPolicy, c.shop_id),))
def set_policy(command: SetPolicy, work: Work) -> PolicySet:
    """Replace the policy that the caller looked at; edition 0 is the default policy.

    The edition is raised here and not when the row is saved, so that the second of two changes
    in one batch is refused as well.
    """
    policy = work.get(FeedbackPolicy, command.shop_id)
    command.expected.check(policy.edition if policy else 0)
    if policy is None:
        policy = FeedbackPolicy(shop_id=command.shop_id)
        work.add(policy)
    policy.deadline_hours, policy.proof_days = command.deadline_hours, command.proof_days
    policy.rules = command.rules
    policy.changed_by, policy.changed_at = command.by, work.now
    policy.edition += 1
    return PolicySet(edition=policy.edition)
