"""The order book: snapshots of any platform become one order that never goes backwards.

Snapshots may be repeated, late or reordered. A merge is therefore a join in which each part of an
order has one order-independent rule, so that every order of arrival ends in the same order:

* ordinary fields come from the newest snapshot: by the platform's version where both have one,
  else by `modified_at`; ties go to the higher state rank, then to the more money paid;
* `status` is the highest rank ever seen; closed and finished are terminal and stay;
* a moment (paid, shipped, ...) once known is kept, the earliest wins;
* a milestone is passed once, when the first snapshot proves it.

Two snapshots that contradict each other (paid after it was closed, unpaid after it was paid) are
recorded as an anomaly for a person to look at; nothing is guessed. `anomalies` keeps every kind
that was ever seen; what a person has seen to waits for one again only when it arises anew.
"""

from collections.abc import Iterable
from datetime import datetime
from hashlib import sha256
from typing import Any

import msgspec
from msgspec import structs

from common.contracts import OrderStatus, ShopOrder

from .orders import (
    MILESTONES,
    RANK,
    STEP_RANK,
    TERMINAL,
    Anomaly,
    Milestone,
    Order,
    Transition,
    TransitionName,
)

_PAID_STATUSES = frozenset({"paid", "finished"})
_SHIPPED_STATUSES = frozenset({"partly_shipped", "shipped", "signed"})
# What each snapshot says about the order as a whole; taken from the newest one.
_LATEST_FIELDS = (
    "platform", "buyer_id", "lines", "goods_fen", "postage_fen", "discount_fen", "total_fen",
    "paid_fen", "created_at", "closes_at", "close_reason", "modified_at", "region", "parcels",
    "seller_memo", "flag", "buyer_grade", "refund_open",
)  # fmt: skip
_MOMENTS = ("paid_at", "shipped_at", "signed_at", "finished_at", "closed_at")
# A change in one of these is worth an order.changed; the rest is bookkeeping.
_VISIBLE = (
    "step_status", "lines", "goods_fen", "postage_fen", "discount_fen", "total_fen", "paid_fen",
    "created_at", "closes_at", "close_reason", "region", "parcels", "seller_memo", "flag",
    "buyer_grade", "refund_open", "paid_at", "shipped_at", "signed_at",
)  # fmt: skip


def merge(order: Order | None, snapshot: ShopOrder) -> tuple[Order, tuple[Transition, ...]]:
    """The order after a snapshot, and what that newly revealed, in the order of an order's life.

    The order given is not altered. No transitions: the snapshot was a repeat, or stale and
    without news. A snapshot of another buyer or platform under the same id changes nothing but
    `anomalies`.
    """
    if order is not None and is_foreign(order, snapshot):
        return _with_anomalies(order, order, snapshot), ()
    merged = _joined(order, snapshot)
    revealed = _milestones(merged, snapshot)
    merged.passed = tuple(name for name in MILESTONES if name in revealed)
    merged = _with_anomalies(order, merged, snapshot)
    return merged, _transitions(order, merged, snapshot)


def raised(order: Order | None, merged: Order, snapshot: ShopOrder) -> tuple[Anomaly, ...]:
    """What a snapshot gives a person to look at: anomalies that are new, or arise anew.

    One that merely still stands is no news, nor is a kind that a person is waited for already.
    """
    found = tuple(_contradictions(order, merged, snapshot))
    if order is None:
        return found
    told = order.anomalies if order.needs_person else tuple(_standing_before(order, snapshot))
    return tuple(kind for kind in found if kind not in order.anomalies or kind not in told)


def is_newer(snapshot: ShopOrder, order: Order) -> bool:
    """Whether a snapshot is younger than the one the order's fields came from."""
    return _age(snapshot, order.source_version) > _order_age(order, snapshot.version)


def goes_backwards(order: Order, snapshot: ShopOrder) -> bool:
    """Whether a *newer* snapshot names an earlier state: the platform contradicts itself.

    A payment that arrives after the order was closed is not meant here: that is `late_payment`.
    """
    lower = RANK[snapshot.status] < RANK[order.status]
    return lower and is_newer(snapshot, order) and not _is_late_payment(order.status, snapshot)


def fingerprint_of(snapshot: ShopOrder) -> str:
    """Identifies a snapshot's content; breaks the last ties deterministically."""
    return sha256(msgspec.json.encode(snapshot)).hexdigest()[:32]


def is_foreign(order: Order, snapshot: ShopOrder) -> bool:
    """Whether a snapshot tells of another buyer's or platform's order under the same id."""
    return (order.buyer_id, order.platform) != (snapshot.buyer_id, snapshot.platform)


def _joined(order: Order | None, snapshot: ShopOrder) -> Order:
    """Newest fields, highest state, earliest moments."""
    if order is None:
        return _first(snapshot)
    merged = structs.replace(order)
    if is_newer(snapshot, order):
        _take_latest(merged, snapshot)
    if order.status not in TERMINAL and RANK[snapshot.status] > RANK[order.status]:
        merged.status = snapshot.status
    if STEP_RANK[snapshot.step_status] > STEP_RANK[order.step_status]:
        merged.step_status = snapshot.step_status
    for name in _MOMENTS:
        setattr(merged, name, _earliest(getattr(order, name), _moment(snapshot, name)))
    return merged


def _first(snapshot: ShopOrder) -> Order:
    fields = {name: getattr(snapshot, name) for name in _LATEST_FIELDS}
    moments: dict[str, Any] = {name: _moment(snapshot, name) for name in _MOMENTS}
    return Order(
        shop_id=snapshot.shop_id,
        order_id=snapshot.order_id,
        status=snapshot.status,
        step_status=snapshot.step_status,
        latest_status=snapshot.status,
        source_version=snapshot.version,
        fingerprint=fingerprint_of(snapshot),
        **fields,
        **moments,
    )


