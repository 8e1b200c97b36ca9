"""Read marks and delivery marks."""

from collections.abc import Iterable
from datetime import datetime
from itertools import groupby
from operator import attrgetter

import msgspec

from common.contracts import ActorRole, MessageDelivered, MessageRead
from common.runtime import Need, Work, row

from .closing import require_part
from .conversations import Conversation, receivers
from .errors import NotYourConversation
from .messages import Message, counters

FURTHEST_BACK = 500
"""A mark further behind than this counts as if that many were unread."""


class MarkRead(msgspec.Struct, frozen=True, kw_only=True):
    """Command: the caller's side has read up to and including this message."""

    shop_id: str
    conversation_id: str
    up_to_seq: int
    actor: str
    actor_role: ActorRole


class ReadKept(msgspec.Struct, frozen=True, kw_only=True):
    """What is still unread after the mark."""

    conversation_id: str
    up_to_seq: int
    unread_agent: int
    unread_buyer: int


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """A message that a receiver's client took."""

    conversation_id: str
    message_id: str
    seq: int


class MarkDelivered(msgspec.Struct, frozen=True, kw_only=True):
    """Command: a receiver's client took these messages, in order of `seq`."""

    shop_id: str
    receiver: str
    taken: tuple[Taken, ...]
    at: datetime


class DeliveredKept(msgspec.Struct, frozen=True, kw_only=True):
    """How many of them were news."""

    marked: int


# -- reading --------------------------------------------------------------------------------


def needs_to_read(command: MarkRead) -> Iterable[Need]:
    """The conversation."""
    yield row(Conversation, command.shop_id, command.conversation_id)


def needs_unread(command: MarkRead, work: Work) -> Iterable[Need]:
    """The messages after the mark: a side's unread count is of the other side's messages only."""
    conversation = work.get(Conversation, command.shop_id, command.conversation_id)
    if conversation is not None:
        for seq in _after(conversation, command.up_to_seq):
            yield row(Message, command.shop_id, command.conversation_id, seq)


def _after(conversation: Conversation, seq: int) -> range:
    first = max(seq + 1, conversation.last_seq - FURTHEST_BACK + 1)
    return range(first, conversation.last_seq + 1)


def mark_read(command: MarkRead, work: Work) -> ReadKept:
    """Moves the mark of the caller's side forward; a mark never goes back."""
    conversation = work.require(Conversation, command.shop_id, command.conversation_id)
    _require_reader(conversation, command)
    by_buyer = command.actor_role == "buyer"
    up_to = min(command.up_to_seq, conversation.last_seq)
    if up_to > (conversation.buyer_read_seq if by_buyer else conversation.agent_read_seq):
        _move(conversation, up_to, by_buyer, work)
        work.emit(
            _told(command, conversation, up_to, work),
            deliver=receivers(conversation, also=(conversation.agent_id,)),
        )
    return ReadKept(
        conversation_id=conversation.conversation_id,
        up_to_seq=conversation.buyer_read_seq if by_buyer else conversation.agent_read_seq,
        unread_agent=conversation.unread_agent,
        unread_buyer=conversation.unread_buyer,
    )


def _require_reader(conversation: Conversation, command: MarkRead) -> None:
    """Who only watches a conversation has not read it for the agent who has it."""
    require_part(conversation, command.actor, command.actor_role)
    if command.actor_role != "buyer" and conversation.agent_id != command.actor:
        raise NotYourConversation


def _move(conversation: Conversation, up_to: int, by_buyer: bool, work: Work) -> None:
    later = [
        work.require(Message, conversation.shop_id, conversation.conversation_id, seq)
        for seq in _after(conversation, up_to)
    ]
    unread = sum((one.sender_kind == "buyer") != by_buyer for one in later)
    if by_buyer:
        conversation.buyer_read_seq, conversation.unread_buyer = up_to, unread
    else:
        conversation.agent_read_seq, conversation.unread_agent = up_to, unread


def _told(command: MarkRead, conversation: Conversation, up_to: int, work: Work) -> MessageRead:
    by_buyer = command.actor_role == "buyer"
    return MessageRead(
        **counters(conversation),
        reader=f"buyer:{command.actor}" if by_buyer else f"agent:{command.actor}",
        up_to_seq=up_to,
        read_at=work.now,
    )


# -- delivery -------------------------------------------------------------------------------


def needs_to_deliver(command: MarkDelivered) -> Iterable[Need]:
    """The conversations the messages are of."""
    for conversation_id in dict.fromkeys(one.conversation_id for one in command.taken):
        yield row(Conversation, command.shop_id, conversation_id)


def mark_delivered(command: MarkDelivered, work: Work) -> DeliveredKept:
    """Tells once of each message that it reached the other side.

    A receiver takes messages in order, so the highest `seq` that was told of is all that must
    be remembered.
    """
    marked = 0
    ordered = sorted(command.taken, key=attrgetter("conversation_id", "seq"))
    for conversation_id, group in groupby(ordered, key=attrgetter("conversation_id")):
        conversation = work.get(Conversation, command.shop_id, conversation_id)
        if conversation is not None:
            marked += sum(_deliver(one, conversation, command, work) for one in group)
    return DeliveredKept(marked=marked)


def _deliver(taken: Taken, conversation: Conversation, command: MarkDelivered, work: Work) -> bool:
    to_buyer = command.receiver == f"buyer:{conversation.buyer_id}"
    if not to_buyer and not command.receiver.startswith("agent:"):
        return False
    known = conversation.buyer_delivered_seq if to_buyer else conversation.agent_delivered_seq
    if not known < taken.seq <= conversation.last_seq:
        return False
    if to_buyer:
        conversation.buyer_delivered_seq = taken.seq
    else:
        conversation.agent_delivered_seq = taken.seq
    work.emit(
        MessageDelivered(
            shop_id=command.shop_id,
            conversation_id=conversation.conversation_id,
            buyer_id=conversation.buyer_id,
            message_id=taken.message_id,
            seq=taken.seq,
            receiver=command.receiver,
            delivered_at=command.at,
        )
    )
    return True
