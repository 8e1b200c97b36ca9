"""Policies: how long each department has to answer, and how strict the spike test is."""

from datetime import datetime, timedelta

import msgspec

from common.contracts import OwnerRole
from feedback.spikes import SpikeRules

DEADLINE_HOURS: dict[OwnerRole, int] = {
    "operations": 24,
    "product": 72,
    "warehouse": 24,
    "courier": 48,
    "training": 72,
}


class FeedbackPolicy(msgspec.Struct, kw_only=True):
    """One shop's policy; a shop without a row of its own has the defaults.

    `edition` counts the changes (the ETag); 0 is the default that nobody has set.
    """

    shop_id: str
    deadline_hours: dict[OwnerRole, int] = msgspec.field(
        default_factory=lambda: dict(DEADLINE_HOURS)
    )
    proof_days: int = 7
    rules: SpikeRules = SpikeRules()
    changed_by: str = "system"
    changed_at: datetime | None = None
    edition: int = 0
    version: int = 0
    """Of the row: counted when it is saved, so that a batch's edits are one."""


def policy_of(stored: FeedbackPolicy | None, shop_id: str) -> FeedbackPolicy:
    """The shop's policy, or the defaults."""
    return stored or FeedbackPolicy(shop_id=shop_id)


def answer_by(policy: FeedbackPolicy, owner: OwnerRole, now: datetime) -> datetime:
    """The deadline of a task that a department gets now."""
    hours = policy.deadline_hours.get(owner, DEADLINE_HOURS[owner])
    return now + timedelta(hours=hours)
