"""What aftersales knows of an order: what was paid for each line and for freight.

Fed by the order book's events; the newest version wins. A row without `known` stands for an
order that a case names but the order book has not told of yet; the row is there all the same,
because its lock is what serialises everything that happens to one order's money.
"""

from datetime import datetime

import msgspec

from aftersales.allocation import allocate
from common.contracts import OrderEvent, OrderStatus, Platform

FREIGHT = None
"""The key of freight beside the line ids."""

Share = dict[str | None, int]
"""Fen per line id, and under `FREIGHT` for freight."""


class PaidLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line: `paid_fen` after discounts, for all of its pieces."""

    line_id: str
    product_id: str
    paid_fen: int


class PaidOrder(msgspec.Struct, kw_only=True):
    """An order as far as refunds need it. `order_version` is the order book's."""

    shop_id: str
    order_id: str
    known: bool = False
    buyer_id: str | None = None
    platform: Platform | None = None
    status: OrderStatus | None = None
    order_version: int = 0
    paid_fen: int = 0
    postage_fen: int = 0
    lines: tuple[PaidLine, ...] = ()
    updated_at: datetime

    @property
    def shipped(self) -> bool:
        """Whether goods have left the shop; an unknown order counts as shipped (longer waits)."""
        return self.status not in ("unpaid", "paid")

    def line(self, line_id: str | None) -> PaidLine | None:
        """The line with this id."""
        return next((line for line in self.lines if line.line_id == line_id), None)


def take_order(order: PaidOrder, event: OrderEvent, now: datetime) -> bool:
    """Take in a newer version of the order; False when it was known already."""
    if order.known and event.version <= order.order_version:
        return False
    order.known = True
    order.buyer_id = event.buyer_id
    order.platform = event.platform
    order.status = event.status
    order.order_version = event.version
    order.paid_fen = event.paid_fen
    order.postage_fen = event.postage_fen
    order.lines = tuple(
        PaidLine(line_id=line.line_id, product_id=line.product_id, paid_fen=line.paid_fen)
        for line in event.lines
    )
    order.updated_at = now
    return True


def paid_shares(order: PaidOrder) -> Share:
    """What was paid for each line and for freight; adds up to `paid_fen` exactly.

    Where the lines and the freight say something else than the sum paid (a deposit, a discount
    on the whole order), the sum is divided over them by largest remainder.
    """
    stated: Share = {line.line_id: line.paid_fen for line in order.lines}
    stated[FREIGHT] = order.postage_fen
    if sum(stated.values()) == order.paid_fen:
        return stated
    return dict(zip(stated, allocate(order.paid_fen, list(stated.values())), strict=True))
