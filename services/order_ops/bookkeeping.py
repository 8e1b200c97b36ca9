"""Takes a snapshot into the order book and does all that follows from it, in one unit of work."""

from collections.abc import Iterable

import msgspec
from msgspec import structs

from common.contracts import CaseEvent, OrderStatus, ShopOrder
from common.errors import Conflict
from common.runtime import Need, Work, row, rows

from . import memo_desk, reminder_desk
from .buyers import Buyer, buyer_of, forget_purchase, record_purchase
from .memos import Memo
from .merging import goes_backwards, is_foreign, is_newer, merge, raised
from .order_cases import OrderCase, case_after, show_cases
from .orders import Anomaly, Order, Transition
from .publishing import note, publish
from .reminder_policies import ReminderPolicy
from .reminders import Reminder


class OrderStateBackwards(Conflict):
    """A newer snapshot names an earlier state than the order has reached."""

    code = "order_state_backwards"
    title = "订单状态不能回退 / Order state going backwards"
    hint = "Read the order again; a snapshot that is merely late is accepted."


class OrderOfAnother(Conflict):
    """The order id belongs to another buyer or platform of this shop already."""

    code = "order_of_another"
    title = "订单号属于其他买家或平台 / Order of another buyer or platform"
    hint = "Check buyer_id and platform; an order id is unique within a shop."


class RecordOrder(msgspec.Struct, frozen=True, kw_only=True):
    """A snapshot that a shop system posts; the same body as the event `shop.order`."""

    snapshot: ShopOrder


class OrderRecorded(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a posted snapshot. `changes` is empty for a repeat or a stale one."""

    order_id: str
    status: OrderStatus
    revision: int
    changes: tuple[str, ...]
    anomalies: tuple[Anomaly, ...]


def snapshot_needs(snapshot: ShopOrder) -> Iterable[Need]:
    """The buyer, the order, its reminders, memos and cases, and the shop's policy."""
    shop_id, order_id = snapshot.shop_id, snapshot.order_id
    yield row(Buyer, shop_id, snapshot.buyer_id)
    yield row(Order, shop_id, order_id)
    yield rows(OrderCase, "of_order", shop_id, order_id)
    yield rows(Reminder, "of_order", shop_id, order_id)
    yield rows(Memo, "of_order", shop_id, order_id)
    yield row(ReminderPolicy, shop_id)


def record_posted(command: RecordOrder, work: Work) -> OrderRecorded:
    """Takes in a posted snapshot.

    Raises `OrderOfAnother` and `OrderStateBackwards` for what contradicts the book; the same
    from the bus is recorded as an anomaly, because there nobody waits for an answer.
    """
    snapshot = command.snapshot
    known = work.get(Order, snapshot.shop_id, snapshot.order_id)
    if known is not None and is_foreign(known, snapshot):
        raise OrderOfAnother("This order id belongs to another buyer or platform.")
    if known is not None and goes_backwards(known, snapshot):
        raise OrderStateBackwards(f"The order is {known.status} already.")
    order, transitions = record(snapshot, work)
    return OrderRecorded(
        order_id=order.order_id,
        status=order.status,
        revision=order.revision,
        changes=tuple(transition.name for transition in transitions),
        anomalies=order.anomalies,
    )


def record(snapshot: ShopOrder, work: Work) -> tuple[Order, tuple[Transition, ...]]:
    """Merges a snapshot, publishes what it revealed, and lets reminders and memos follow."""
    known = work.get(Order, snapshot.shop_id, snapshot.order_id)
    before = structs.replace(known) if known is not None else None
    merged, transitions = merge(known, snapshot)
    order = _kept(known, merged, work)
    _note_anomalies(raised(before, order, snapshot), order, work)
    if is_foreign(order, snapshot):
        return order, ()
    if before is None:
        show_cases(order, work.all(OrderCase, "of_order", order.shop_id, order.order_id))
    publish(order, transitions, work)
    _remember_purchase(order, transitions, work)
    reminder_desk.follow(order, work)
    if before is None or is_newer(snapshot, before):
        memo_desk.verify_against(order, snapshot, work)
    return order, transitions


def take_case(event: CaseEvent, work: Work) -> None:
    """Shows on the order whether one of its cases is open."""
    case = work.get(OrderCase, event.shop_id, event.case_id)
    after = case_after(case, event)
    if case is None:
        work.add(after)
    else:
        _assign(case, after)
    order = work.get(Order, event.shop_id, event.order_id)
    if order is None:
        return
    shown_before = order.refund_open or order.case_open
    show_cases(order, work.all(OrderCase, "of_order", event.shop_id, event.order_id))
    if (order.refund_open or order.case_open) != shown_before:
        changed = Transition("changed", order.status, event.occurred_at)
        publish(order, (changed,), work, actor=event.actor)


def case_needs(event: CaseEvent) -> Iterable[Need]:
    """The order, the case, and the other cases of the order."""
    yield row(Order, event.shop_id, event.order_id)
    yield row(OrderCase, event.shop_id, event.case_id)
    yield rows(OrderCase, "of_order", event.shop_id, event.order_id)


def _kept(known: Order | None, merged: Order, work: Work) -> Order:
    if known is None:
        work.add(merged)
        return merged
    _assign(known, merged)
    return known


def _assign(target: msgspec.Struct, source: msgspec.Struct) -> None:
    for name in target.__struct_fields__:
        setattr(target, name, getattr(source, name))


def _note_anomalies(anomalies: Iterable[Anomaly], order: Order, work: Work) -> None:
    for anomaly in anomalies:
        order.wait_for_person()
        note(order, f"anomaly.{anomaly}", work)


def _remember_purchase(order: Order, transitions: Iterable[Transition], work: Work) -> None:
    buyer = buyer_of(work, order.shop_id, order.buyer_id)
    names = {transition.name for transition in transitions}
    if order.status == "closed":
        forget_purchase(buyer, order)
    elif "paid" in names:
        record_purchase(buyer, order, work.now)
