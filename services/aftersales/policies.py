"""Deadline policies: how long each waiting state may last and what then happens by itself.

Platforms change these times, and published summaries disagree, so they are dated rows that a
supervisor may override per shop, never constants of the code. The defaults below are what is
known to be in force on Taobao and Tmall.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple

import msgspec

from aftersales.cases import Case
from common.contracts import CaseState, DeadlineAction, Platform, RefundKind, RefundPhase
from common.errors import Conflict, InvalidInput
from common.web.etags import ExpectedVersion

AnyOr = Literal["any"]
Goods = Literal["any", "unshipped", "shipped"]
WaitingState = Literal[
    "wait_seller_agree",
    "wait_buyer_return_goods",
    "wait_seller_confirm_goods",
    "seller_refuse_buyer",
]

_DAY = 86_400
MOST_OWN = 300
"""Rules that a shop may have of its own: all are read for whatever happens to a case."""
KEPT_AFTER_REPLACED = timedelta(days=400)
"""A state may last 366 days at most: what began under a rule replaced before that has ended."""
CLOCK_SKEW = timedelta(minutes=10)
_ALWAYS = datetime(2020, 1, 1, tzinfo=UTC)


class DeadlinePolicy(msgspec.Struct, kw_only=True):
    """One rule, never altered: a change is a newer row with its own `valid_from`.

    One that a newer rule replaced long ago is forgotten when a shop needs the room.
    `any` matches everything. `seconds` count from the moment the state began; a warning comes
    `warn_seconds` before the end (0: none). The rule in force when a state began is the one that
    counts for it. `number` counts a shop's own rules from 1; it is 0 for the defaults.
    """

    shop_id: str
    number: int
    platform: Platform | AnyOr = "any"
    kind: RefundKind | AnyOr = "any"
    phase: RefundPhase | AnyOr = "any"
    goods: Goods = "any"
    state: WaitingState
    seconds: int
    warn_seconds: int = _DAY
    action: DeadlineAction
    valid_from: datetime
    note: str = ""
    created_by: str
    created_at: datetime


ALLOWED_ACTIONS: dict[CaseState, frozenset[DeadlineAction]] = {
    "wait_seller_agree": frozenset({"auto_refund", "auto_agree", "auto_reject", "auto_close"}),
    "wait_buyer_return_goods": frozenset({"auto_close"}),
    "wait_seller_confirm_goods": frozenset({"auto_refund", "auto_reject", "auto_close"}),
    "seller_refuse_buyer": frozenset({"auto_close"}),
}
"""What may happen by itself at the end of each waiting state."""


class PolicyNotPossible(InvalidInput):
    """A default outcome that the state cannot lead to."""

    code = "policy_not_possible"
    title = "该状态不支持此超时结果 / The state cannot end in this way"
    hint = "Use one of the actions in `allowed`; auto_refund needs a state in which money is due."


class TooManyPolicies(Conflict):
    """A shop with more rules than anyone can mean."""

    code = "too_many_policies"
    title = "超时规则过多 / Too many deadline rules"
    hint = "Add fewer rules; those replaced by a newer one make room after 400 days."


def check_policy(policy: DeadlinePolicy) -> None:
    """Refuse a rule whose outcome cannot happen, or whose warning comes before it begins."""
    fitting = set(ALLOWED_ACTIONS[policy.state])
    if policy.state == "wait_seller_agree" and policy.kind != "refund_only":
        fitting.discard("auto_refund")
    if policy.action not in fitting:
        raise PolicyNotPossible(
            f"{policy.action} is no outcome of {policy.state} for kind {policy.kind}",
            extra={"allowed": sorted(fitting)},
        )
    if policy.warn_seconds >= policy.seconds:
        raise InvalidInput("warn_seconds must be less than seconds")


def _default(
    state: WaitingState, seconds: int, action: DeadlineAction, **match: str
) -> DeadlinePolicy:
    row = {
        "shop_id": "",
        "number": 0,
        "state": state,
        "seconds": seconds,
        "action": action,
        "valid_from": _ALWAYS,
        "created_by": "system",
        "created_at": _ALWAYS,
    }
    return msgspec.convert(row | match, DeadlinePolicy)


DEFAULTS: tuple[DeadlinePolicy, ...] = (
    _default(
        "wait_seller_agree", 2 * _DAY, "auto_refund",
        kind="refund_only", goods="unshipped",
        note="仅退款,未发货,卖家两天未处理:自动退款",
    ),
    _default(
        "wait_seller_agree", 5 * _DAY, "auto_refund",
        kind="refund_only", goods="shipped",
        note="仅退款,已发货,卖家五天未处理:自动退款",
    ),
    _default(
        "wait_seller_agree", 5 * _DAY, "auto_reject",
        kind="refund_only", phase="aftersale", goods="shipped",
        note="确认收货后,卖家五天未处理:自动拒绝",
    ),
    _default(
        "wait_seller_agree", 5 * _DAY, "auto_agree",
        kind="return_and_refund", phase="onsale",
        note="退货退款,卖家五天未处理:自动同意退货",
    ),
    _default(
        "wait_seller_agree", 5 * _DAY, "auto_reject",
        kind="return_and_refund", phase="aftersale",
        note="确认收货后,卖家五天未处理:自动拒绝",
    ),
    _default(
        "wait_buyer_return_goods", 7 * _DAY, "auto_close",
        note="买家七天未退货:售后关闭",
    ),
    _default(
        "wait_seller_confirm_goods", 10 * _DAY, "auto_refund",
        note="卖家十天未确认收到退货:自动退款",
    ),
    _default(
        "seller_refuse_buyer", 7 * _DAY, "auto_close",
        note="拒绝后买家七天未修改申请:售后关闭",
    ),
)  # fmt: skip
"""Used where a shop has no rule of its own. All from secondary sources: override them freely."""


def _matches(policy: DeadlinePolicy, case: Case, goods: Goods) -> bool:
    return (
        policy.state == case.state
        and policy.platform in ("any", case.platform)
        and policy.kind in ("any", case.kind)
        and policy.phase in ("any", case.phase)
        and policy.goods in ("any", goods)
        and policy.valid_from <= case.state_since
    )


def _rank(policy: DeadlinePolicy) -> tuple[int, datetime, int]:
    wishes = (policy.platform, policy.kind, policy.phase, policy.goods)
    return sum(wish != "any" for wish in wishes), policy.valid_from, policy.number


def policy_for(
    case: Case, *, shipped: bool, own: Iterable[DeadlinePolicy]
) -> DeadlinePolicy | None:
    """The rule of the case's present state: a shop's own before the defaults.

    Of several the one that says most counts, then the newest.
    """
    goods: Goods = "shipped" if shipped else "unshipped"
    rules: Iterable[DeadlinePolicy]
    for rules in (own, DEFAULTS):
        fitting = [rule for rule in rules if _matches(rule, case, goods)]
        if fitting:
            return max(fitting, key=_rank)
    return None


def duration(policy: DeadlinePolicy) -> timedelta:
    """How long the state may last."""
    return timedelta(seconds=policy.seconds)


# -- the shop's own rules -------------------------------------------------------------------


class PolicyWish(msgspec.Struct, frozen=True, kw_only=True):
    """A rule as a supervisor states it; `valid_from` None: from now on."""

    platform: Platform | AnyOr = "any"
    kind: RefundKind | AnyOr = "any"
    phase: RefundPhase | AnyOr = "any"
    goods: Goods = "any"
    state: WaitingState
    seconds: int
    warn_seconds: int = 0
    action: DeadlineAction
    valid_from: datetime | None = None
    note: str = ""


class PutPolicies(msgspec.Struct, frozen=True, kw_only=True):
    """New rules for a shop. `expected` is the version of the book that the supervisor saw."""

    shop_id: str
    actor: str
    expected: ExpectedVersion
    policies: tuple[PolicyWish, ...]


class PolicyBook(msgspec.Struct, frozen=True, kw_only=True):
    """The rules of a shop, its own newest first, then the defaults behind them.

    `version` is the highest number of the own rules.
    """

    version: int
    policies: tuple[DeadlinePolicy, ...]


def book_of(own: Iterable[DeadlinePolicy]) -> PolicyBook:
    """A shop's rules as one versioned thing."""
    newest_first = sorted(own, key=lambda policy: policy.number, reverse=True)
    version = newest_first[0].number if newest_first else 0
    return PolicyBook(version=version, policies=(*newest_first, *DEFAULTS))


