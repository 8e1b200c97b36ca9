"""Commands: what people and shop systems ask of this service, and the answers they get."""

from datetime import datetime

import msgspec

from common.contracts import OwnerRole, Sentiment, ShopReview, TaskOutcome
from common.web.etags import ExpectedVersion
from feedback.spikes import SpikeRules, Verdict
from feedback.tasks import Evidence, Proof


class CollectReview(msgspec.Struct, frozen=True, kw_only=True):
    """A review handed in over HTTP."""

    review: ShopReview


class ItemAccepted(msgspec.Struct, frozen=True, kw_only=True):
    """The item of a review, and whether this was the first time it was seen."""

    item_id: str
    created: bool


class CorrectItem(msgspec.Struct, frozen=True, kw_only=True):
    """A person sets an item's tags and sentiment."""

    shop_id: str
    item_id: str
    tags: tuple[str, ...]
    sentiment: Sentiment
    by: str


class ItemCorrected(msgspec.Struct, frozen=True, kw_only=True):
    """The stored correction."""

    correction_id: str
    item_id: str


class JudgedStream(msgspec.Struct, frozen=True, kw_only=True):
    """An unusual stream, with the department and the complaints for a task."""

    verdict: Verdict
    evidence: tuple[Evidence, ...] = ()


class RecordJudgement(msgspec.Struct, frozen=True, kw_only=True):
    """The spike test has judged all streams of a shop; `unusual` are those with a level.

    `streams` is how many streams the test was over: every product in every tag in use, complained
    of or not. It is the number that the q-values are relative to.
    """

    shop_id: str
    today: str
    judged_at: datetime
    streams: int
    unusual: tuple[JudgedStream, ...]


class JudgementRecorded(msgspec.Struct, frozen=True, kw_only=True):
    """How many spikes and tasks came out of it."""

    spikes: int
    tasks: int


class OpenTask(msgspec.Struct, frozen=True, kw_only=True):
    """A person opens a task without waiting for a spike."""

    shop_id: str
    product_id: str
    tag: str
    owner_role: OwnerRole | None
    note: str
    deadline_at: datetime | None
    hits_before: int = 0
    orders_before: int = 0


class AnswerTask(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody says where a task stands."""

    shop_id: str
    task_id: str
    text: str
    by: str
    role: str


class CloseTask(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody closes a task with an answer and an outcome."""

    shop_id: str
    task_id: str
    text: str
    outcome: TaskOutcome
    by: str
    role: str


class TaskAccepted(msgspec.Struct, frozen=True, kw_only=True):
    """The task after a command."""

    task_id: str
    state: str
    deadline_at: datetime


class RecordProof(msgspec.Struct, frozen=True, kw_only=True):
    """The follow-up check of a closed task."""

    shop_id: str
    task_id: str
    proof: Proof


class SetPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """A shop's new policy, in place of the `expected` one."""

    shop_id: str
    deadline_hours: dict[OwnerRole, int]
    proof_days: int
    rules: SpikeRules
    by: str
    expected: ExpectedVersion


class PolicySet(msgspec.Struct, frozen=True, kw_only=True):
    """The edition that now holds: the new ETag."""

    edition: int
