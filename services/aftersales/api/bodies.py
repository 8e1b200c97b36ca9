"""What aftersales takes and answers over HTTP."""

from datetime import datetime
from typing import Annotated

from pydantic import Field, StringConstraints

from aftersales.cases import Case, CaseEntry, Origin
from aftersales.policies import AnyOr, DeadlinePolicy, Goods, PolicyBook, WaitingState
from common.contracts import (
    ActorRole,
    CaseOutcome,
    CaseState,
    DeadlineAction,
    Platform,
    RefundKind,
    RefundPhase,
    RefundStatus,
)
from common.web.types import (
    AwareDatetime,
    Body,
    ExternalId,
    Fen,
    Line,
    ShopId,
    Text,
    Uuid,
    Version,
    View,
)

Url = Annotated[
    str,
    StringConstraints(max_length=2000, pattern=r"^https?://[\x21-\x7e]+$"),
    Field(description="An absolute http or https address."),
]
RefusalReason = Annotated[
    str,
    StringConstraints(min_length=2, max_length=200, pattern=r"^[^\x00-\x1f\x7f-\x9f]+$"),
    Field(description="What the buyer will read: 2 to 200 characters."),
]
Reason = Annotated[
    str,
    StringConstraints(min_length=1, max_length=500, pattern=r"^[^\x00-\x1f\x7f-\x9f]+$"),
    Field(description="Why the buyer asks for it.", examples=["质量问题"]),
]
Remark = Annotated[
    str,
    StringConstraints(max_length=500, pattern=r"^[^\x00-\x1f\x7f-\x9f]*$"),
    Field(description="Kept in the history."),
]


class NewCase(Body):
    """A case to be opened. Left out: `line_id` for the whole order, `amount_fen` for all of it."""

    shop_id: ShopId | None = None
    order_id: ExternalId
    line_id: ExternalId | None = None
    buyer_id: ExternalId | None = Field(None, description="Needed while the order is not known.")
    conversation_id: Uuid | None = None
    kind: RefundKind
    amount_fen: Annotated[Fen, Field(ge=1)] | None = None
    reason: Reason
    description: Text | None = None
    goods_received: bool | None = None


class Agreement(Body):
    """Agreement to exactly this version and amount of the request."""

    amount_fen: Fen
    refund_version: Version
    reason: Remark = ""


class Refusal(Body):
    """A refusal. Tmall takes none without proof."""

    reason: RefusalReason
    proof_url: Url | None = None


class ReturnParcel(Body):
    """The parcel that brings the goods back."""

    tracking_no: ExternalId
    courier: Line | None = None


class Receipt(Body):
    """Returned goods that have arrived. Intact ones are refunded at once."""

    intact: bool
    note: Remark = ""


class Withdrawal(Body):
    """The buyer gives the request up."""

    reason: Remark = ""


class RefundSnapshot(Body):
    """A platform's refund as it stands: the same as the event shop.refund."""

    shop_id: ShopId | None = None
    platform: Platform
    refund_id: ExternalId
    order_id: ExternalId
    line_id: ExternalId | None = None
    buyer_id: ExternalId
    kind: RefundKind
    phase: RefundPhase
    status: RefundStatus
    refund_version: Version
    amount_fen: Fen
    reason: Reason
    description: Text | None = None
    goods_received: bool | None = None
    deadline_at: AwareDatetime | None = None
    return_tracking_no: ExternalId | None = None
    created_at: AwareDatetime
    modified_at: AwareDatetime


class CaseView(View):
    """A case. `version` is its ETag; `pending` says that the platform has yet to answer."""

    shop_id: str
    case_id: str
    order_id: str
    line_id: str | None
    product_id: str | None
    buyer_id: str
    conversation_id: str | None
    platform: Platform
    refund_id: str | None
    origin: Origin
    kind: RefundKind
    phase: RefundPhase
    state: CaseState
    state_since: datetime
    amount_fen: int | None
    refunded_fen: int
    refund_version: int
    reason: str
    description: str
    goods_received: bool | None
    goods_intact: bool | None
    return_tracking_no: str | None
    return_courier: str | None
    refusal_reason: str | None
    refusal_proof_url: str | None
    blocked_reason: str | None
    pending: bool
    outcome: CaseOutcome | None
    deadline_at: datetime | None
    deadline_action: DeadlineAction | None
    opened_at: datetime
    updated_at: datetime
    closed_at: datetime | None
    version: int


def case_view(case: Case) -> CaseView:
    """The view of a case."""
    own = {name: getattr(case, name) for name in CaseView.model_fields if hasattr(case, name)}
    pending = case.pending_command_id is not None
    return CaseView.model_validate({**own, "pending": pending, "version": case.revision})


class EntryView(View):
    """One change of a case."""

    version: int
    action: str
    previous_state: CaseState | None
    state: CaseState
    actor: str
    actor_role: ActorRole
    reason: str
    amount_fen: int | None
    refund_version: int
    at: datetime


def entry_view(entry: CaseEntry) -> EntryView:
    """The view of a line of history."""
    own = {name: getattr(entry, name) for name in EntryView.model_fields if name != "version"}
    return EntryView.model_validate({**own, "version": entry.revision})


Seconds = Annotated[int, Field(ge=60, le=366 * 86_400)]


class NewPolicy(Body):
    """A rule for a waiting state. `any` matches everything; without `valid_from`: from now on."""

    platform: Platform | AnyOr = "any"
    kind: RefundKind | AnyOr = "any"
    phase: RefundPhase | AnyOr = "any"
    goods: Goods = "any"
    state: WaitingState
    seconds: Seconds
    warn_seconds: int = Field(0, ge=0, le=366 * 86_400)
    action: DeadlineAction
    valid_from: AwareDatetime | None = None
    note: Remark = ""


class NewPolicies(Body):
    """Rules to be added to the shop's own."""

    policies: Annotated[list[NewPolicy], Field(min_length=1, max_length=50)]


class PolicyView(View):
    """A rule; `number` 0 is a default, others are the shop's own in the order they were set."""

    number: int
    platform: Platform | AnyOr
    kind: RefundKind | AnyOr
    phase: RefundPhase | AnyOr
    goods: Goods
    state: WaitingState
    seconds: int
    warn_seconds: int
    action: DeadlineAction
    valid_from: datetime
    note: str
    created_by: str
    created_at: datetime


class PoliciesView(View):
    """All rules: the shop's own first, then the defaults behind them."""

    version: int
    items: list[PolicyView]


def policies_view(book: PolicyBook) -> PoliciesView:
    """The view of a shop's rules."""
    return PoliciesView(version=book.version, items=[_policy_view(p) for p in book.policies])


def _policy_view(policy: DeadlinePolicy) -> PolicyView:
    return PolicyView.model_validate(policy)
