"""Messages and what became of them: stored, delivered, read; and who is typing."""

from typing import Annotated

import msgspec
from msgspec import Meta

from .base import Event, contract
from .chat import ConversationEvent
from .content import CONTENT_RULES, require_content
from .vocabulary import (
    ConversationState,
    Excerpt,
    Id,
    MessageKind,
    Platform,
    Receiver,
    SenderKind,
    Sequence,
    Text,
    Time,
    Url,
    Word,
)


class TextWarning(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a red-line rule found in an outgoing message, with a better wording if there is one."""

    rule: Word
    message: Excerpt
    suggestion: Excerpt | None = None


class ChatMessage(ConversationEvent, frozen=True, kw_only=True, omit_defaults=True):
    """A stored message. `seq` counts the conversation's messages from 1 without a gap.

    `sent_at` is the sender's clock, `received_at` ours; order is by `seq` alone. `state`,
    `agent_id` and `group_id` are the conversation's after the message. `client_message_id` is the
    id the writer chose (or the platform's): the same id again is the same message.
    """

    message_id: Id
    client_message_id: Id
    platform: Platform = "own"
    agent_id: Id | None = None
    group_id: Id | None = None
    sender_kind: SenderKind
    sender_id: Id
    kind: MessageKind
    text: Text | None = None
    media_url: Url | None = None
    product_id: Id | None = None
    order_id: Id | None = None
    seq: Sequence
    sent_at: Time
    received_at: Time
    state: ConversationState
    reminder_id: Id | None = None
    case_id: Id | None = None
    warnings: Annotated[tuple[TextWarning, ...], Meta(max_length=20)] = ()

    def __post_init__(self) -> None:
        require_content(self, self.kind)


@contract(
    name="message.received",
    topic="kefu.conversations",
    producers=("chat_router",),
    consumers=("chat_router", "order_ops", "feedback"),
    summary="A buyer's message was stored.",
    rules=CONTENT_RULES,
    examples=[
        {
            "shop_id": "demo",
            "conversation_id": "01977c3e-0000-7000-8000-000000000001",
            "message_id": "01977c3e-0000-7000-8000-000000000011",
            "client_message_id": "im-20250601-000017",
            "platform": "taobao",
            "buyer_id": "tb_lihua88",
            "agent_id": "xiaomei",
            "group_id": "presale",
            "sender_kind": "buyer",
            "sender_id": "tb_lihua88",
            "kind": "text",
            "text": "这件外套有 XL 码吗?",
            "seq": 1,
            "sent_at": "2025-06-01T02:10:15Z",
            "received_at": "2025-06-01T02:10:15.320Z",
            "state": "assigned",
            "unread_agent": 1,
            "unread_buyer": 0,
            "unanswered_since": "2025-06-01T02:10:15.320Z",
        }
    ],
)
class MessageReceived(ChatMessage, frozen=True, kw_only=True, omit_defaults=True):
    """From the buyer to the shop."""


@contract(
    name="message.sent",
    topic="kefu.conversations",
    producers=("chat_router",),
    consumers=("chat_router", "order_ops", "shop_system"),
    summary="An agent, the bot or the system wrote to a buyer; the message was stored.",
    rules=CONTENT_RULES,
    examples=[
        {
            "shop_id": "demo",
            "conversation_id": "01977c3e-0000-7000-8000-000000000001",
            "message_id": "01977c3e-0000-7000-8000-000000000012",
            "client_message_id": "console-xiaomei-42",
            "platform": "taobao",
            "buyer_id": "tb_lihua88",
            "agent_id": "xiaomei",
            "group_id": "presale",
            "sender_kind": "agent",
            "sender_id": "xiaomei",
            "kind": "text",
            "text": "亲,有的,藏青和米白都有 XL。",
            "seq": 2,
            "sent_at": "2025-06-01T02:10:40Z",
            "received_at": "2025-06-01T02:10:40.105Z",
            "state": "assigned",
            "unread_agent": 0,
            "unread_buyer": 1,
            "unanswered_since": None,
        }
    ],
)
class MessageSent(ChatMessage, frozen=True, kw_only=True, omit_defaults=True):
    """From the shop to the buyer. A platform adapter carries it to the platform."""


@contract(
    name="message.delivered",
    topic="kefu.conversations",
    producers=("chat_router",),
    consumers=("chat_router",),
    summary="A receiver's client acknowledged a message.",
    examples=[
        {
            "shop_id": "demo",
            "conversation_id": "01977c3e-0000-7000-8000-000000000001",
            "buyer_id": "tb_lihua88",
            "message_id": "01977c3e-0000-7000-8000-000000000012",
            "seq": 2,
            "receiver": "buyer:tb_lihua88",
            "delivered_at": "2025-06-01T02:10:40.310Z",
        }
    ],
)
class MessageDelivered(Event, frozen=True, kw_only=True, omit_defaults=True):
    """Says nothing about whether the message was read."""

    conversation_id: Id
    buyer_id: Id
    message_id: Id
    seq: Sequence | None = None
    receiver: Receiver
    delivered_at: Time


@contract(
    name="message.read",
    topic="kefu.conversations",
    producers=("chat_router",),
    consumers=("chat_router",),
    summary="One side read a conversation up to a message.",
    examples=[
        {
            "shop_id": "demo",
            "conversation_id": "01977c3e-0000-7000-8000-000000000001",
            "buyer_id": "tb_lihua88",
            "reader": "buyer:tb_lihua88",
            "up_to_seq": 2,
            "read_at": "2025-06-01T02:10:55Z",
            "unread_agent": 0,
            "unread_buyer": 0,
            "unanswered_since": None,
        }
    ],
)
class MessageRead(ConversationEvent, frozen=True, kw_only=True, omit_defaults=True):
    """All messages with `seq` up to and including `up_to_seq` are read by `reader`'s side."""

    reader: Receiver
    up_to_seq: Sequence
    read_at: Time


@contract(
    name="typing",
    topic="kefu.typing",
    producers=("chat_router",),
    consumers=("chat_router",),
    summary="Someone is typing; shown for a few seconds, never stored.",
    examples=[
        {
            "shop_id": "demo",
            "conversation_id": "01977c3e-0000-7000-8000-000000000001",
            "buyer_id": "tb_lihua88",
            "sender": "buyer:tb_lihua88",
            "at": "2025-06-01T02:10:12Z",
        }
    ],
)
class Typing(Event, frozen=True, kw_only=True, omit_defaults=True):
    """Lost without harm."""

    conversation_id: Id
    buyer_id: Id
    sender: Receiver
    at: Time
