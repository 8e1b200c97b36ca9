"""Payment reminders, as order_ops publishes them."""

from typing import Annotated, Literal

from msgspec import Meta

from .base import Event, contract
from .vocabulary import Fen, Id, Platform, Text, Time

ReminderMode = Literal["message", "hint"]
"""`message`: written to the buyer. `hint`: shown to the agent of a live chat instead."""

StopReason = Literal[
    "paid",
    "closed",
    "live_chat",
    "quiet_hours",
    "cap",
    "holdout",
    "recent_purchase",
    "blacklist",
    "below_minimum",
    "other_order",
    "grade",
    "expired",
    "superseded",
]


@contract(
    name="reminder.due",
    topic="kefu.reminders",
    producers=("order_ops",),
    consumers=("chat_router",),
    summary="A payment reminder may be sent now: to the buyer, or as a hint to the chat's agent.",
    examples=[
        {
            "shop_id": "demo",
            "reminder_id": "01977c3e-0000-7000-8000-000000000041",
            "order_id": "260100001",
            "buyer_id": "tb_lihua88",
            "platform": "taobao",
            "stage": 1,
            "due_at": "2025-06-01T02:40:00Z",
            "sent_by": "message",
            "text": "亲,您拍下的外套还没有付款哦,今天付款今天发货。",
            "amount_fen": 38500,
            "closes_at": "2025-06-02T02:20:00Z",
            "valid_until": "2025-06-01T03:10:00Z",
            "idempotency_key": "260100001:1",
        }
    ],
)
class ReminderDue(Event, frozen=True, kw_only=True, omit_defaults=True):
    """`idempotency_key` is `order_id:stage`: whatever is repeated, one stage is sent once.

    From `valid_until` on it must not be written any more: quiet hours begin, the order closes, or
    the sender has given it up.
    """

    reminder_id: Id
    order_id: Id
    buyer_id: Id
    platform: Platform = "own"
    stage: Annotated[int, Meta(ge=1, le=20)]
    due_at: Time
    sent_by: ReminderMode
    text: Text
    amount_fen: Fen
    closes_at: Time | None = None
    valid_until: Time | None = None
    idempotency_key: Annotated[str, Meta(min_length=1, max_length=160)]


@contract(
    name="reminder.sent",
    topic="kefu.reminders",
    producers=("order_ops",),
    consumers=("shop_system",),
    summary="A payment reminder reached the chat.",
    examples=[
        {
            "shop_id": "demo",
            "reminder_id": "01977c3e-0000-7000-8000-000000000041",
            "order_id": "260100001",
            "buyer_id": "tb_lihua88",
            "stage": 1,
            "mode": "message",
            "message_id": "01977c3e-0000-7000-8000-000000000051",
            "sent_at": "2025-06-01T02:40:00.200Z",
        }
    ],
)
class ReminderSent(Event, frozen=True, kw_only=True, omit_defaults=True):
    """`message_id` is None when the reminder was a hint to the agent."""

    reminder_id: Id
    order_id: Id
    buyer_id: Id
    stage: Annotated[int, Meta(ge=1, le=20)]
    mode: ReminderMode
    message_id: Id | None = None
    sent_at: Time


@contract(
    name="reminder.stopped",
    topic="kefu.reminders",
    producers=("order_ops",),
    consumers=("shop_system",),
    summary="A reminder, or all that were still to come for an order, will not be sent.",
    examples=[
        {
            "shop_id": "demo",
            "reminder_id": "01977c3e-0000-7000-8000-000000000042",
            "order_id": "260100001",
            "buyer_id": "tb_lihua88",
            "stage": 2,
            "reason": "paid",
            "stopped_at": "2025-06-01T02:24:10.300Z",
        }
    ],
)
class ReminderStopped(Event, frozen=True, kw_only=True, omit_defaults=True):
    """Without `stage` the whole order's reminders stopped."""

    reminder_id: Id | None = None
    order_id: Id
    buyer_id: Id
    stage: Annotated[int, Meta(ge=1, le=20)] | None = None
    reason: StopReason
    stopped_at: Time
