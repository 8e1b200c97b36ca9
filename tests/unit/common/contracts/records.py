"""Records as a shop system would publish them, to be spoilt by the tests."""

import json
from collections.abc import Mapping
from typing import Any

from common.contracts import Envelope, decode

BODY: dict[str, Any] = {
    "shop_id": "demo",
    "platform": "taobao",
    "buyer_id": "b1",
    "message_id": "m1",
    "sender": "buyer",
    "kind": "text",
    "text": "在吗",
    "sent_at": "2025-06-01T10:10:15+08:00",
}
ORDER: dict[str, Any] = {
    "shop_id": "demo",
    "platform": "taobao",
    "order_id": "o1",
    "buyer_id": "b1",
    "status": "unpaid",
    "lines": [
        {
            "line_id": "o1-1",
            "product_id": "p1",
            "title": "外套",
            "quantity": 1,
            "unit_price_fen": 100,
            "paid_fen": 100,
        }
    ],
    "goods_fen": 100,
    "postage_fen": 0,
    "discount_fen": 0,
    "total_fen": 100,
    "paid_fen": 0,
    "created_at": "2025-06-01T02:20:00Z",
    "modified_at": "2025-06-01T02:20:00Z",
}
HEADERS = {
    "ce_specversion": b"1.0",
    "ce_id": b"event-1",
    "ce_source": b"/erp",
    "ce_type": b"kefu.shop.message.v1",
    "ce_time": b"2025-06-01T10:10:16+08:00",
    "ce_shopid": b"demo",
    "content-type": b"application/json",
}
STRUCTURED_HEADERS = {"content-type": b"application/cloudevents+json; charset=UTF-8"}


def structured(**attributes: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": "event-1",
        "source": "/erp",
        "type": "kefu.shop.message.v1",
        "time": "2025-06-01T10:10:16+08:00",
        "shopid": "demo",
        "datacontenttype": "application/json",
        "data": BODY,
    } | attributes


def read(
    body: Any = BODY,
    *,
    topic: str = "shop.messages",
    key: bytes | None = b"demo:b1",
    headers: Mapping[str, bytes | None] = HEADERS,
    spoilt: Mapping[str, bytes | None] | None = None,
) -> Envelope:
    """Decodes a record; `spoilt` replaces some headers, None leaves one out."""
    value = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    sent = {**headers, **(spoilt or {})}
    return decode(topic, key, value, list(sent.items()))


def read_order(body: dict[str, Any]) -> Envelope:
    return read(body, topic="shop.orders", spoilt={"ce_type": b"kefu.shop.order.v1"})
