"""Handing a conversation on, to an agent or a group, with a note (转接)."""

from collections.abc import Iterable

import msgspec

from common.contracts import ActorRole, ConversationState, ConversationTransferred
from common.errors import InvalidInput
from common.runtime import Need, Work, row

from .buyers import Buyer
from .conversations import Conversation, is_open, receivers, send_on
from .errors import AgentNotThere, ConversationClosed
from .groups import SkillGroup, rank_of
from .intake import require_hold
from .messages import counters
from .presence import Agent


class TransferConversation(msgspec.Struct, frozen=True, kw_only=True):
    """Command: hand this conversation to an agent, a group, or an agent of a group."""

    shop_id: str
    conversation_id: str
    to_agent_id: str | None = None
    to_group_id: str | None = None
    note: str = ""
    actor: str
    actor_role: ActorRole


class TransferStarted(msgspec.Struct, frozen=True, kw_only=True):
    """On its way: routing places it as soon as the target has room."""

    conversation_id: str
    state: ConversationState
    to_agent_id: str | None
    to_group_id: str | None


def needs_of(command: TransferConversation) -> Iterable[Need]:
    """The conversation and the target."""
    if command.to_group_id is not None:
        yield row(SkillGroup, command.shop_id, command.to_group_id)
    if command.to_agent_id is not None:
        yield row(Agent, command.shop_id, command.to_agent_id)
    yield row(Conversation, command.shop_id, command.conversation_id)


def needs_buyer(command: TransferConversation, work: Work) -> Iterable[Need]:
    """The buyer, whose own priority counts in the new group as well."""
    conversation = work.get(Conversation, command.shop_id, command.conversation_id)
    if conversation is not None and command.to_group_id is not None:
        yield row(Buyer, command.shop_id, conversation.buyer_id)


def transfer(command: TransferConversation, work: Work) -> TransferStarted:
    """Puts the conversation back into the queue with its target, at its original place."""
    conversation = work.require(Conversation, command.shop_id, command.conversation_id)
    if not is_open(conversation):
        raise ConversationClosed
    require_hold(conversation, command.actor, command.actor_role)
    _require_target(command, conversation, work)
    from_agent_id = conversation.agent_id
    send_on(
        conversation,
        work.now,
        to_agent_id=command.to_agent_id,
        to_group_id=command.to_group_id,
        note=command.note,
    )
    _take_rank(command, conversation, work)
    work.emit(
        _told(command, conversation, from_agent_id, work),
        deliver=receivers(conversation, shop=True, also=(from_agent_id, command.to_agent_id)),
    )
    work.after_commit("router")
    return TransferStarted(
        conversation_id=conversation.conversation_id,
        state=conversation.state,
        to_agent_id=command.to_agent_id,
        to_group_id=command.to_group_id,
    )


def _require_target(command: TransferConversation, conversation: Conversation, work: Work) -> None:
    if command.to_agent_id is None and command.to_group_id is None:
        raise InvalidInput("name to_agent_id or to_group_id")
    if command.to_agent_id is not None and command.to_agent_id == conversation.agent_id:
        raise InvalidInput("that agent has the conversation already")
    if command.to_group_id is not None:
        work.require(SkillGroup, command.shop_id, command.to_group_id)
    if command.to_agent_id is not None:
        agent = work.require(Agent, command.shop_id, command.to_agent_id)
        if agent.presence not in ("online", "suspended"):
            raise AgentNotThere


def _take_rank(command: TransferConversation, conversation: Conversation, work: Work) -> None:
    """In another group its priority counts, be it more or less urgent than the one before."""
    if command.to_group_id is None:
        return
    group = work.require(SkillGroup, command.shop_id, command.to_group_id)
    buyer = work.get(Buyer, command.shop_id, conversation.buyer_id)
    conversation.rank = rank_of(buyer.priority if buyer else 0, group.priority)


def _told(
    command: TransferConversation,
    conversation: Conversation,
    from_agent_id: str | None,
    work: Work,
) -> ConversationTransferred:
    return ConversationTransferred(
        **counters(conversation),
        from_agent_id=from_agent_id,
        to_agent_id=command.to_agent_id,
        to_group_id=command.to_group_id,
        note=command.note,
        actor=command.actor,
        actor_role=command.actor_role,
        transferred_at=work.now,
    )
