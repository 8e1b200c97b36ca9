"""What all events of a conversation share; presence of agents; what the board shows beside
conversations; return requests made in a chat.

Messages stand in messages.py, the life of a conversation in conversations.py.

Every conversation event carries what a screen needs without counting for itself: the unread
messages of both sides and since when the buyer has been waiting (`unanswered_since`, null when
nobody waits). The socket edge adds the server's time.
"""

from typing import Literal

from .base import Event, contract
from .feedback import OwnerRole, SpikeLevel, TaskOutcome
from .vocabulary import ActorRole, Count, Fen, Id, Presence, RefundKind, Text, Time, Title, Word

BoardNotice = Literal["complaints_spiked", "task_opened", "task_closed"]


class ConversationEvent(Event, frozen=True, kw_only=True, omit_defaults=True):
    """What every event about a conversation says. `unread_agent` counts the buyer's messages that
    no agent has read, `unread_buyer` the shop's that the buyer has not."""

    conversation_id: Id
    buyer_id: Id
    unread_agent: Count
    unread_buyer: Count
    unanswered_since: Time | None


@contract(
    name="agent.presence_changed",
    topic="kefu.agents",
    key=("shop_id", "agent_id"),
    producers=("chat_router",),
    consumers=("chat_router",),
    summary="An agent came, went, or was suspended from new buyers.",
    examples=[
        {
            "shop_id": "demo",
            "agent_id": "xiaomei",
            "presence": "suspended",
            "previous": "online",
            "reason": "self",
            "changed_at": "2025-06-01T04:00:00Z",
        }
    ],
)
class AgentPresenceChanged(Event, frozen=True, kw_only=True, omit_defaults=True):
    """`suspended` (挂起): keeps the buyers they have, gets no new ones."""

    agent_id: Id
    presence: Presence
    previous: Presence
    reason: Literal["self", "connected", "heartbeat_lost", "supervisor", "system"] = "self"
    changed_at: Time


@contract(
    name="board.noticed",
    topic="kefu.agents",
    key=("shop_id", "product_id"),
    producers=("chat_router",),
    consumers=("chat_router",),
    summary="The shop's board shows something that is about no conversation.",
    examples=[
        {
            "shop_id": "demo",
            "notice": "task_opened",
            "subject_id": "01977c3e-0000-7000-8000-000000000081",
            "spike_id": "01977c3e-0000-7000-8000-000000000071",
            "product_id": "coat-001",
            "tag": "quality.pilling",
            "owner_role": "product",
            "deadline_at": "2025-06-16T00:00:05Z",
            "happened_at": "2025-06-13T00:00:05Z",
        }
    ],
)
class BoardNoticed(Event, frozen=True, kw_only=True, omit_defaults=True):
    """For supervisors and operations, live. `subject_id` is the spike or the task; the feedback
    service's API has the rest of it."""

    notice: BoardNotice
    subject_id: Id
    spike_id: Id | None = None
    product_id: Id
    tag: Word
    level: SpikeLevel | None = None
    count: Count | None = None
    owner_role: OwnerRole | None = None
    outcome: TaskOutcome | None = None
    deadline_at: Time | None = None
    happened_at: Time


@contract(
    name="return.requested",
    # Not on kefu.conversations: aftersales would have to read every chat message to find it.
    topic="kefu.cases",
    producers=("chat_router",),
    consumers=("aftersales",),
    summary="A buyer, or an agent for them, asked to give goods back or to be refunded.",
    examples=[
        {
            "shop_id": "demo",
            "request_id": "01977c3e-0000-7000-8000-000000000031",
            "conversation_id": "01977c3e-0000-7000-8000-000000000001",
            "buyer_id": "tb_lihua88",
            "order_id": "260100001",
            "line_id": "260100001-1",
            "kind": "return_and_refund",
            "amount_fen": 37900,
            "reason": "质量问题",
            "description": "袖口开线",
            "goods_received": True,
            "requested_by": "xiaomei",
            "requested_role": "agent",
            "requested_at": "2025-06-04T01:00:00Z",
        }
    ],
)
class ReturnRequested(Event, frozen=True, kw_only=True, omit_defaults=True):
    """`amount_fen` None asks for all that was paid for the line, or for the order without one."""

    request_id: Id
    conversation_id: Id | None = None
    buyer_id: Id
    order_id: Id
    line_id: Id | None = None
    kind: RefundKind
    amount_fen: Fen | None = None
    reason: Title
    description: Text = ""
    goods_received: bool
    requested_by: Id
    requested_role: ActorRole = "buyer"
    requested_at: Time
