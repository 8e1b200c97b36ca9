"""The tally service: every way in (events, commands, timers) and out (rows, events, feed)."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import msgspec
import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from common.contracts import FeedbackTagged, ShopReview
from common.db.binding import Binding, Index
from common.db.models import service_registry
from common.db.types import UtcDateTime
from common.errors import Conflict
from common.runtime import Handlers, Need, ServiceDefinition, Work, row, rows

REFUSED_TEXT = "use case, please refuse"
FAILING_TEXT = "handler, please fail"
FAULTS: set[str] = {FAILING_TEXT}
"""Texts of reviews, and products of timers, on which the handlers fail; tests mend them here."""


class TallyTable(SQLModel, registry=service_registry()):
    """Base of the tables of the tally service."""


class TallyRow(TallyTable, table=True):
    """One product's tally."""

    __tablename__ = "tallies"
    shop_id: str = Field(primary_key=True)
    product_id: str = Field(primary_key=True)
    count: int
    texts: list[str] = Field(sa_type=sa.JSON)
    changed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    version: int


class Tally(msgspec.Struct):
    """How many reviews a product has."""

    shop_id: str
    product_id: str
    count: int = 0
    texts: tuple[str, ...] = ()
    changed_at: datetime | None = None
    version: int = 0


class Add(msgspec.Struct, frozen=True):
    """Command: add to a tally; refused above the limit."""

    shop_id: str
    product_id: str
    amount: int
    limit: int = 1_000_000


class Added(msgspec.Struct, frozen=True):
    """The count after an `Add`."""

    count: int


class Expire(msgspec.Struct, frozen=True):
    """Timer: reset a tally; come back after some seconds, cancel another product's timer."""

    shop_id: str
    product_id: str
    again_after: float = 0
    cancels: str = ""


TALLIES: Binding[Tally] = Binding(
    Tally,
    TallyRow.__table__,  # type: ignore[attr-defined]
    key=("shop_id", "product_id"),
    indexes={
        "of_shop": Index(columns=("shop_id",), where=lambda t: t.count > 0, sql="t.count > 0"),
    },
)

handlers = Handlers()


def _tally(message: Any) -> Iterable[Need]:
    yield row(Tally, message.shop_id, message.product_id)


def _count(work: Work, shop_id: str, product_id: str, amount: int) -> Tally:
    tally = work.get(Tally, shop_id, product_id)
    if tally is None:
        tally = Tally(shop_id, product_id)
        work.add(tally)
    tally.count += amount
    tally.changed_at = work.now
    return tally


@handlers.on(ShopReview, needs=_tally)
def count_review(event: ShopReview, work: Work) -> None:
    tally = _count(work, event.shop_id, event.product_id, 1)
    tally.texts = (*tally.texts, event.text)
    work.emit(tagged(event, tally), deliver=("shop", f"product:{event.product_id}"))
    if event.text == REFUSED_TEXT:
        raise Conflict("asked to refuse")
    if event.text in FAULTS:
        raise RuntimeError("asked to fail")


def tagged(event: ShopReview, tally: Tally) -> FeedbackTagged:
    """The event that a counted review becomes; its item id carries the running count."""
    return FeedbackTagged(
        shop_id=event.shop_id,
        item_id=f"{event.review_id}#{tally.count}",
        source="review",
        product_id=event.product_id,
        tags=(),
        sentiment="neutral",
        taxonomy_version=1,
        text_excerpt=event.text,
        occurred_at=event.created_at,
    )


@handlers.command(Add, needs=_tally)
def add(command: Add, work: Work) -> Added:
    tally = _count(work, command.shop_id, command.product_id, command.amount)
    if tally.count > command.limit:
        raise Conflict("over the limit")
    return Added(tally.count)


class Corrupt(msgspec.Struct, frozen=True):
    """Command: put a value into a row that no database takes."""

    shop_id: str
    product_id: str
    how: Literal["null", "huge"]


