"""What other shop systems publish: messages, orders, refunds and reviews of their platforms.

Orders and refunds are *snapshots*: the whole truth at `modified_at`. They may be repeated, come
late or in any order; the services keep the newest and never let a state go backwards.
"""

from typing import Annotated, Literal

from msgspec import Meta

from .base import Event, contract
from .content import CONTENT_RULES, require_content
from .vocabulary import (
    Fen,
    Flag,
    Id,
    Lines,
    MessageKind,
    Note,
    OrderStatus,
    Parcels,
    Platform,
    Rating,
    RefundKind,
    RefundPhase,
    RefundStatus,
    StepStatus,
    Text,
    Time,
    Title,
    Url,
    Version,
    Word,
)

ShopSender = Literal["buyer", "shop"]


@contract(
    name="shop.message",
    topic="shop.messages",
    producers=("shop_system",),
    consumers=("chat_router",),
    summary="A buyer wrote to the shop, or the shop's staff answered on the platform itself.",
    rules=CONTENT_RULES,
    examples=[
        {
            "shop_id": "demo",
            "platform": "taobao",
            "buyer_id": "tb_lihua88",
            "message_id": "im-20250601-000017",
            "sender": "buyer",
            "kind": "text",
            "text": "这件外套有 XL 码吗?",
            "sent_at": "2025-06-01T10:10:15+08:00",
        },
        {
            "shop_id": "demo",
            "platform": "taobao",
            "buyer_id": "tb_lihua88",
            "message_id": "im-20250601-000018",
            "sender": "buyer",
            "kind": "product_card",
            "product_id": "coat-001",
            "sent_at": "2025-06-01T10:10:21+08:00",
        },
    ],
)
class ShopMessage(Event, frozen=True, kw_only=True, omit_defaults=True):
    """`message_id` is the platform's own id: the same id twice is the same message."""

    platform: Platform
    buyer_id: Id
    message_id: Id
    sender: ShopSender
    agent_id: Id | None = None
    kind: MessageKind
    text: Text | None = None
    media_url: Url | None = None
    product_id: Id | None = None
    order_id: Id | None = None
    sent_at: Time

    def __post_init__(self) -> None:
        require_content(self, self.kind)


@contract(
    name="shop.order",
    topic="shop.orders",
    producers=("shop_system",),
    consumers=("order_ops",),
    summary="An order as it stands on its platform after a change.",
    examples=[
        {
            "shop_id": "demo",
            "platform": "taobao",
            "order_id": "260100001",
            "buyer_id": "tb_lihua88",
            "status": "unpaid",
            "lines": [
                {
                    "line_id": "260100001-1",
                    "product_id": "coat-001",
                    "sku_id": "coat-001-xl-navy",
                    "title": "轻薄羽绒外套 藏青 XL",
                    "quantity": 1,
                    "unit_price_fen": 39900,
                    "paid_fen": 37900,
                }
            ],
            "goods_fen": 39900,
            "postage_fen": 600,
            "discount_fen": 2000,
            "total_fen": 38500,
            "paid_fen": 0,
            "created_at": "2025-06-01T10:20:00+08:00",
            "closes_at": "2025-06-02T10:20:00+08:00",
            "modified_at": "2025-06-01T10:20:00+08:00",
            "version": 1,
            "region": "浙江省杭州市",
        },
        {
            "shop_id": "demo",
            "platform": "taobao",
            "order_id": "260100001",
            "buyer_id": "tb_lihua88",
            "status": "shipped",
            "lines": [
                {
                    "line_id": "260100001-1",
                    "product_id": "coat-001",
                    "title": "轻薄羽绒外套 藏青 XL",
                    "quantity": 1,
                    "unit_price_fen": 39900,
                    "paid_fen": 37900,
                }
            ],
            "goods_fen": 39900,
            "postage_fen": 600,
            "discount_fen": 2000,
            "total_fen": 38500,
            "paid_fen": 38500,
            "created_at": "2025-06-01T10:20:00+08:00",
            "paid_at": "2025-06-01T10:24:10+08:00",
            "shipped_at": "2025-06-01T18:02:00+08:00",
            "modified_at": "2025-06-01T18:02:00+08:00",
            "version": 3,
            "parcels": [{"tracking_no": "SF1400000001", "courier": "SF", "status": "created"}],
            "seller_memo": "送礼,请附贺卡",
            "flag": 1,
        },
    ],
)
class ShopOrder(Event, frozen=True, kw_only=True, omit_defaults=True):
    """A snapshot of an order.

    `total_fen` = goods + postage - discount, what the buyer owes; `paid_fen` what was paid so far.
    A line's `paid_fen` is its share of what is, or for an unpaid order would be, paid for goods.
    `closes_at` is when the platform closes the order if it stays unpaid. `version` is the
    platform's own counter where it has one; else snapshots are ordered by `modified_at` and status.
    """

    platform: Platform
    order_id: Id
    buyer_id: Id
    status: OrderStatus
    step_status: StepStatus = "none"
    lines: Lines
    goods_fen: Fen
    postage_fen: Fen
    discount_fen: Fen
    total_fen: Fen
    paid_fen: Fen
    created_at: Time
    paid_at: Time | None = None
    shipped_at: Time | None = None
    signed_at: Time | None = None
    finished_at: Time | None = None
    closed_at: Time | None = None
    closes_at: Time | None = None
    close_reason: Title | None = None
    modified_at: Time
    version: Version | None = None
    region: Annotated[str, Meta(max_length=200)] | None = None
    parcels: Parcels = ()
    seller_memo: Note | None = None
    flag: Flag | None = None
    buyer_grade: Word | None = None
    refund_open: bool = False


