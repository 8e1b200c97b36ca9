"""A stored message, what arrives to become one, and the events that tell of it."""

from datetime import datetime
from typing import Any

import msgspec

from common.contracts import (
    ActorRole,
    ChatMessage,
    MessageKind,
    MessageReceived,
    MessageSent,
    Platform,
    SenderKind,
    ShopMessage,
)

from .conversations import Conversation


class Incoming(msgspec.Struct, frozen=True, kw_only=True):
    """A message before it is stored.

    `source` and `client_message_id` together are its identity within the shop: a writer's ids
    are their own, so that one buyer can never hide another's message by choosing the same id.
    `counted_at` is None when our clock counts; a platform's messages bring the platform's.
    """

    shop_id: str
    buyer_id: str | None = None
    conversation_id: str | None = None
    source: str
    client_message_id: str
    platform: Platform = "own"
    sender_kind: SenderKind
    sender_id: str
    sender_role: ActorRole = "system"
    agent_id: str | None = None
    kind: MessageKind
    text: str | None = None
    media_url: str | None = None
    product_id: str | None = None
    order_id: str | None = None
    sent_at: datetime | None = None
    counted_at: datetime | None = None
    reminder_id: str | None = None
    case_id: str | None = None


class Message(msgspec.Struct, kw_only=True):
    """A stored message. `seq` counts from 1 in its conversation, without gaps.

    `agent_id` wrote it, or had the conversation. `sent_at` is the writer's clock, `received_at`
    ours; `counted_at` is what response times go by: the platform's time for a platform's message
    (never later than ours), else ours.
    """

    shop_id: str
    conversation_id: str
    seq: int
    message_id: str
    source: str
    client_message_id: str
    platform: Platform
    buyer_id: str
    agent_id: str | None = None
    sender_kind: SenderKind
    sender_id: str
    kind: MessageKind
    text: str | None = None
    media_url: str | None = None
    product_id: str | None = None
    order_id: str | None = None
    sent_at: datetime
    received_at: datetime
    counted_at: datetime
    reminder_id: str | None = None
    case_id: str | None = None


class MessageAccepted(msgspec.Struct, frozen=True, kw_only=True):
    """What the writer learns: the message is stored, once, under this number.

    `agent_id` had the conversation when it was stored, None while it waits; `repeated` says that
    it had been stored before.
    """

    conversation_id: str
    message_id: str
    client_message_id: str
    seq: int
    received_at: datetime
    agent_id: str | None = None
    repeated: bool = False


def incoming_from_platform(event: ShopMessage) -> Incoming:
    """A platform's message, whether it came as an event or by HTTP."""
    by_buyer = event.sender == "buyer"
    return Incoming(
        shop_id=event.shop_id,
        buyer_id=event.buyer_id,
        source=f"platform:{event.platform}",
        client_message_id=event.message_id,
        platform=event.platform,
        sender_kind="buyer" if by_buyer else "agent",
        sender_id=event.buyer_id if by_buyer else event.agent_id or "shop",
        agent_id=None if by_buyer else event.agent_id,
        kind=event.kind,
        text=event.text,
        media_url=event.media_url,
        product_id=event.product_id,
        order_id=event.order_id,
        sent_at=event.sent_at,
        counted_at=event.sent_at,
    )


def stored(
    incoming: Incoming, conversation: Conversation, message_id: str, now: datetime
) -> Message:
    """The row of an incoming message as the next one of its conversation."""
    return Message(
        shop_id=conversation.shop_id,
        conversation_id=conversation.conversation_id,
        seq=conversation.last_seq + 1,
        message_id=message_id,
        source=incoming.source,
        client_message_id=incoming.client_message_id,
        platform=conversation.platform,
        buyer_id=conversation.buyer_id,
        agent_id=incoming.agent_id or conversation.agent_id,
        sender_kind=incoming.sender_kind,
        sender_id=incoming.sender_id,
        kind=incoming.kind,
        text=incoming.text,
        media_url=incoming.media_url,
        product_id=incoming.product_id,
        order_id=incoming.order_id,
        sent_at=incoming.sent_at or now,
        received_at=now,
        counted_at=min(incoming.counted_at or now, now),
        reminder_id=incoming.reminder_id,
        case_id=incoming.case_id,
    )


def event_of(message: Message, conversation: Conversation) -> ChatMessage:
    """`message.received` or `message.sent`, with the conversation as it is after the message."""
    kind = MessageReceived if message.sender_kind == "buyer" else MessageSent
    return kind(
        **counters(conversation),
        message_id=message.message_id,
        client_message_id=message.client_message_id,
        platform=message.platform,
        agent_id=conversation.agent_id,
        group_id=conversation.group_id,
        sender_kind=message.sender_kind,
        sender_id=message.sender_id,
        kind=message.kind,
        text=message.text,
        media_url=message.media_url,
        product_id=message.product_id,
        order_id=message.order_id,
        seq=message.seq,
        sent_at=message.sent_at,
        received_at=message.received_at,
        state=conversation.state,
        reminder_id=message.reminder_id,
        case_id=message.case_id,
    )


def accepted(message: Message, *, repeated: bool) -> MessageAccepted:
    """The answer to a message's writer."""
    return MessageAccepted(
        conversation_id=message.conversation_id,
        message_id=message.message_id,
        client_message_id=message.client_message_id,
        seq=message.seq,
        received_at=message.received_at,
        agent_id=message.agent_id,
        repeated=repeated,
    )


def counters(conversation: Conversation) -> dict[str, Any]:
    """The fields that every event about a conversation carries."""
    return {
        "shop_id": conversation.shop_id,
        "conversation_id": conversation.conversation_id,
        "buyer_id": conversation.buyer_id,
        "unread_agent": conversation.unread_agent,
        "unread_buyer": conversation.unread_buyer,
        "unanswered_since": conversation.unanswered_since,
    }