@handlers.command(Corrupt, needs=_tally)
def corrupt(command: Corrupt, work: Work) -> Added:
    tally = _count(work, command.shop_id, command.product_id, 1)
    if command.how == "null":
        tally.texts = None  # type: ignore[assignment]
    else:
        tally.count = 10**30
    return Added(0)


class Point(msgspec.Struct, frozen=True):
    """Command: make a tally point at another one."""

    shop_id: str
    product_id: str
    target: str


@handlers.command(Point, needs=_tally)
def point(command: Point, work: Work) -> Added:
    _count(work, command.shop_id, command.product_id, 0).texts = (command.target,)
    return Added(0)


class AddThrough(msgspec.Struct, frozen=True):
    """Command: add to the tally that another one points at."""

    shop_id: str
    product_id: str
    amount: int


def _target(command: AddThrough, work: Work) -> Iterable[Need]:
    tally = work.get(Tally, command.shop_id, command.product_id)
    if tally is not None:
        yield row(Tally, command.shop_id, tally.texts[-1])


@handlers.command(AddThrough, needs=_tally, then=_target)
def add_through(command: AddThrough, work: Work) -> Added:
    tally = work.require(Tally, command.shop_id, command.product_id)
    return Added(_count(work, command.shop_id, tally.texts[-1], command.amount).count)


class Careless(msgspec.Struct, frozen=True):
    """Command whose handler asks for what its needs do not name."""

    shop_id: str


@handlers.command(Careless)
def careless(command: Careless, work: Work) -> Added:
    return Added(0 if work.get(Tally, command.shop_id, "never loaded") else 1)


class Forget(msgspec.Struct, frozen=True):
    """Command: delete a tally."""

    shop_id: str
    product_id: str


@handlers.command(Forget, needs=_tally)
def forget(command: Forget, work: Work) -> None:
    work.remove(work.require(Tally, command.shop_id, command.product_id))


class ArmExpiry(msgspec.Struct, frozen=True):
    """Command: reset a tally after some seconds."""

    shop_id: str
    product_id: str
    seconds: float
    again_after: float = 0
    cancels: str = ""


class CancelExpiry(msgspec.Struct, frozen=True):
    """Command: leave a tally as it is after all."""

    shop_id: str
    product_id: str


@handlers.command(ArmExpiry)
def arm_expiry(command: ArmExpiry, work: Work) -> Added:
    due_at = work.now + timedelta(seconds=command.seconds)
    payload = Expire(command.shop_id, command.product_id, command.again_after, command.cancels)
    work.arm(f"expire/{command.product_id}", due_at, payload)
    return Added(0)


@handlers.command(CancelExpiry)
def cancel_expiry(command: CancelExpiry, work: Work) -> Added:
    work.cancel(f"expire/{command.product_id}")
    return Added(0)


@handlers.timer(Expire, needs=_tally)
def expire(timer: Expire, work: Work) -> None:
    tally = work.get(Tally, timer.shop_id, timer.product_id)
    if tally is not None:
        tally.count = 0
        tally.texts = (*tally.texts, "expired")
    if timer.again_after:
        due_at = work.now + timedelta(seconds=timer.again_after)
        work.arm(f"expire/{timer.product_id}", due_at, timer)
    if timer.cancels:
        work.cancel(f"expire/{timer.cancels}")
    if timer.product_id in FAULTS:
        raise RuntimeError("asked to fail")


class Total(msgspec.Struct, frozen=True):
    """Command: the sum of a shop's tallies."""

    shop_id: str


def _all_of_shop(command: Total) -> Iterable[Need]:
    yield rows(Tally, "of_shop", command.shop_id)


@handlers.command(Total, needs=_all_of_shop)
def total(command: Total, work: Work) -> Added:
    return Added(sum(tally.count for tally in work.all(Tally, "of_shop", command.shop_id)))


TALLY = ServiceDefinition(
    name="tally",
    title="Tally",
    metadata=TallyTable.metadata,
    migrations=Path(__file__).parent / "migrations",
    bindings=(TALLIES,),
    handlers=handlers,
    topics=("shop.reviews",),
    feed_topics=("kefu.feedback",),
)
