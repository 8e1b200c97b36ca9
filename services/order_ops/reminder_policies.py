"""When a shop reminds its buyers to pay: a policy per shop, kept as data.

The defaults: first 10–30 minutes after the order, second after 2–4 hours, last 1–2 hours before
the order closes; at most 3 in 24 hours and buyer; none between 22:00 and 08:00 shop time.
"""

from datetime import datetime, time, timedelta
from hashlib import sha256
from typing import Literal
from zoneinfo import ZoneInfo

import msgspec

from common.runtime import Work
from common.web.etags import ExpectedVersion

Anchor = Literal["after_creation", "before_close"]
PLACEHOLDERS = ("{title}", "{amount}", "{hours_left}")
DEFAULT_ZONE = "Asia/Shanghai"
MORNING_SPREAD_SECONDS = 1800
"""Reminders carried to the morning are spread over this time instead of all going at once."""


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """One stage: a moment between `earliest_seconds` and `latest_seconds` from its anchor.

    `text` is what the buyer reads; `{title}`, `{amount}` (yuan) and `{hours_left}` are filled in.
    """

    stage: int
    anchor: Anchor
    earliest_seconds: int
    latest_seconds: int
    text: str


class ReminderPolicy(msgspec.Struct, kw_only=True):
    """How one shop reminds. Money in fen, durations in seconds, `quiet_*` as HH:MM shop time.

    `grades` names the member grades that may be reminded; empty means all.
    `holdout_basis_points` of 10,000 orders are never reminded, to measure what reminding earns.
    A reminder that could not be decided within `late_tolerance_seconds` of its time is expired.
    `edition` counts the changes (the ETag); 0 is the default that nobody has set.
    """

    shop_id: str
    enabled: bool
    stages: tuple[Stage, ...]
    max_per_day: int
    quiet_from: str
    quiet_until: str
    time_zone: str
    minimum_fen: int
    grades: tuple[str, ...]
    recent_purchase_seconds: int
    live_chat_seconds: int
    minimum_gap_seconds: int
    late_tolerance_seconds: int
    acknowledge_seconds: int
    holdout_basis_points: int
    changed_by: str
    changed_at: datetime | None = None
    edition: int = 0

    def stage(self, number: int) -> Stage | None:
        """The stage with this number, None when the policy has none."""
        return next((stage for stage in self.stages if stage.stage == number), None)


class EditedPolicy(ReminderPolicy):
    """The same row, locked for the one who changes it; everyone else reads it unlocked."""


DEFAULT_STAGES = (
    Stage(
        stage=1,
        anchor="after_creation",
        earliest_seconds=10 * 60,
        latest_seconds=30 * 60,
        text="亲,您拍下的「{title}」还没有付款哦,应付 {amount} 元,付款后我们尽快为您发货。",
    ),
    Stage(
        stage=2,
        anchor="after_creation",
        earliest_seconds=2 * 3600,
        latest_seconds=4 * 3600,
        text="亲,「{title}」还在为您保留,应付 {amount} 元。尺码、快递有疑问随时问我们。",
    ),
    Stage(
        stage=3,
        anchor="before_close",
        earliest_seconds=3600,
        latest_seconds=2 * 3600,
        text="亲,您的订单「{title}」约 {hours_left} 小时后自动关闭,喜欢的话记得付款哦。",
    ),
)


def default_policy(shop_id: str) -> ReminderPolicy:
    """The policy of a shop that has set none."""
    return ReminderPolicy(
        shop_id=shop_id,
        enabled=True,
        stages=DEFAULT_STAGES,
        max_per_day=3,
        quiet_from="22:00",
        quiet_until="08:00",
        time_zone=DEFAULT_ZONE,
        minimum_fen=0,
        grades=(),
        recent_purchase_seconds=2 * 86_400,
        live_chat_seconds=3600,
        minimum_gap_seconds=1800,
        late_tolerance_seconds=1800,
        acknowledge_seconds=1800,
        holdout_basis_points=1000,
        changed_by="",
    )


class PolicyTerms(msgspec.Struct, frozen=True, kw_only=True):
    """What a supervisor sets; the fields mean what they mean in `ReminderPolicy`."""

    enabled: bool
    stages: tuple[Stage, ...]
    max_per_day: int
    quiet_from: str
    quiet_until: str
    time_zone: str
    minimum_fen: int
    grades: tuple[str, ...]
    recent_purchase_seconds: int
    live_chat_seconds: int
    minimum_gap_seconds: int
    late_tolerance_seconds: int
    acknowledge_seconds: int
    holdout_basis_points: int


class SetReminderPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """Replaces a shop's policy if its edition is `expected`."""

    shop_id: str
    expected: ExpectedVersion
    terms: PolicyTerms
    actor: str


def set_policy(command: SetReminderPolicy, work: Work) -> ReminderPolicy:
    """The policy after the change; `PreconditionFailed` when another change came first.

    The edition is raised here and not when the row is saved, so that the second of two changes
    in one batch is refused as well.
    """
    current = work.get(EditedPolicy, command.shop_id)
    edition = current.edition if current is not None else 0
    command.expected.check(edition)
    fields = {name: getattr(command.terms, name) for name in command.terms.__struct_fields__} | {
        "changed_by": command.actor,
        "changed_at": work.now,
        "edition": edition + 1,
    }
    if current is None:
        work.add(EditedPolicy(shop_id=command.shop_id, **fields))
    else:
        for name, value in fields.items():
            setattr(current, name, value)
    return ReminderPolicy(shop_id=command.shop_id, **fields)


def share(*parts: str) -> float:
    """A number in [0, 1) that depends on nothing but these words: the same in every process."""
    digest = sha256("\0".join(parts).encode()).digest()
    return int.from_bytes(digest[:8]) / 2**64


def in_holdout(policy: ReminderPolicy, order_id: str) -> bool:
    """Whether an order belongs to the group that is never reminded."""
    return share("holdout", policy.shop_id, order_id) * 10_000 < policy.holdout_basis_points


def due_time(
    policy: ReminderPolicy,
    stage: Stage,
    order_id: str,
    created_at: datetime,
    closes_at: datetime | None,
) -> datetime | None:
    """When a stage falls due, quiet hours not yet regarded; None if it has no anchor.

    Each order has its own place in the stage's range, so that orders of one rush do not all fall
    due in the same second.
    """
    span = stage.latest_seconds - stage.earliest_seconds
    place = share("due", policy.shop_id, order_id, str(stage.stage))
    offset = timedelta(seconds=int(stage.earliest_seconds + span * place))
    if stage.anchor == "after_creation":
        return created_at + offset
    return closes_at - offset if closes_at is not None else None


def is_quiet(policy: ReminderPolicy, moment: datetime) -> bool:
    """Whether a moment lies in the shop's quiet hours, which may span midnight."""
    start, end = time.fromisoformat(policy.quiet_from), time.fromisoformat(policy.quiet_until)
    local = moment.astimezone(ZoneInfo(policy.time_zone)).time().replace(tzinfo=None)
    if start <= end:
        return start <= local < end
    return local >= start or local < end


def carried(
    policy: ReminderPolicy, moment: datetime, order_id: str, closes_at: datetime | None
) -> datetime | None:
    """A moment outside of quiet hours: itself, or one next morning; None if the order closes first.

    The mornings' reminders are spread, but never past the close of an order that closes soon, nor
    into the next quiet hours of a shop that reminds for some minutes a day only.
    """
    if not is_quiet(policy, moment):
        return moment
    morning = _next(policy.quiet_until, policy, moment)
    evening = _next(policy.quiet_from, policy, morning)
    spread = min(MORNING_SPREAD_SECONDS, (evening - morning).total_seconds())
    if closes_at is not None:
        if closes_at <= morning:
            return None
        spread = min(spread, (closes_at - morning).total_seconds() / 2)
    place = share("morning", policy.shop_id, order_id)
    return morning + timedelta(seconds=int(spread * place))


def quiet_begins(policy: ReminderPolicy, moment: datetime) -> datetime | None:
    """The next time after a moment at which quiet hours begin; None for a shop without any."""
    if policy.quiet_from == policy.quiet_until:
        return None
    return _next(policy.quiet_from, policy, moment)


def _next(clock: str, policy: ReminderPolicy, moment: datetime) -> datetime:
    """The next time after a moment at which the shop's clock shows HH:MM."""
    zone = ZoneInfo(policy.time_zone)
    local = moment.astimezone(zone)
    shown = time.fromisoformat(clock)
    found = datetime.combine(local.date(), shown, tzinfo=zone)
    if found <= local:
        found = datetime.combine(local.date() + timedelta(days=1), shown, tzinfo=zone)
    return found.astimezone(moment.tzinfo)
