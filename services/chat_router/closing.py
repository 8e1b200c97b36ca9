"""How a conversation ends."""

from collections.abc import Iterable

import msgspec

from common.contracts import ActorRole, CloseReason, ConversationClosed
from common.errors import NotFound
from common.runtime import Need, Work, row

from .buyers import Buyer
from .conversations import Conversation, close, is_open, receivers
from .intake import require_hold
from .messages import counters
from .response_times import give_up


class CloseConversation(msgspec.Struct, frozen=True, kw_only=True):
    """Command: the buyer, the agent who has it or somebody who leads ends a conversation."""

    shop_id: str
    conversation_id: str
    actor: str
    actor_role: ActorRole


class ConversationEnded(msgspec.Struct, frozen=True, kw_only=True):
    """Closed, by this call or before it."""

    conversation_id: str
    close_reason: CloseReason | None


def needs_of(command: CloseConversation) -> Iterable[Need]:
    """The conversation."""
    yield row(Conversation, command.shop_id, command.conversation_id)


def needs_buyer(command: CloseConversation, work: Work) -> Iterable[Need]:
    """The buyer, who remembers who served them."""
    conversation = work.get(Conversation, command.shop_id, command.conversation_id)
    if conversation is not None:
        yield row(Buyer, command.shop_id, conversation.buyer_id)


def close_conversation(command: CloseConversation, work: Work) -> ConversationEnded:
    """Ends it; closing a closed one changes nothing."""
    conversation = work.require(Conversation, command.shop_id, command.conversation_id)
    require_part(conversation, command.actor, command.actor_role)
    if is_open(conversation):
        finish(conversation, _reason(command.actor_role), work)
    return ConversationEnded(
        conversation_id=conversation.conversation_id, close_reason=conversation.close_reason
    )


def require_part(conversation: Conversation, actor: str, role: str) -> None:
    """The buyer whose conversation it is, or staff who may act in it; else `NotFound`/403."""
    if role != "buyer":
        require_hold(conversation, actor, role)
    elif conversation.buyer_id != actor:
        raise NotFound("no such conversation")


def _reason(role: str) -> CloseReason:
    if role == "buyer":
        return "buyer"
    if role == "system":
        return "system"
    return "agent" if role in ("agent", "senior_agent") else "supervisor"


def finish(conversation: Conversation, reason: CloseReason, work: Work) -> None:
    """Books an unanswered round, ends the conversation, remembers who served the buyer."""
    unanswered = give_up(conversation)
    if unanswered is not None:
        work.add(unanswered)
    # Handed back and not placed since: who had it last has not been told that it is theirs no more.
    agent_id = conversation.agent_id or conversation.previous_agent_id
    close(conversation, reason, work.now)
    _remember_agent(conversation, work)
    work.emit(closed(conversation), deliver=receivers(conversation, shop=True, also=(agent_id,)))
    work.after_commit("router")


def _remember_agent(conversation: Conversation, work: Work) -> None:
    buyer = work.get(Buyer, conversation.shop_id, conversation.buyer_id)
    if buyer is not None and conversation.agent_id is not None:
        buyer.last_agent_id = conversation.agent_id
        buyer.last_served_at = conversation.last_message_at


def closed(conversation: Conversation) -> ConversationClosed:
    """Tells of the end, with the counts."""
    assert conversation.closed_at is not None
    assert conversation.close_reason is not None
    return ConversationClosed(
        **counters(conversation),
        agent_id=conversation.agent_id,
        group_id=conversation.group_id,
        opened_at=conversation.opened_at,
        closed_at=conversation.closed_at,
        reason=conversation.close_reason,
        messages_buyer=conversation.messages_buyer,
        messages_agent=conversation.messages_agent,
        rounds=conversation.rounds,
        rounds_within_3min=conversation.rounds_within_3min,
        first_response_seconds=conversation.first_response_seconds,
    )