def outlived(own: Sequence[DeadlinePolicy], now: datetime) -> list[DeadlinePolicy]:
    """Rules for which another of the same match has counted so long that no case needs them.

    The one with the highest number stays, so that no number is given twice.
    """
    long_ago = now - KEPT_AFTER_REPLACED
    old = sorted((one for one in own if one.valid_from <= long_ago), key=_age)
    in_force = {_match(policy): policy.number for policy in old}  # the newest of each match
    stay = {*in_force.values(), book_of(own).version}
    return [policy for policy in old if policy.number not in stay]


def _match(policy: DeadlinePolicy) -> tuple[str, ...]:
    return policy.state, policy.platform, policy.kind, policy.phase, policy.goods


def _age(policy: DeadlinePolicy) -> tuple[datetime, int]:
    return policy.valid_from, policy.number


class PolicyChange(NamedTuple):
    """The book after a change, and the rows to add and to remove."""

    book: PolicyBook
    added: list[DeadlinePolicy]
    removed: list[DeadlinePolicy]


def put_policies(own: Sequence[DeadlinePolicy], asked: PutPolicies, now: datetime) -> PolicyChange:
    """What becomes of a shop's rules.

    `PreconditionFailed` when somebody else changed the rules meanwhile, `InvalidInput` for a
    rule that cannot be, or one that would begin in the past, `TooManyPolicies` when there would
    be more than `MOST_OWN` of which a case may need each.
    """
    version = book_of(own).version
    asked.expected.check(version)
    numbered = enumerate(asked.policies, start=version + 1)
    added = [_policy_of(wish, number, asked, now) for number, wish in numbered]
    removed = outlived(own, now) if len(own) + len(added) > MOST_OWN else []
    gone = {policy.number for policy in removed}
    kept = [policy for policy in own if policy.number not in gone]
    if len(kept) + len(added) > MOST_OWN:
        raise TooManyPolicies("the shop has too many rules", extra={"most": MOST_OWN})
    return PolicyChange(book_of([*kept, *added]), added, removed)


def _policy_of(wish: PolicyWish, number: int, asked: PutPolicies, now: datetime) -> DeadlinePolicy:
    valid_from = wish.valid_from or now
    if valid_from < now - CLOCK_SKEW:
        raise InvalidInput("valid_from lies in the past; rules change only from now on")
    policy = DeadlinePolicy(
        shop_id=asked.shop_id,
        number=number,
        platform=wish.platform,
        kind=wish.kind,
        phase=wish.phase,
        goods=wish.goods,
        state=wish.state,
        seconds=wish.seconds,
        warn_seconds=wish.warn_seconds,
        action=wish.action,
        valid_from=valid_from,
        note=wish.note,
        created_by=asked.actor,
        created_at=now,
    )
    check_policy(policy)
    return policy
