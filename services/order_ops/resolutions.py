"""A person has seen to what an order waited for: an anomaly, or a memo that was lost twice."""

from collections.abc import Iterable
from datetime import datetime

import msgspec

from common.errors import Conflict
from common.runtime import Need, Work, row
from common.web.etags import ExpectedVersion

from .orders import Order
from .publishing import note

RESOLVED = "resolved"
"""The kind of its line in the history."""


class OrderNotWaiting(Conflict):
    """The order waits for nobody: somebody has seen to it already, or there never was a reason."""

    code = "order_not_waiting"
    title = "该订单无需人工处理 / The order waits for nobody"
    hint = "Read the order's history; the last `resolved` says who saw to it."


class ResolveOrder(msgspec.Struct, frozen=True, kw_only=True):
    """Says that a person has seen to an order, as it stood in the version `expected`."""

    shop_id: str
    order_id: str
    note: str
    actor: str
    expected: ExpectedVersion


class OrderResolved(msgspec.Struct, frozen=True, kw_only=True):
    """Who saw to the order, when, and what they wrote about it."""

    order_id: str
    resolved_by: str
    resolved_at: datetime
    note: str


def order_needs(command: ResolveOrder) -> Iterable[Need]:
    """The order."""
    yield row(Order, command.shop_id, command.order_id)


def resolve(command: ResolveOrder, work: Work) -> OrderResolved:
    """Takes an order off the list of those that wait for a person.

    Nothing is published: that an order waits is the shop's own and stands in no event. Raises
    `NotFound` for an unknown order, `PreconditionFailed` when something came up after the caller
    looked, `OrderNotWaiting` when there is nothing to see to.
    """
    order = work.require(Order, command.shop_id, command.order_id)
    command.expected.check(order.version)
    if not order.needs_person:
        raise OrderNotWaiting("Nothing of this order waits for a person.")
    order.stop_waiting()
    note(order, RESOLVED, work, actor=command.actor, text=command.note)
    return OrderResolved(
        order_id=order.order_id,
        resolved_by=command.actor,
        resolved_at=work.now,
        note=command.note,
    )
