"""The life of a conversation, and what is shown beside it."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from .base import contract
from .chat import ConversationEvent
from .vocabulary import (
    ActorRole,
    CaseKind,
    CaseState,
    ConversationState,
    Count,
    Fen,
    Id,
    Note,
    OrderState,
    OrderStatus,
    Platform,
    Rating,
    Seconds,
    SenderKind,
    Sequence,
    Time,
    Title,
    Word,
)

AssignReason = Literal[
    "last_agent",
    "dedicated",
    "group",
    "overflow",
    "queue",
    "message_box",
    "transfer",
    "take_over",
    "silent_agent",
    "agent_left",
]
CloseReason = Literal["agent", "buyer", "idle", "supervisor", "system"]
ChangedPart = Literal["order", "case", "tags", "hint", "state", "waiting"]


class OrderCard(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The order shown beside a conversation."""

    order_id: Id
    status: OrderStatus
    title: Title = ""
    total_fen: Fen
    refund_open: bool = False


class CaseCard(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The after-sale case shown beside a conversation."""

    case_id: Id
    order_id: Id
    kind: CaseKind
    state: CaseState
    amount_fen: Fen


@contract(
    name="conversation.opened",
    topic="kefu.conversations",
    producers=("chat_router",),
    consumers=("chat_router", "order_ops"),
    summary="A conversation began with a buyer's first message.",
    examples=[
        {
            "shop_id": "demo",
            "conversation_id": "01977c3e-0000-7000-8000-000000000001",
            "buyer_id": "tb_lihua88",
            "platform": "taobao",
            "group_id": "presale",
            "opened_at": "2025-06-01T02:10:15.320Z",
            "order_state": "none",
            "unread_agent": 1,
            "unread_buyer": 0,
            "unanswered_since": "2025-06-01T02:10:15.320Z",
        }
    ],
)
class ConversationOpened(ConversationEvent, frozen=True, kw_only=True, omit_defaults=True):
    """`order_state` chose the group; `previous_agent_id` served this buyer last."""

    platform: Platform = "own"
    group_id: Id | None = None
    opened_at: Time
    order_state: OrderState = "none"
    previous_agent_id: Id | None = None


@contract(
    name="conversation.queued",
    topic="kefu.conversations",
    producers=("chat_router",),
    consumers=("chat_router",),
    summary="A conversation waits for an agent, or its place in the queue changed.",
    examples=[
        {
            "shop_id": "demo",
            "conversation_id": "01977c3e-0000-7000-8000-000000000001",
            "buyer_id": "tb_lihua88",
            "group_id": "presale",
            "position": 3,
            "expected_wait_seconds": 95.0,
            "queued_at": "2025-06-01T02:10:15.330Z",
            "unread_agent": 1,
            "unread_buyer": 0,
            "unanswered_since": "2025-06-01T02:10:15.320Z",
        }
    ],
)
class ConversationQueued(ConversationEvent, frozen=True, kw_only=True, omit_defaults=True):
    """`position` counts from 1. The expected wait is None while there is nothing to judge by."""

    group_id: Id
    position: Sequence
    expected_wait_seconds: Seconds | None = None
    queued_at: Time


@contract(
    name="conversation.assigned",
    topic="kefu.conversations",
    producers=("chat_router",),
    consumers=("chat_router",),
    summary="An agent now owns a conversation.",
    examples=[
        {
            "shop_id": "demo",
            "conversation_id": "01977c3e-0000-7000-8000-000000000001",
            "buyer_id": "tb_lihua88",
            "agent_id": "xiaomei",
            "group_id": "presale",
            "assigned_at": "2025-06-01T02:10:15.350Z",
            "waited_seconds": 0.03,
            "reason": "group",
            "unread_agent": 1,
            "unread_buyer": 0,
            "unanswered_since": "2025-06-01T02:10:15.320Z",
        }
    ],
)
class ConversationAssigned(ConversationEvent, frozen=True, kw_only=True, omit_defaults=True):
    """`waited_seconds` since the conversation was opened or put back into the queue."""

    agent_id: Id
    previous_agent_id: Id | None = None
    group_id: Id
    assigned_at: Time
    waited_seconds: Seconds
    reason: AssignReason


@contract(
    name="conversation.transferred",
    topic="kefu.conversations",
    producers=("chat_router",),
    consumers=("chat_router",),
    summary="A conversation was handed to another agent or group, with a note.",
    rules=[
        {
            "anyOf": [
                {"required": ["to_agent_id"], "properties": {"to_agent_id": {"type": "string"}}},
                {"required": ["to_group_id"], "properties": {"to_group_id": {"type": "string"}}},
            ]
        }
    ],
    examples=[
        {
            "shop_id": "demo",
            "conversation_id": "01977c3e-0000-7000-8000-000000000001",
            "buyer_id": "tb_lihua88",
            "from_agent_id": "xiaomei",
            "to_group_id": "aftersale",
            "note": "买家要退货,已收到照片",
            "actor": "xiaomei",
            "actor_role": "agent",
            "transferred_at": "2025-06-01T02:20:00Z",
            "unread_agent": 0,
            "unread_buyer": 0,
            "unanswered_since": None,
        }
    ],
)
class ConversationTransferred(ConversationEvent, frozen=True, kw_only=True, omit_defaults=True):
    """Names an agent, a group or both; the assignment that follows is its own event."""

    from_agent_id: Id | None = None
    to_agent_id: Id | None = None
    to_group_id: Id | None = None
    note: Note = ""
    actor: Id
    actor_role: ActorRole = "agent"
    transferred_at: Time

    def __post_init__(self) -> None:
        if self.to_agent_id is None and self.to_group_id is None:
            raise ValueError("a transfer needs to_agent_id or to_group_id")


@contract(
    name="conversation.answered",
    topic="kefu.conversations",
    producers=("chat_router",),
    consumers=("chat_router",),
    summary="A round ended: the buyer's first unanswered message got its first reply.",
    examples=[
        {
            "shop_id": "demo",
            "conversation_id": "01977c3e-0000-7000-8000-000000000001",
            "buyer_id": "tb_lihua88",
            "agent_id": "xiaomei",
            "sender_kind": "agent",
            "first": True,
            "round": 1,
            "asked_at": "2025-06-01T02:10:15.320Z",
            "answered_at": "2025-06-01T02:10:40.105Z",
            "seconds": 24.785,
            "within_3min": True,
            "unread_agent": 0,
            "unread_buyer": 1,
            "unanswered_since": None,
        }
    ],
)
class ConversationAnswered(ConversationEvent, frozen=True, kw_only=True, omit_defaults=True):
    """`first` marks the conversation's first response. `round` counts from 1; messages that
    follow an unanswered one belong to its round."""

    agent_id: Id | None = None
    sender_kind: SenderKind = "agent"
    first: bool
    round: Sequence
    asked_at: Time
    answered_at: Time
    seconds: Seconds
    within_3min: bool


@contract(
    name="conversation.closed",
    topic="kefu.conversations",
    producers=("chat_router",),
    consumers=("chat_router", "order_ops", "feedback"),
    summary="A conversation ended, with its counts.",
    examples=[
        {
            "shop_id": "demo",
            "conversation_id": "01977c3e-0000-7000-8000-000000000001",
            "buyer_id": "tb_lihua88",
            "agent_id": "xiaomei",
            "group_id": "presale",
            "opened_at": "2025-06-01T02:10:15.320Z",
            "closed_at": "2025-06-01T02:31:00Z",
            "reason": "agent",
            "messages_buyer": 6,
            "messages_agent": 7,
            "rounds": 5,
            "rounds_within_3min": 5,
            "first_response_seconds": 24.785,
            "unread_agent": 0,
            "unread_buyer": 0,
            "unanswered_since": None,
        }
    ],
)
class ConversationClosed(ConversationEvent, frozen=True, kw_only=True, omit_defaults=True):
    """`first_response_seconds` is None when nobody ever answered."""

    agent_id: Id | None = None
    group_id: Id | None = None
    opened_at: Time
    closed_at: Time
    reason: CloseReason
    messages_buyer: Count
    messages_agent: Count
    rounds: Count
    rounds_within_3min: Count
    first_response_seconds: Seconds | None = None


@contract(
    name="conversation.rated",
    topic="kefu.conversations",
    producers=("chat_router",),
    consumers=("chat_router", "feedback"),
    summary="A buyer rated a conversation, once.",
    examples=[
        {
            "shop_id": "demo",
            "conversation_id": "01977c3e-0000-7000-8000-000000000001",
            "buyer_id": "tb_lihua88",
            "agent_id": "xiaomei",
            "rating": 5,
            "reason": "回复很快",
            "rated_at": "2025-06-01T02:35:00Z",
            "unread_agent": 0,
            "unread_buyer": 0,
            "unanswered_since": None,
        }
    ],
)
class ConversationRated(ConversationEvent, frozen=True, kw_only=True, omit_defaults=True):
    """5 is very satisfied, 1 very dissatisfied."""

    rating: Rating
    reason: Note | None = None
    agent_id: Id | None = None
    rated_at: Time


@contract(
    name="conversation.changed",
    topic="kefu.conversations",
    producers=("chat_router",),
    consumers=("chat_router",),
    summary="What is shown beside a conversation changed: order, case, tags, hint or waiting.",
    examples=[
        {
            "shop_id": "demo",
            "conversation_id": "01977c3e-0000-7000-8000-000000000001",
            "buyer_id": "tb_lihua88",
            "agent_id": "xiaomei",
            "group_id": "presale",
            "state": "assigned",
            "changed": ["order"],
            "order_state": "unpaid",
            "order": {
                "order_id": "260100001",
                "status": "unpaid",
                "title": "轻薄羽绒外套 藏青 XL",
                "total_fen": 38500,
            },
            "tags": ["老客户"],
            "changed_at": "2025-06-01T02:20:00.400Z",
            "unread_agent": 0,
            "unread_buyer": 0,
            "unanswered_since": None,
        }
    ],
)
class ConversationChanged(ConversationEvent, frozen=True, kw_only=True, omit_defaults=True):
    """The whole side panel as it now is; `changed` says which parts are new. `hint` is a line for
    the agent alone, such as a payment reminder that a live chat made needless."""

    agent_id: Id | None = None
    group_id: Id | None = None
    state: ConversationState
    changed: Annotated[tuple[ChangedPart, ...], Meta(max_length=6)]
    order_state: OrderState = "none"
    order: OrderCard | None = None
    case: CaseCard | None = None
    tags: Annotated[tuple[Word, ...], Meta(max_length=100)] = ()
    hint: Note | None = None
    changed_at: Time
