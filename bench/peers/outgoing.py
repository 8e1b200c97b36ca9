"""The outgoing events of the P1 peers: the same bytes on the bus as chat_router's."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec
from uuid_utils import uuid7

from common.contracts import ConversationOpened, MessageReceived, MessageSent, ShopMessage

OUT_TOPIC = "kefu.conversations"
SOURCE = "kefu/chat_router"

encode = msgspec.json.Encoder().encode


def opened(conversation: Any, platform: Any, now: datetime) -> tuple[str, bytes]:
    """`conversation.opened`: its type and its JSON."""
    event = ConversationOpened(
        **_counters(conversation),
        platform=platform,
        group_id=conversation.group_id,
        opened_at=now,
        order_state="none",
    )
    return "kefu.conversation.opened.v1", encode(event)


def message_received(
    conversation: Any, message: ShopMessage, message_id: str, seq: int, now: datetime
) -> tuple[str, bytes]:
    """`message.received`: its type and its JSON."""
    event = MessageReceived(
        **_counters(conversation),
        message_id=message_id,
        client_message_id=message.message_id,
        platform=message.platform,
        agent_id=conversation.agent_id,
        group_id=conversation.group_id,
        sender_kind="buyer",
        sender_id=message.buyer_id,
        kind=message.kind,
        text=message.text,
        media_url=message.media_url,
        product_id=message.product_id,
        order_id=message.order_id,
        seq=seq,
        sent_at=message.sent_at,
        received_at=now,
        state=conversation.state,
    )
    return "kefu.message.received.v1", encode(event)


def message_sent(
    conversation: Any, text: str, message_id: str, seq: int, now: datetime
) -> tuple[str, bytes]:
    """`message.sent` of a greeting: its type and its JSON."""
    event = MessageSent(
        **_counters(conversation),
        message_id=message_id,
        client_message_id=conversation.conversation_id,
        platform=conversation.platform,
        group_id=conversation.group_id,
        sender_kind="system",
        sender_id="system",
        kind="text",
        text=text,
        seq=seq,
        sent_at=now,
        received_at=now,
        state=conversation.state,
    )
    return "kefu.message.sent.v1", encode(event)


def _counters(conversation: Any) -> dict[str, Any]:
    return {
        "shop_id": conversation.shop_id,
        "conversation_id": conversation.conversation_id,
        "buyer_id": conversation.buyer_id,
        "unread_agent": conversation.unread_agent,
        "unread_buyer": conversation.unread_buyer,
        "unanswered_since": conversation.unanswered_since,
    }


def headers_of(
    shop_id: str, type_: str, places: Iterable[tuple[str, str, int]], now: datetime
) -> list[tuple[str, str]]:
    """The record's headers; `places` are (shop, receiver, number in the receiver's feed)."""
    return [
        ("ce_specversion", "1.0"),
        ("ce_id", str(uuid7())),
        ("ce_source", SOURCE),
        ("ce_type", type_),
        ("ce_time", now.astimezone(UTC).isoformat()),
        ("ce_shopid", shop_id),
        ("content-type", "application/json"),
        ("ce_deliveries", ",".join(f"{receiver}={n}" for _, receiver, n in places)),
    ]


def headers_text(
    shop_id: str, type_: str, places: Iterable[tuple[str, str, int]], now: datetime
) -> str:
    """The same, as an outbox row keeps them."""
    return encode(headers_of(shop_id, type_, places, now)).decode()
