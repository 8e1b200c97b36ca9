"""The words that several events share: bounded field types, enumerations and small value structs.

Every string is bounded, money is whole fen, and a time without a zone is refused, so that
whatever passes the door of a consumer also fits its tables.
"""

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

MAX_FEN = 1_000_000_000_000
"""Ten billion yuan: far above any order and far below what a 64-bit column holds."""

ShopId = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=64,
        # No colon, so that the shop ends at the first colon of every partition key;
        # the look-ahead is there because Python's `$` also matches before a final newline.
        pattern=r"^[A-Za-z0-9_.-]+(?!\n)$",
        description="The shop that owns the event. Letters, digits, `_`, `.` and `-` only.",
    ),
]
Id = Annotated[str, Meta(min_length=1, max_length=128)]
Word = Annotated[str, Meta(min_length=1, max_length=64)]
Title = Annotated[str, Meta(max_length=500)]
Text = Annotated[str, Meta(max_length=4000)]
Note = Annotated[str, Meta(max_length=1000)]
Excerpt = Annotated[str, Meta(max_length=500)]
Url = Annotated[
    str,
    Meta(max_length=2000, pattern=r"^https?://", description="An absolute http or https address."),
]
Receiver = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=160,
        description="Whom a socket serves: `agent:<agent_id>`, `buyer:<buyer_id>` or `shop`.",
    ),
]
Fen = Annotated[
    int,
    Meta(ge=0, le=MAX_FEN, description="Money in whole fen (1 yuan = 100 fen), never negative."),
]
Count = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Sequence = Annotated[int, Meta(ge=1, le=2**53 - 1)]
Version = Annotated[int, Meta(ge=0, le=2**53 - 1)]
Rating = Annotated[int, Meta(ge=1, le=5)]
Flag = Annotated[
    int,
    Meta(
        ge=0, le=5, description="Seller's flag: 0 grey, 1 red, 2 yellow, 3 green, 4 blue, 5 pink."
    ),
]
Seconds = Annotated[float, Meta(ge=0)]
Probability = Annotated[float, Meta(ge=0, le=1)]
Time = Annotated[
    datetime,
    Meta(tz=True, description="RFC 3339 with an offset; a time without a zone is refused."),
]

Platform = Literal["taobao", "tmall", "doudian", "jd", "pinduoduo", "shopify", "woocommerce", "own"]
Service = Literal["chat_router", "order_ops", "aftersales", "feedback"]
ActorRole = Literal[
    "buyer", "agent", "senior_agent", "supervisor", "operations", "admin", "system", "platform"
]

MessageKind = Literal["text", "image", "video", "product_card", "order_card"]
SenderKind = Literal["buyer", "agent", "bot", "system"]
ConversationState = Literal["queued", "assigned", "message_box", "closed"]
OrderState = Literal["none", "unpaid", "paid", "shipped", "finished", "refund_open"]
"""The buyer's order situation that routing looks at."""
Presence = Literal["online", "suspended", "away", "offline"]

OrderStatus = Literal["unpaid", "paid", "partly_shipped", "shipped", "signed", "finished", "closed"]
StepStatus = Literal["none", "front_unpaid", "front_paid", "final_paid", "forfeited"]
ParcelStatus = Literal[
    "created", "in_transit", "out_for_delivery", "signed", "refused", "returned", "abnormal", "lost"
]

RefundKind = Literal["refund_only", "return_and_refund"]
RefundPhase = Literal["onsale", "aftersale"]
RefundStatus = Literal[
    "wait_seller_agree",
    "wait_buyer_return_goods",
    "wait_seller_confirm_goods",
    "seller_refuse_buyer",
    "closed",
    "success",
]
CaseKind = Literal["refund_only", "return_and_refund", "exchange", "resend", "price_protection"]
CaseState = Literal[
    "wait_seller_agree",
    "wait_buyer_return_goods",
    "wait_seller_confirm_goods",
    "seller_refuse_buyer",
    "refunding",
    "closed",
    "success",
]


class OrderLine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of an order. `paid_fen` is what was paid for the whole line after discounts."""

    line_id: Id
    product_id: Id
    sku_id: Id | None = None
    title: Title
    quantity: Annotated[int, Meta(ge=1, le=1_000_000)]
    unit_price_fen: Fen
    paid_fen: Fen


class Parcel(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A parcel of an order and the last thing its courier said about it."""

    tracking_no: Id
    courier: Word
    status: ParcelStatus


Lines = Annotated[tuple[OrderLine, ...], Meta(max_length=500)]
Parcels = Annotated[tuple[Parcel, ...], Meta(max_length=100)]
