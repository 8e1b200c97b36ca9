"""A buyer as the shop knows them: tags, attributes, order and case beside the chat."""

from datetime import datetime

import msgspec

from common.contracts import CaseCard, OrderCard, OrderState, Platform
from common.runtime import Work


class Buyer(msgspec.Struct, kw_only=True):
    """One buyer's profile.

    `conversation_id` is the newest conversation; `last_agent_id` served the buyer last, at
    `last_served_at`. `priority` lifts the buyer in the queue (VIP). `order_state` and the cards
    are projections of orders and cases.
    """

    shop_id: str
    buyer_id: str
    platform: Platform = "own"
    name: str = ""
    tags: tuple[str, ...] = ()
    attributes: dict[str, str] = {}
    note: str = ""
    priority: int = 0
    dedicated_agent_id: str | None = None
    last_agent_id: str | None = None
    last_served_at: datetime | None = None
    conversation_id: str | None = None
    order_state: OrderState = "none"
    order_card: OrderCard | None = None
    case_card: CaseCard | None = None
    created_at: datetime
    edition: int = 1
    """Rises with every edit of the profile, not with what projections change: the ETag."""


def buyer_at(work: Work, shop_id: str, buyer_id: str, platform: Platform) -> Buyer:
    """The buyer; whoever nobody had heard of yet is added."""
    buyer = work.get(Buyer, shop_id, buyer_id)
    if buyer is None:
        buyer = Buyer(shop_id=shop_id, buyer_id=buyer_id, platform=platform, created_at=work.now)
        work.add(buyer)
    return buyer
