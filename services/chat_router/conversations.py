"""A conversation and the moves it can make. Every function here changes one `Conversation`.

States: `queued` (waits for an agent), `message_box` (留言: came in outside shop hours, waits for
the opening), `assigned`, `closed`. A closed conversation is never reopened: the buyer's next
message opens a new one, so that it is routed afresh and never lands with somebody who left.
"""

from collections.abc import Iterable
from datetime import datetime

import msgspec

from common.contracts import AssignReason, CloseReason, ConversationState, OrderState, Platform

PREVIEW_CHARACTERS = 80


class Conversation(msgspec.Struct, kw_only=True):
    """The state of one conversation; times are aware UTC.

    `queued_at` is the place in the queue and is kept when an agent drops off; `waiting_since` is
    the start of the present wait. `affinity_agent_id` served this buyer last, at `affinity_at`.
    `wanted_agent_id` is the target of a transfer. `rank` is minus the priority, so that the queue's
    order is ascending throughout. `unanswered_since` starts the open round.
    """

    shop_id: str
    conversation_id: str
    buyer_id: str
    platform: Platform
    state: ConversationState
    group_id: str
    agent_id: str | None = None
    previous_agent_id: str | None = None
    affinity_agent_id: str | None = None
    affinity_at: datetime | None = None
    dedicated_agent_id: str | None = None
    wanted_agent_id: str | None = None
    wait_reason: AssignReason | None = None
    transfer_note: str | None = None
    order_state: OrderState = "none"
    rank: int = 0
    opened_at: datetime
    queued_at: datetime
    waiting_since: datetime
    assigned_at: datetime | None = None
    closed_at: datetime | None = None
    close_reason: CloseReason | None = None
    queue_position: int | None = None
    expected_wait_seconds: float | None = None
    last_seq: int = 0
    last_message_at: datetime | None = None
    last_text: str = ""
    unread_agent: int = 0
    unread_buyer: int = 0
    agent_read_seq: int = 0
    buyer_read_seq: int = 0
    agent_delivered_seq: int = 0
    buyer_delivered_seq: int = 0
    unanswered_since: datetime | None = None
    warning_armed: bool = False
    warned: bool = False
    messages_buyer: int = 0
    messages_agent: int = 0
    rounds: int = 0
    rounds_within_3min: int = 0
    first_response_seconds: float | None = None
    rating: int | None = None
    rating_reason: str | None = None
    rated_at: datetime | None = None


def is_open(conversation: Conversation) -> bool:
    """Whether anything may still happen in it."""
    return conversation.state != "closed"


def is_waiting(conversation: Conversation) -> bool:
    """Whether it waits for an agent, in the queue or in the message box."""
    return conversation.state in ("queued", "message_box")


def receivers(
    conversation: Conversation, *, shop: bool = False, also: Iterable[str | None] = ()
) -> tuple[str, ...]:
    """Whose sockets see an event: the buyer, the agent who has it, further agents, the board.

    A closed conversation is nobody's any more.
    """
    holder = conversation.agent_id if is_open(conversation) else None
    agents = dict.fromkeys(agent for agent in (holder, *also) if agent)
    board = ("shop",) if shop else ()
    return (f"buyer:{conversation.buyer_id}", *(f"agent:{a}" for a in agents), *board)


def staff_receivers(conversation: Conversation) -> tuple[str, ...]:
    """Who sees what is not for the buyer: the agent who has it, and the board."""
    return receivers(conversation, shop=True)[1:]


def assign_to(conversation: Conversation, agent_id: str, now: datetime) -> float:
    """Gives a waiting conversation to an agent; answers the seconds it waited."""
    waited = max(0.0, (now - conversation.waiting_since).total_seconds())
    conversation.state = "assigned"
    conversation.agent_id = agent_id
    conversation.assigned_at = now
    conversation.wanted_agent_id = None
    conversation.wait_reason = None
    conversation.transfer_note = None
    conversation.queue_position = None
    conversation.expected_wait_seconds = None
    return waited


def hand_back(conversation: Conversation, now: datetime) -> None:
    """Takes a conversation from an agent who dropped off.

    It keeps its original place (`queued_at`), so that those who came later stay behind it, and
    goes back to the same agent if they are there again first.
    """
    _wait_again(conversation, "agent_left", now)
    conversation.affinity_agent_id = conversation.previous_agent_id
    conversation.affinity_at = now


def send_on(
    conversation: Conversation,
    now: datetime,
    *,
    to_agent_id: str | None,
    to_group_id: str | None,
    note: str,
) -> None:
    """Puts a conversation on its way to another agent or group.

    Who handed it on is not a candidate again by affinity: the transfer would come straight back.
    """
    _wait_again(conversation, "transfer", now)
    conversation.wanted_agent_id = to_agent_id
    conversation.group_id = to_group_id or conversation.group_id
    conversation.transfer_note = note or None
    conversation.affinity_agent_id = None
    conversation.dedicated_agent_id = None


def _wait_again(conversation: Conversation, reason: AssignReason, now: datetime) -> None:
    conversation.previous_agent_id = conversation.agent_id or conversation.previous_agent_id
    conversation.agent_id = None
    conversation.state = "queued"
    conversation.wait_reason = reason
    conversation.waiting_since = now
    conversation.queue_position = None
    conversation.expected_wait_seconds = None


def close(conversation: Conversation, reason: CloseReason, now: datetime) -> None:
    """Ends a conversation. An open round must have been booked before."""
    conversation.state = "closed"
    conversation.closed_at = now
    conversation.close_reason = reason
    conversation.unanswered_since = None
    conversation.wanted_agent_id = None
    conversation.wait_reason = None
    conversation.queue_position = None
    conversation.expected_wait_seconds = None


def preview(text: str | None, kind: str) -> str:
    """The line an inbox shows for a message."""
    return (text or f"[{kind}]")[:PREVIEW_CHARACTERS]
