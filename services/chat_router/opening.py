"""Opening a conversation: in the queue, or in the message box outside opening hours."""

from datetime import timedelta

import msgspec

from common.ids import new_id
from common.runtime import Work

from .buyers import Buyer, buyer_at
from .conversations import Conversation
from .groups import SkillGroup, choose_group, rank_of
from .messages import Incoming
from .shop_settings import ShopSettings, is_open_at
from .storing import store_message


class IdleCheck(msgspec.Struct, frozen=True, kw_only=True):
    """Timer: has nobody written for long?"""

    shop_id: str
    conversation_id: str


def open_conversation(incoming: Incoming, settings: ShopSettings, work: Work) -> Conversation:
    """A new conversation, in the queue or, outside opening hours, in the message box."""
    buyer = buyer_of(incoming, work)
    conversation = new_conversation(incoming, buyer, work)
    if not is_open_at(settings, work.now):
        conversation.state = "message_box"
        conversation.wait_reason = "message_box"
    work.add(conversation)
    idle = IdleCheck(shop_id=buyer.shop_id, conversation_id=conversation.conversation_id)
    work.arm(
        f"idle:{buyer.shop_id}:{conversation.conversation_id}",
        work.now + timedelta(seconds=settings.idle_close_seconds),
        idle,
    )
    work.after_commit("router")
    return conversation


def new_conversation(incoming: Incoming, buyer: Buyer, work: Work) -> Conversation:
    """A conversation for the group that the buyer's order situation leads to; not added yet."""
    groups = work.all(SkillGroup, "of_shop", incoming.shop_id)
    group_id, group_priority = choose_group(groups, buyer.order_state)
    conversation = Conversation(
        shop_id=incoming.shop_id,
        conversation_id=new_id(),
        buyer_id=buyer.buyer_id,
        platform=incoming.platform,
        state="queued",
        group_id=group_id,
        affinity_agent_id=buyer.last_agent_id,
        affinity_at=buyer.last_served_at,
        dedicated_agent_id=buyer.dedicated_agent_id,
        order_state=buyer.order_state,
        rank=rank_of(buyer.priority, group_priority),
        opened_at=work.now,
        queued_at=work.now,
        waiting_since=work.now,
    )
    buyer.conversation_id = conversation.conversation_id
    return conversation


def greet(conversation: Conversation, settings: ShopSettings, work: Work) -> None:
    """The greeting is the system's: it never counts as the first response."""
    away = conversation.state == "message_box"
    text = settings.closed_greeting if away else settings.greeting
    if text:
        greeting = say(conversation, text, source="greeting", id=conversation.conversation_id)
        store_message(greeting, conversation, settings, work)


def say(conversation: Conversation, text: str, *, source: str, id: str) -> Incoming:
    """A text of the system's own, for a conversation that is at hand."""
    return Incoming(
        shop_id=conversation.shop_id,
        buyer_id=conversation.buyer_id,
        source=source,
        client_message_id=id,
        platform=conversation.platform,
        sender_kind="system",
        sender_id="system",
        kind="text",
        text=text,
    )


def buyer_of(incoming: Incoming, work: Work) -> Buyer:
    """The buyer a message is from or to; a new one is added."""
    assert incoming.buyer_id is not None
    return buyer_at(work, incoming.shop_id, incoming.buyer_id, incoming.platform)
