"""An order as the book has it, the ranks of its states, and what may happen to it."""

from datetime import datetime
from typing import Literal

import msgspec

from common.contracts import (
    OrderLine,
    OrderStatus,
    Parcel,
    Platform,
    StepStatus,
)

Milestone = Literal["paid", "partly_shipped", "shipped", "signed", "finished", "closed"]
TransitionName = Literal[
    "created", "unpaid", "paid", "partly_shipped", "shipped", "signed", "finished", "closed",
    "changed",
]  # fmt: skip
Anomaly = Literal["late_payment", "state_backwards", "terminal_conflict", "buyer_mismatch"]
Exposure = Literal["reminded", "holdout"]

RANK: dict[OrderStatus, int] = {
    "unpaid": 0,
    "paid": 1,
    "partly_shipped": 2,
    "shipped": 3,
    "signed": 4,
    "finished": 5,
    "closed": 5,
}
TERMINAL: frozenset[OrderStatus] = frozenset({"finished", "closed"})
STEP_RANK: dict[StepStatus, int] = {
    "none": 0,
    "front_unpaid": 1,
    "front_paid": 2,
    "final_paid": 3,
    "forfeited": 4,
}
MILESTONES: tuple[Milestone, ...] = (
    "paid", "partly_shipped", "shipped", "signed", "finished", "closed",
)  # fmt: skip


class Order(msgspec.Struct, kw_only=True):
    """One order of a shop. Money in fen, times in UTC.

    `status` is the book's; `latest_status` and `fingerprint` belong to the newest snapshot, which
    also gave all ordinary fields. `passed` names the milestones already published. `revision`
    numbers the published events, `version` the saved changes (the ETag). `anomalies` has every kind
    ever seen; `needs_person` says that nobody has seen to the latest yet. `exposed_as` says in
    which arm of the reminder experiment the order is, `exposed_at` since when.
    """

    shop_id: str
    order_id: str
    platform: Platform
    buyer_id: str
    status: OrderStatus
    step_status: StepStatus
    lines: tuple[OrderLine, ...]
    goods_fen: int
    postage_fen: int
    discount_fen: int
    total_fen: int
    paid_fen: int
    created_at: datetime
    paid_at: datetime | None = None
    shipped_at: datetime | None = None
    signed_at: datetime | None = None
    finished_at: datetime | None = None
    closed_at: datetime | None = None
    closes_at: datetime | None = None
    close_reason: str | None = None
    modified_at: datetime
    source_version: int | None = None
    latest_status: OrderStatus
    fingerprint: str
    region: str | None = None
    parcels: tuple[Parcel, ...] = ()
    seller_memo: str | None = None
    flag: int | None = None
    buyer_grade: str | None = None
    refund_open: bool = False
    case_open: bool = False
    passed: tuple[Milestone, ...] = ()
    anomalies: tuple[Anomaly, ...] = ()
    needs_person: bool = False
    exposed_as: Exposure | None = None
    exposed_at: datetime | None = None
    revision: int = 0
    version: int = 0

    @property
    def amount_due_fen(self) -> int:
        """What the buyer still has to pay."""
        return max(self.total_fen - self.paid_fen, 0)

    def wait_for_person(self) -> None:
        """Something that a person must look at has come up.

        Counted in `version` here, and not only when the row is saved: the runtime counts a
        batch's changes as one, and nobody may see to what came up after they looked.
        """
        self.needs_person = True
        self.version += 1

    def stop_waiting(self) -> None:
        """A person has seen to it. Counted at once as well, so that two cannot both have."""
        self.needs_person = False
        self.version += 1


class Transition(msgspec.Struct, frozen=True):
    """One thing that happened to an order, to be published once."""

    name: TransitionName
    previous_status: OrderStatus | None
    occurred_at: datetime
