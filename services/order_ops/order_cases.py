"""A small projection of after-sale cases: whether a refund is open for an order.

Cases may come before the order they belong to, so they are kept apart from it.
"""

from collections.abc import Iterable

import msgspec

from common.contracts import CaseClosed, CaseEvent

from .orders import Order


class OrderCase(msgspec.Struct, kw_only=True):
    """One case of an order. `case_version` is that of the newest event taken in."""

    shop_id: str
    case_id: str
    order_id: str
    is_open: bool
    case_version: int


def case_after(case: OrderCase | None, event: CaseEvent) -> OrderCase:
    """The case after an event; an older event than the one known changes nothing."""
    if case is not None and event.version <= case.case_version:
        return case
    return OrderCase(
        shop_id=event.shop_id,
        case_id=event.case_id,
        order_id=event.order_id,
        is_open=not isinstance(event, CaseClosed) and event.state not in ("closed", "success"),
        case_version=event.version,
    )


def show_cases(order: Order, cases: Iterable[OrderCase]) -> bool:
    """Puts on the order whether any case of it is open; whether that was a change."""
    is_open = any(case.is_open for case in cases)
    changed = order.case_open != is_open
    order.case_open = is_open
    return changed
