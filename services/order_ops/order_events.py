"""Turns what happened to an order into the events that other services read."""

from collections.abc import Iterable, Iterator
from datetime import datetime

import msgspec

from common.contracts import (
    OrderChanged,
    OrderClosed,
    OrderCreated,
    OrderEvent,
    OrderFinished,
    OrderPaid,
    OrderShipped,
    OrderSigned,
    OrderStatus,
    OrderUnpaid,
)

from .orders import Order, Transition, TransitionName

EVENTS: dict[TransitionName, type[OrderEvent]] = {
    "created": OrderCreated,
    "unpaid": OrderUnpaid,
    "paid": OrderPaid,
    "partly_shipped": OrderShipped,
    "shipped": OrderShipped,
    "signed": OrderSigned,
    "finished": OrderFinished,
    "closed": OrderClosed,
    "changed": OrderChanged,
}


class HistoryEntry(msgspec.Struct, kw_only=True):
    """One line of an order's history, in the order it was recorded (`entry_id` is a UUIDv7).

    `kind` is an event name (`order.paid`), `anomaly.<kind>`, `memo.<state>` or `resolved` (a person
    has seen to it); `occurred_at` is the platform's time where it has one, `recorded_at` ours.
    """

    shop_id: str
    entry_id: str
    order_id: str
    kind: str
    status: OrderStatus
    revision: int
    actor: str
    note: str
    occurred_at: datetime
    recorded_at: datetime


def events_of(order: Order, transitions: Iterable[Transition]) -> Iterator[OrderEvent]:
    """The events of the transitions; each raises the order's `revision` by one."""
    for transition in transitions:
        order.revision += 1
        yield _event(order, transition)


def _event(order: Order, transition: Transition) -> OrderEvent:
    return EVENTS[transition.name](
        shop_id=order.shop_id,
        platform=order.platform,
        order_id=order.order_id,
        buyer_id=order.buyer_id,
        status=order.status,
        previous_status=transition.previous_status,
        step_status=order.step_status,
        version=order.revision,
        total_fen=order.total_fen,
        paid_fen=order.paid_fen,
        postage_fen=order.postage_fen,
        lines=order.lines,
        occurred_at=transition.occurred_at,
        created_at=order.created_at,
        paid_at=order.paid_at,
        signed_at=order.signed_at,
        closes_at=order.closes_at if order.status == "unpaid" else None,
        close_reason=order.close_reason,
        parcels=order.parcels,
        refund_open=order.refund_open or order.case_open,
        region=order.region,
        memo=order.seller_memo,
        flag=order.flag,
    )
