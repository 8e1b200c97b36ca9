"""After-sale cases, as aftersales publishes them."""

from typing import Annotated, Any, Literal

from msgspec import Meta

from .base import Event, contract
from .vocabulary import (
    ActorRole,
    CaseKind,
    CaseState,
    Fen,
    Id,
    Note,
    RefundPhase,
    Sequence,
    Text,
    Time,
    Title,
)

Label = Annotated[str, Meta(max_length=64)]
DeadlineAction = Literal["auto_refund", "auto_agree", "auto_reject", "auto_close"]
CaseOutcome = Literal["refunded", "partly_refunded", "rejected", "withdrawn", "expired"]


def _example(state: str, **fields: Any) -> dict[str, Any]:
    return {
        "shop_id": "demo",
        "case_id": "01977c3e-0000-7000-8000-000000000061",
        "order_id": "260100001",
        "line_id": "260100001-1",
        "product_id": "coat-001",
        "buyer_id": "tb_lihua88",
        "conversation_id": "01977c3e-0000-7000-8000-000000000001",
        "kind": "return_and_refund",
        "state": state,
        "phase": "onsale",
        "amount_fen": 37900,
        "reason": "质量问题",
        "description": "袖口开线",
    } | fields


class CaseEvent(Event, frozen=True, kw_only=True, omit_defaults=True):
    """A case as it now is, and who changed it.

    `deadline_at` is when the present state runs out and `deadline_action` what then happens by
    itself. `version` rises by one with every change. `refunded_fen` is what was paid back so far.
    `reason` is the buyer's; `action` is what the actor did and `note` why (`agree`, `refuse`, …).
    `refund_id` is the platform's request, None for a case that began in a chat.
    """

    case_id: Id
    order_id: Id
    line_id: Id | None = None
    product_id: Id | None = None
    buyer_id: Id
    conversation_id: Id | None = None
    refund_id: Id | None = None
    kind: CaseKind
    state: CaseState
    previous_state: CaseState | None = None
    phase: RefundPhase
    amount_fen: Fen
    refunded_fen: Fen = 0
    reason: Title
    description: Text = ""
    version: Sequence
    actor: Id
    actor_role: ActorRole
    action: Label = ""
    note: Note = ""
    occurred_at: Time
    deadline_at: Time | None = None
    deadline_action: DeadlineAction | None = None
    outcome: CaseOutcome | None = None


@contract(
    name="case.opened",
    topic="kefu.cases",
    producers=("aftersales",),
    consumers=("chat_router", "order_ops", "feedback"),
    summary="A case was opened, by a request in a chat or on the platform.",
    examples=[
        _example(
            "wait_seller_agree",
            version=1,
            actor="tb_lihua88",
            actor_role="buyer",
            occurred_at="2025-06-04T01:00:00.100Z",
            deadline_at="2025-06-09T01:00:00Z",
            deadline_action="auto_agree",
        )
    ],
)
class CaseOpened(CaseEvent, frozen=True, kw_only=True, omit_defaults=True):
    """One per case."""


@contract(
    name="case.changed",
    topic="kefu.cases",
    producers=("aftersales",),
    consumers=("chat_router", "order_ops"),
    summary="A case moved to another state, or its amount or deadline changed.",
    examples=[
        _example(
            "wait_buyer_return_goods",
            previous_state="wait_seller_agree",
            version=2,
            actor="ahmei",
            actor_role="senior_agent",
            action="agree",
            note="同意退货,请在七天内寄回",
            occurred_at="2025-06-04T02:00:00Z",
            deadline_at="2025-06-11T02:00:00Z",
            deadline_action="auto_close",
        )
    ],
)
class CaseChanged(CaseEvent, frozen=True, kw_only=True, omit_defaults=True):
    """Not published for the change that closes the case."""


@contract(
    name="case.deadline_near",
    topic="kefu.cases",
    producers=("aftersales",),
    consumers=("chat_router",),
    summary="A case's deadline comes near and somebody should act.",
    examples=[
        _example(
            "wait_seller_agree",
            version=1,
            actor="system",
            actor_role="system",
            occurred_at="2025-06-08T01:00:00Z",
            deadline_at="2025-06-09T01:00:00Z",
            deadline_action="auto_agree",
        )
    ],
)
class CaseDeadlineNear(CaseEvent, frozen=True, kw_only=True, omit_defaults=True):
    """Once per deadline; a deadline that moved warns again."""


@contract(
    name="case.closed",
    topic="kefu.cases",
    producers=("aftersales",),
    consumers=("chat_router", "order_ops", "feedback"),
    summary="A case ended, with its outcome and what was paid back.",
    examples=[
        _example(
            "success",
            previous_state="refunding",
            version=5,
            actor="system",
            actor_role="system",
            occurred_at="2025-06-08T06:00:00Z",
            refunded_fen=37900,
            outcome="refunded",
        )
    ],
)
class CaseClosed(CaseEvent, frozen=True, kw_only=True, omit_defaults=True):
    """One per case."""
