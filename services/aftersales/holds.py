"""The sum guard: refunds of an order never exceed what was paid for it.

An amount is *held* before the platform is asked to pay, under the lock of the order's row, and
is `refunded` or `released` by the platform's answer. What is held counts like what is paid, so
that however many callers race, held + refunded <= paid holds per line and for freight.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Literal

import msgspec

from aftersales.allocation import allocate
from aftersales.cases import LineNotInOrder, OverPaid
from aftersales.orders import FREIGHT, PaidOrder, Share, paid_shares

HoldState = Literal["held", "refunded", "released"]


class Part(msgspec.Struct, frozen=True):
    """What of an amount falls on one line, or on freight (`line_id` None)."""

    line_id: str | None
    fen: int


Parts = tuple[Part, ...]


class Hold(msgspec.Struct, kw_only=True):
    """An amount held for one refund, or seen to have been refunded.

    `hold_id` is the id of the command that carries it out. `parts` add up to `amount_fen`, or
    are empty while the order is not known (a refund that the platform paid by itself).
    """

    shop_id: str
    hold_id: str
    order_id: str
    case_id: str
    amount_fen: int
    parts: Parts
    state: HoldState
    held_at: datetime
    settled_at: datetime | None = None

    @property
    def counts(self) -> bool:
        """Whether the amount takes away from what can still be refunded."""
        return self.state != "released"


def refundable(order: PaidOrder, holds: Iterable[Hold]) -> Share:
    """What can still be refunded for each line and for freight."""
    left = paid_shares(order)
    for hold in holds:
        for part in hold.parts if hold.counts else ():
            left[part.line_id] = left.get(part.line_id, 0) - part.fen
    return left


def reach(left: Share, line_id: str | None) -> int:
    """The largest refund of a line (with freight), or of the whole order when it is None."""
    within = max(0, sum(left.values()))
    if line_id is None:
        return min(within, sum(max(0, fen) for fen in left.values()))
    return min(within, max(0, left.get(line_id, 0)) + max(0, left.get(FREIGHT, 0)))


def split(amount_fen: int, line_id: str | None, order: PaidOrder, holds: Sequence[Hold]) -> Parts:
    """How an amount falls on what can still be refunded.

    A line's refund takes the line first and then freight; a whole order's is divided over its
    lines by what is left of each, and freight comes last. `OverPaid` when it does not fit.
    """
    left = refundable(order, holds)
    if line_id is not None and order.line(line_id) is None:
        raise LineNotInOrder(f"order {order.order_id} has no such line")
    limit = reach(left, line_id)
    if amount_fen > limit:
        raise OverPaid(
            f"{amount_fen} fen asked, {limit} fen can be refunded",
            extra={"refundable_fen": limit, "amount_fen": amount_fen},
        )
    return _parts(amount_fen, line_id, left)


def _parts(amount_fen: int, line_id: str | None, left: Share) -> Parts:
    """The parts of an amount that fits."""
    lines = [key for key in left if key is not FREIGHT and line_id in (None, key)]
    room = [max(0, left[key]) for key in lines]
    goods_fen = min(amount_fen, sum(room))
    shares = allocate(goods_fen, room) if lines else []
    parts = [Part(key, fen) for key, fen in zip(lines, shares, strict=True) if fen]
    if amount_fen > goods_fen:
        parts.append(Part(FREIGHT, amount_fen - goods_fen))
    return tuple(parts)


def parts_of_fact(
    amount_fen: int, line_id: str | None, order: PaidOrder, holds: Sequence[Hold]
) -> Parts:
    """How money that has already gone back falls on the order, whether it fits or not.

    What exceeds the order is booked where it was asked for, so that nothing more is refunded.
    Empty while the order is not known.
    """
    if not order.known or not amount_fen:
        return ()
    if line_id is not None and order.line(line_id) is None:
        line_id = None
    left = refundable(order, holds)
    fits = min(amount_fen, reach(left, line_id))
    parts = {part.line_id: part.fen for part in _parts(fits, line_id, left)}
    if amount_fen > fits:
        parts[line_id] = parts.get(line_id, 0) + amount_fen - fits
    return tuple(Part(key, fen) for key, fen in parts.items())


def settle(hold: Hold, actual_fen: int, line_id: str | None, order: PaidOrder,
           others: Sequence[Hold], now: datetime) -> None:  # fmt: skip
    """The money went back: book it, at the amount that was really paid."""
    if actual_fen != hold.amount_fen:
        hold.amount_fen = actual_fen
        hold.parts = parts_of_fact(actual_fen, line_id, order, others)
    hold.state = "refunded"
    hold.settled_at = now


def release(hold: Hold, now: datetime) -> None:
    """The platform refused: the amount can be refunded again."""
    hold.state = "released"
    hold.settled_at = now
