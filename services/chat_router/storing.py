"""Storing a message: its number, the counts and clocks it moves, the events that tell of it."""

from datetime import timedelta

import msgspec

from common.contracts import ConversationAnswered, ConversationOpened
from common.ids import new_id
from common.runtime import Work

from .conversations import Conversation, preview, receivers, staff_receivers
from .messages import Incoming, Message, counters, event_of, stored
from .response_times import Round, answer, ask, ends_round, seconds
from .shop_settings import ShopSettings


class UnansweredCheck(msgspec.Struct, frozen=True, kw_only=True):
    """Timer: has the buyer been waiting too long?"""

    shop_id: str
    conversation_id: str


def store_message(
    incoming: Incoming, conversation: Conversation, settings: ShopSettings, work: Work
) -> Message:
    """Stores a message as the conversation's next one and tells of it.

    `conversation.opened` comes before the first message, `conversation.answered` after the one
    that ended a round.
    """
    message = stored(incoming, conversation, new_id(), work.now)
    conversation.last_seq = message.seq
    conversation.last_message_at = work.now
    conversation.last_text = preview(message.text, message.kind)
    work.add(message)
    if message.sender_kind == "buyer":
        _count_buyers(message, conversation, settings, work)
        if message.seq == 1:
            announce_opening(conversation, work)
        finished = None
    else:
        finished = _count_shops(message, conversation, settings)
    work.emit(event_of(message, conversation), deliver=receivers(conversation))
    if finished is not None:
        work.add(finished)
        work.emit(answered(finished, conversation), deliver=staff_receivers(conversation))
    return message


def _count_buyers(
    message: Message, conversation: Conversation, settings: ShopSettings, work: Work
) -> None:
    """Who writes has the chat before their eyes: what was said to them is read."""
    conversation.messages_buyer += 1
    conversation.unread_agent += 1
    conversation.unread_buyer = 0
    conversation.buyer_read_seq = message.seq
    began = ask(conversation, message.counted_at)
    if began and not conversation.warning_armed:
        arm_warning(conversation, settings, work)


def _count_shops(
    message: Message, conversation: Conversation, settings: ShopSettings
) -> Round | None:
    """Counts what the shop said; answers the round that it ended."""
    conversation.unread_buyer += 1
    if message.sender_kind == "agent":
        conversation.messages_agent += 1
        conversation.unread_agent = 0
        conversation.agent_read_seq = message.seq
    if not ends_round(message.sender_kind, bot_replies_count=settings.bot_replies_count):
        return None
    return answer(
        conversation,
        message.counted_at,
        message.sender_kind,
        message.agent_id,
        settings.zone,
    )


def answered(finished: Round, conversation: Conversation) -> ConversationAnswered:
    """Tells of an answered round."""
    waited = seconds(finished)
    assert finished.answered_at is not None
    assert waited is not None
    return ConversationAnswered(
        **counters(conversation),
        agent_id=finished.agent_id,
        sender_kind=finished.sender_kind or "agent",
        first=finished.first,
        round=finished.round,
        asked_at=finished.asked_at,
        answered_at=finished.answered_at,
        seconds=waited,
        within_3min=finished.within_3min,
    )


def arm_warning(conversation: Conversation, settings: ShopSettings, work: Work) -> None:
    """One lazy timer per conversation: it looks at the round that is open when it fires."""
    assert conversation.unanswered_since is not None
    conversation.warning_armed = True
    check = UnansweredCheck(
        shop_id=conversation.shop_id, conversation_id=conversation.conversation_id
    )
    due_at = conversation.unanswered_since + timedelta(seconds=settings.warning_seconds)
    work.arm(f"warning:{check.shop_id}:{check.conversation_id}", due_at, check)


def announce_opening(conversation: Conversation, work: Work) -> None:
    """Tells of a new conversation."""
    opened = ConversationOpened(
        **counters(conversation),
        platform=conversation.platform,
        group_id=conversation.group_id,
        opened_at=conversation.opened_at,
        order_state=conversation.order_state,
        previous_agent_id=conversation.affinity_agent_id,
    )
    work.emit(opened, deliver=receivers(conversation, shop=True))
