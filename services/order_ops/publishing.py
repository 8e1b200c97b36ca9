"""Publishes what happened to an order and writes it into the order's history."""

from collections.abc import Iterable
from datetime import datetime

from common.contracts import registry
from common.ids import new_id
from common.runtime import Work

from .order_events import HistoryEntry, events_of
from .orders import Order, Transition

PLATFORM = "platform"
"""The actor of what a snapshot told."""


def publish(
    order: Order, transitions: Iterable[Transition], work: Work, actor: str = PLATFORM
) -> None:
    """One event and one line of history per transition."""
    for event in events_of(order, transitions):
        work.emit(event, subject=order.order_id)
        kind = registry.of(type(event)).name
        note(order, kind, work, actor=actor, occurred_at=event.occurred_at)


def note(
    order: Order,
    kind: str,
    work: Work,
    *,
    actor: str = PLATFORM,
    text: str = "",
    occurred_at: datetime | None = None,
) -> None:
    """One line of history that is not an event of its own."""
    work.add(
        HistoryEntry(
            shop_id=order.shop_id,
            entry_id=new_id(),
            order_id=order.order_id,
            kind=kind,
            status=order.status,
            revision=order.revision,
            actor=actor,
            note=text[:1000],
            occurred_at=occurred_at or work.now,
            recorded_at=work.now,
        )
    )