def _take_latest(order: Order, snapshot: ShopOrder) -> None:
    for name in _LATEST_FIELDS:
        setattr(order, name, getattr(snapshot, name))
    order.latest_status = snapshot.status
    order.source_version = snapshot.version
    order.fingerprint = fingerprint_of(snapshot)


def _moment(snapshot: ShopOrder, name: str) -> datetime | None:
    """A moment as far as the snapshot proves it: a deposit's `paid_at` is not the payment."""
    if name == "paid_at" and snapshot.status == "unpaid":
        return None
    moment: datetime | None = getattr(snapshot, name)
    return moment


def _earliest(known: datetime | None, told: datetime | None) -> datetime | None:
    return min((moment for moment in (known, told) if moment is not None), default=None)


_Age = tuple[int, datetime, int, int, str]


def _age(snapshot: ShopOrder, other_version: int | None) -> _Age:
    version = snapshot.version if snapshot.version is not None and other_version is not None else 0
    return (
        version,
        snapshot.modified_at,
        RANK[snapshot.status],
        snapshot.paid_fen,
        fingerprint_of(snapshot),
    )


def _order_age(order: Order, other_version: int | None) -> _Age:
    both = order.source_version is not None and other_version is not None
    version = order.source_version if both and order.source_version is not None else 0
    return (
        version,
        order.modified_at,
        RANK[order.latest_status],
        order.paid_fen,
        order.fingerprint,
    )


def _milestones(merged: Order, snapshot: ShopOrder) -> set[Milestone]:
    """All milestones that are proven by now, by this snapshot or an earlier one."""
    proven: set[Milestone] = set(merged.passed)
    for status in (snapshot.status, merged.status):
        if status != "unpaid":
            proven.add(status)
    if merged.status == "unpaid":
        return proven
    if snapshot.status in _PAID_STATUSES or merged.paid_at is not None or _prepaid(snapshot):
        proven.add("paid")
    if snapshot.status == "signed" or merged.shipped_at is not None:
        proven.add("shipped")
    if merged.signed_at is not None:
        proven.add("signed")
    return proven


def _prepaid(snapshot: ShopOrder) -> bool:
    """Goods under way that are paid for; cash on delivery is paid later."""
    return snapshot.status in _SHIPPED_STATUSES and snapshot.paid_fen >= snapshot.total_fen


def _is_late_payment(status: OrderStatus, snapshot: ShopOrder) -> bool:
    return status == "closed" and snapshot.status not in ("unpaid", "closed")


def _with_anomalies(order: Order | None, merged: Order, snapshot: ShopOrder) -> Order:
    """A copy of the merged order that has its anomalies, and waits for a person if one is news."""
    found = _contradictions(order, merged, snapshot)
    return structs.replace(
        merged,
        anomalies=tuple(sorted({*merged.anomalies, *found})),
        needs_person=merged.needs_person or bool(raised(order, merged, snapshot)),
    )


def _contradictions(order: Order | None, merged: Order, snapshot: ShopOrder) -> Iterable[Anomaly]:
    """What a snapshot says against the book, and what stands against it since earlier."""
    if order is not None and is_foreign(order, snapshot):
        yield "buyer_mismatch"
        return
    if order is not None and _ended_otherwise(order, snapshot.status):
        yield "terminal_conflict"
    yield from _standing(merged)


def _standing_before(order: Order, snapshot: ShopOrder) -> Iterable[Anomaly]:
    """What the order showed before a snapshot; a late one repeats a conflict of two ends."""
    if _ended_otherwise(order, order.latest_status) or not is_newer(snapshot, order):
        yield "terminal_conflict"
    yield from _standing(order)


def _ended_otherwise(order: Order, status: OrderStatus) -> bool:
    return order.status in TERMINAL and status in TERMINAL - {order.status}


def _standing(merged: Order) -> Iterable[Anomaly]:
    """What the newest snapshot says against the state of the book."""
    if merged.status == "closed" and _paid_after_close(merged):
        yield "late_payment"
    elif RANK[merged.latest_status] < RANK[merged.status]:
        yield "state_backwards"


def _paid_after_close(merged: Order) -> bool:
    if merged.latest_status not in ("unpaid", "closed", "finished"):
        return True
    if merged.paid_at is None or merged.closed_at is None:
        return False
    return merged.paid_at > merged.closed_at


def _transitions(order: Order | None, merged: Order, snapshot: ShopOrder) -> tuple[Transition, ...]:
    previous = order.status if order is not None else None
    names: list[TransitionName] = []
    if order is None:
        names.append("created")
        if merged.status == "unpaid":
            names.append("unpaid")
    known = order.passed if order is not None else ()
    names += [name for name in merged.passed if name not in known]
    if not names and order is not None and _visibly_differs(order, merged):
        names.append("changed")
    return tuple(Transition(name, previous, _occurred_at(name, merged, snapshot)) for name in names)


def _visibly_differs(order: Order, merged: Order) -> bool:
    return any(getattr(order, name) != getattr(merged, name) for name in _VISIBLE)


def _occurred_at(name: TransitionName, merged: Order, snapshot: ShopOrder) -> datetime:
    known: dict[str, datetime | None] = {
        "created": merged.created_at,
        "unpaid": merged.created_at,
        "paid": merged.paid_at,
        "shipped": merged.shipped_at,
        "signed": merged.signed_at,
        "finished": merged.finished_at,
        "closed": merged.closed_at,
    }
    return known.get(name) or snapshot.modified_at