@contract(
    name="shop.refund",
    topic="shop.aftersales",
    producers=("shop_system",),
    consumers=("aftersales",),
    summary="A refund or return request as it stands on its platform after a change.",
    examples=[
        {
            "shop_id": "demo",
            "platform": "tmall",
            "refund_id": "rf-7001",
            "order_id": "260100001",
            "line_id": "260100001-1",
            "buyer_id": "tb_lihua88",
            "kind": "return_and_refund",
            "phase": "onsale",
            "status": "wait_seller_agree",
            "refund_version": 1,
            "amount_fen": 37900,
            "reason": "质量问题",
            "description": "袖口开线",
            "goods_received": True,
            "deadline_at": "2025-06-09T09:00:00+08:00",
            "created_at": "2025-06-04T09:00:00+08:00",
            "modified_at": "2025-06-04T09:00:00+08:00",
        }
    ],
)
class ShopRefund(Event, frozen=True, kw_only=True, omit_defaults=True):
    """A snapshot of a refund request.

    `refund_version` rises whenever the buyer alters the request; an answer must name the version
    it answers. `deadline_at` is the platform's own deadline and goes before any of ours.
    `goods_received` is None when the buyer did not say.
    """

    platform: Platform
    refund_id: Id
    order_id: Id
    line_id: Id | None = None
    buyer_id: Id
    kind: RefundKind
    phase: RefundPhase
    status: RefundStatus
    refund_version: Version
    amount_fen: Fen
    reason: Title
    description: Text = ""
    goods_received: bool | None = None
    deadline_at: Time | None = None
    return_tracking_no: Id | None = None
    created_at: Time
    modified_at: Time


@contract(
    name="shop.review",
    topic="shop.reviews",
    producers=("shop_system",),
    consumers=("feedback",),
    summary="A buyer reviewed a product.",
    examples=[
        {
            "shop_id": "demo",
            "platform": "taobao",
            "review_id": "rv-9001",
            "order_id": "260100001",
            "product_id": "coat-001",
            "buyer_id": "tb_lihua88",
            "rating": 2,
            "text": "洗了一次就起球,颜色也比图片浅。",
            "created_at": "2025-06-12T20:15:00+08:00",
        }
    ],
)
class ShopReview(Event, frozen=True, kw_only=True, omit_defaults=True):
    """The same `review_id` with another text is the buyer's edited review."""

    platform: Platform | None = None
    review_id: Id
    order_id: Id | None = None
    product_id: Id
    buyer_id: Id
    rating: Rating
    text: Text
    created_at: Time
