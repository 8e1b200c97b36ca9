"""Tasks: what a department has to mend, its answers, and whether the complaints fell."""

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Response
from pydantic import Field

from common.contracts import OwnerRole, TaskOutcome
from common.errors import InvalidInput, NotFound
from common.web.etags import etag
from common.web.idempotency import IdempotencyKey
from common.web.pages import Moment, Page, PageQuery, page_of
from common.web.serving import RunningService
from common.web.types import AwareDatetime, Body, ExternalId, Text, Uuid, View
from feedback import store
from feedback.api.callers import Reader, TagName
from feedback.commands import AnswerTask, CloseTask, OpenTask
from feedback.days import shop_day
from feedback.judging import parts_of, policy_of_shop, proof_of
from feedback.judging import state as stored_state
from feedback.tasks import Task
from feedback.taxonomy import current_taxonomy

router = APIRouter(prefix="/v1/tasks", tags=["tasks"])

TaskPath = Annotated[Uuid, Path(description="A task.")]


class EvidenceView(View):
    """One of the complaints behind a task."""

    item_id: str
    excerpt: str
    occurred_at: AwareDatetime


class AnswerView(View):
    """What somebody said about a task."""

    by: str
    role: str
    text: str
    at: AwareDatetime


class ProofView(View):
    """Complaints per 100 orders before and after. `final` figures no longer move."""

    hits_before: int
    orders_before: int
    hits_after: int
    orders_after: int
    rate_before: float
    rate_after: float | None
    p_value: float
    effect: Literal["fell", "rose", "unclear"]
    from_day: str
    to_day: str
    final: bool


class TaskView(View):
    """A task."""

    task_id: str
    spike_id: str | None
    product_id: str
    tag: str
    owner_role: OwnerRole
    state: Literal["open", "answered", "closed"]
    overdue: bool
    note: str
    evidence: list[EvidenceView]
    answers: list[AnswerView]
    opened_at: AwareDatetime
    deadline_at: AwareDatetime
    outcome: TaskOutcome | None
    closed_by: str | None
    closed_at: AwareDatetime | None
    proof: ProofView | None = Field(description="Null until the task is closed.")
    version: int


class NewTask(Body):
    """A task that a person opens."""

    product_id: ExternalId
    tag: TagName
    owner_role: OwnerRole | None = Field(None, description="By default the tag's department.")
    note: Annotated[Text, Field(max_length=1000)] | Literal[""] = ""
    deadline_at: AwareDatetime | None = Field(None, description="By default as the policy says.")


class NewAnswer(Body):
    """An answer that leaves the task open."""

    text: Text


class NewClosing(Body):
    """The last answer."""

    answer: Text
    outcome: TaskOutcome


class TaskAccepted(View):
    """The task after what was asked."""

    task_id: str
    state: str
    deadline_at: AwareDatetime


@router.get("")
async def list_tasks(
    caller: Reader,
    service: RunningService,
    page: PageQuery,
    state: Literal["open", "answered", "closed"] | None = None,
    owner: Annotated[OwnerRole | None, Query(description="Only this department's.")] = None,
    overdue: bool | None = None,
) -> Page[TaskView]:
    """Tasks, newest first."""
    filters = {"state": state, "owner_role": owner, "overdue": overdue}
    before = page.after(tuple[Moment, str])
    async with service.database.read() as conn:
        found = await store.tasks_page(
            conn, caller.shop_id, filters=filters, before=before, limit=page.limit + 1
        )
    views = [TaskView.model_validate(dict(row)) for row in found]
    return page_of(views, page.limit, lambda task: (task.opened_at, task.task_id))


@router.get("/{task_id}")
async def get_task(
    caller: Reader, service: RunningService, task_id: TaskPath, response: Response
) -> TaskView:
    """One task; for a closed one whether the complaints have fallen since."""
    async with service.database.read() as conn:
        found = await store.one(conn, store.TASKS, caller.shop_id, task_id)
        if found is None:
            raise NotFound("there is no such task")
        task = stored_state(Task, found)
        if task.state == "closed" and task.proof is None:
            task.proof = await proof_of(conn, task, service.clock(), final=False)
    response.headers["ETag"] = etag(task.version)
    return TaskView.model_validate(task)


@router.post("", status_code=201)
async def open_task(
    caller: Reader, service: RunningService, body: NewTask, key: IdempotencyKey
) -> TaskAccepted:
    """Open a task without waiting for a spike."""
    if body.tag not in current_taxonomy().tag_ids():
        raise InvalidInput("the tag is not in the taxonomy")
    now = service.clock()
    if body.deadline_at is not None and body.deadline_at <= now:
        raise InvalidInput("the deadline has passed already")
    shop_id, today = caller.shop_id, shop_day(now)
    async with service.database.read() as conn:
        policy = await policy_of_shop(conn, shop_id)
        days = parts_of(today, policy.rules)["window"]
        hits = await store.tag_totals(conn, shop_id, body.product_id, *days)
        orders = await store.orders_total(conn, shop_id, body.product_id, *days)
    command = OpenTask(
        shop_id=shop_id,
        hits_before=hits.get(body.tag, 0),
        orders_before=orders,
        **body.model_dump(),
    )
    return TaskAccepted.model_validate(await service.submit(command, key))


@router.post("/{task_id}/answers", status_code=201)
async def answer_task(
    caller: Reader,
    service: RunningService,
    task_id: TaskPath,
    body: NewAnswer,
    key: IdempotencyKey,
) -> TaskAccepted:
    """Say where the task stands."""
    command = AnswerTask(
        shop_id=caller.shop_id,
        task_id=task_id,
        text=body.text,
        by=caller.subject,
        role=caller.acting_as().value,
    )
    return TaskAccepted.model_validate(await service.submit(command, key))


@router.post("/{task_id}/closings", status_code=201)
async def close_task(
    caller: Reader,
    service: RunningService,
    task_id: TaskPath,
    body: NewClosing,
    key: IdempotencyKey,
) -> TaskAccepted:
    """Close the task with its last answer."""
    command = CloseTask(
        shop_id=caller.shop_id,
        task_id=task_id,
        text=body.answer,
        outcome=body.outcome,
        by=caller.subject,
        role=caller.acting_as().value,
    )
    return TaskAccepted.model_validate(await service.submit(command, key))
