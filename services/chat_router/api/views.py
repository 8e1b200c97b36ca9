"""What chat_router answers. A buyer is shown less than the staff."""

from datetime import datetime
from typing import Any

from msgspec import structs

from common.contracts import (
    ConversationState,
    MessageKind,
    OrderState,
    Platform,
    Presence,
    SenderKind,
)
from common.web.types import View

from ..buyers import Buyer
from ..conversations import Conversation
from ..groups import SkillGroup
from ..messages import Message
from ..presence import Agent


class MessageAcceptedView(View):
    """The message is stored, once. `agent_id` had the conversation then, null while it waits;
    `repeated`: the message had been stored before."""

    conversation_id: str
    message_id: str
    client_message_id: str
    seq: int
    received_at: datetime
    agent_id: str | None
    repeated: bool


class MessageView(View):
    """A message. Order is by `seq` alone."""

    conversation_id: str
    message_id: str
    client_message_id: str
    seq: int
    platform: Platform
    sender_kind: SenderKind
    sender_id: str
    agent_id: str | None
    kind: MessageKind
    text: str | None
    media_url: str | None
    product_id: str | None
    order_id: str | None
    sent_at: datetime
    received_at: datetime
    reminder_id: str | None
    case_id: str | None


class StaffPart(View):
    """What is not for the buyer; null for buyers."""

    previous_agent_id: str | None
    wanted_agent_id: str | None
    transfer_note: str | None
    order_state: OrderState
    order: dict[str, Any] | None
    case: dict[str, Any] | None
    tags: list[str]
    priority: int
    warned: bool
    rounds: int
    rounds_within_3min: int
    first_response_seconds: float | None


class ConversationView(View):
    """A conversation as anybody in it may see it. `server_now` is for clocks on a screen."""

    conversation_id: str
    buyer_id: str
    platform: Platform
    state: ConversationState
    group_id: str
    agent_id: str | None
    opened_at: datetime
    assigned_at: datetime | None
    closed_at: datetime | None
    close_reason: str | None
    queue_position: int | None
    expected_wait_seconds: float | None
    last_seq: int
    last_message_at: datetime | None
    last_text: str
    unread_agent: int
    unread_buyer: int
    agent_read_seq: int
    buyer_read_seq: int
    unanswered_since: datetime | None
    rating: int | None
    rating_reason: str | None
    server_now: datetime
    staff: StaffPart | None = None


class BuyerView(View):
    """A buyer's profile."""

    buyer_id: str
    platform: Platform
    name: str
    tags: list[str]
    attributes: dict[str, str]
    note: str
    priority: int
    dedicated_agent_id: str | None
    last_agent_id: str | None
    last_served_at: datetime | None
    conversation_id: str | None
    order_state: OrderState
    order: dict[str, Any] | None
    case: dict[str, Any] | None


class AgentView(View):
    """An agent: staff settings, presence and load."""

    agent_id: str
    name: str
    groups: list[str]
    capacity: int
    weight: float
    presence: Presence
    presence_at: datetime
    last_seen_at: datetime
    open_conversations: int
    unanswered_buyers: int


class GroupView(View):
    """A skill group."""

    group_id: str
    name: str
    order_states: list[OrderState]
    priority: int
    place: int


def message_view(message: Message) -> MessageView:
    """A message as everybody in the conversation sees it."""
    return MessageView.model_validate(message)


def conversation_view(
    conversation: Conversation, buyer: Buyer | None, now: datetime, *, for_buyer: bool
) -> ConversationView:
    """A conversation, with the staff's part unless it is for the buyer."""
    staff = None if for_buyer else _staff_part(conversation, buyer)
    return ConversationView.model_validate(
        structs.asdict(conversation) | {"server_now": now, "staff": staff}
    )


def _staff_part(conversation: Conversation, buyer: Buyer | None) -> StaffPart:
    return StaffPart(
        previous_agent_id=conversation.previous_agent_id,
        wanted_agent_id=conversation.wanted_agent_id,
        transfer_note=conversation.transfer_note,
        order_state=buyer.order_state if buyer else conversation.order_state,
        order=_card(buyer.order_card if buyer else None),
        case=_card(buyer.case_card if buyer else None),
        tags=list(buyer.tags if buyer else ()),
        priority=-conversation.rank,
        warned=conversation.warned,
        rounds=conversation.rounds,
        rounds_within_3min=conversation.rounds_within_3min,
        first_response_seconds=conversation.first_response_seconds,
    )


def _card(card: Any) -> dict[str, Any] | None:
    return None if card is None else structs.asdict(card)


def buyer_view(buyer: Buyer) -> BuyerView:
    """A buyer's profile."""
    return BuyerView.model_validate(
        structs.asdict(buyer) | {"order": _card(buyer.order_card), "case": _card(buyer.case_card)}
    )


def agent_view(agent: Agent, held: int, unanswered: int) -> AgentView:
    """An agent with the load that the conversations say they have."""
    return AgentView.model_validate(
        structs.asdict(agent) | {"open_conversations": held, "unanswered_buyers": unanswered}
    )


def group_view(group: SkillGroup) -> GroupView:
    """A skill group."""
    return GroupView.model_validate(group)
