"""Which rule counts, and which rules cannot be set."""

from datetime import datetime, timedelta
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aftersales.cases import Case
from aftersales.policies import (
    DEFAULTS,
    KEPT_AFTER_REPLACED,
    MOST_OWN,
    DeadlinePolicy,
    PolicyBook,
    PolicyNotPossible,
    PolicyWish,
    PutPolicies,
    TooManyPolicies,
    WaitingState,
    check_policy,
    outlived,
    policy_for,
)
from common.contracts import RefundKind, RefundPhase
from common.errors import InvalidInput, PreconditionFailed
from common.web.etags import ExpectedVersion

from .shop import START, Shop, paid_order, snapshot
from .test_transitions import a_case

HOUR = 3600


def rule(number: int = 1, **other: Any) -> DeadlinePolicy:
    fields: dict[str, Any] = {
        "shop_id": "demo",
        "number": number,
        "state": "wait_seller_agree",
        "seconds": 24 * HOUR,
        "warn_seconds": HOUR,
        "action": "auto_agree",
        "valid_from": START - timedelta(days=1),
        "created_by": "boss",
        "created_at": START,
    }
    return DeadlinePolicy(**(fields | other))


def put(version: int = 0, **wish: Any) -> PutPolicies:
    fields: dict[str, Any] = {
        "state": "wait_seller_agree",
        "seconds": 24 * HOUR,
        "action": "auto_agree",
    }
    return PutPolicies(
        shop_id="demo",
        actor="boss",
        expected=ExpectedVersion(frozenset({version})),
        policies=(PolicyWish(**(fields | wish)),),
    )


def chosen(case: Case, *own: DeadlinePolicy) -> DeadlinePolicy:
    found = policy_for(case, shipped=True, own=own)
    assert found is not None
    return found


@pytest.mark.parametrize("kind", get_args(RefundKind))
@pytest.mark.parametrize("phase", get_args(RefundPhase))
@pytest.mark.parametrize("state", get_args(WaitingState))
@pytest.mark.parametrize("shipped", [True, False])
def test_every_waiting_state_has_a_default(
    kind: str, phase: str, state: str, shipped: bool
) -> None:
    assert policy_for(a_case(kind, state, phase=phase), shipped=shipped, own=())


def test_all_defaults_are_possible() -> None:
    for policy in DEFAULTS:
        check_policy(policy)


def test_a_shops_own_rule_goes_before_the_defaults() -> None:
    assert chosen(a_case(), rule(action="auto_reject")).action == "auto_reject"


def test_the_rule_that_says_most_counts_and_then_the_newest() -> None:
    wide, narrow = rule(1), rule(2, platform="taobao", seconds=HOUR * 2)
    newer = rule(3, platform="taobao", seconds=HOUR * 3)
    assert chosen(a_case(), wide, narrow) is narrow
    assert chosen(a_case(), newer, wide, narrow) is newer
    assert chosen(a_case(platform="jd"), newer, wide, narrow) is wide


def test_a_rule_counts_for_states_that_began_after_it() -> None:
    later = rule(valid_from=START + timedelta(hours=1))
    assert chosen(a_case(), later).number == 0
    assert chosen(a_case(state_since=START + timedelta(hours=2)), later) is later


@pytest.mark.parametrize(
    "wrong",
    [
        {"state": "wait_buyer_return_goods", "action": "auto_refund"},
        {"state": "seller_refuse_buyer", "action": "auto_agree"},
        {"action": "auto_refund", "kind": "return_and_refund"},
        {"action": "auto_refund", "kind": "any"},
    ],
)
def test_an_outcome_the_state_cannot_have_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(PolicyNotPossible):
        check_policy(rule(**wrong))


def test_a_warning_longer_than_the_wait_is_refused() -> None:
    with pytest.raises(InvalidInput):
        check_policy(rule(warn_seconds=24 * HOUR))


def test_a_new_rule_counts_from_now_on_and_not_for_what_waits_already() -> None:
    shop = Shop()
    shop.tell(paid_order())
    shop.tell(snapshot())
    shop.wait(minutes=30)
    book: PolicyBook = shop.tell(put(kind="refund_only", seconds=HOUR))
    assert (book.version, book.policies[0].number) == (1, 1)
    assert shop.case.deadline_at == START + timedelta(days=2)
    shop.wait(minutes=30)
    shop.tell(snapshot(refund_id="rf2", line_id="l2", amount_fen=1, minute=60))
    assert shop.cases[1].deadline_at == shop.work.now + timedelta(hours=1)


def test_two_supervisors_do_not_overwrite_each_other() -> None:
    shop = Shop()
    shop.tell(put(0))
    with pytest.raises(PreconditionFailed):
        shop.tell(put(0))
    assert shop.tell(put(1)).version == 2


def many(version: int, count: int) -> PutPolicies:
    one = put(version)
    return msgspec.structs.replace(one, policies=one.policies * count)


def test_a_shop_has_so_many_rules_until_those_replaced_long_ago_make_room() -> None:
    shop = Shop()
    for version in range(0, MOST_OWN, 50):
        shop.tell(many(version, 50))
    with pytest.raises(TooManyPolicies):
        shop.tell(put(MOST_OWN))
    shop.wait(days=399)
    with pytest.raises(TooManyPolicies):
        shop.tell(put(MOST_OWN))
    shop.wait(days=2)
    book: PolicyBook = shop.tell(put(MOST_OWN))
    own = [policy.number for policy in book.policies if policy.number]
    assert (book.version, own) == (MOST_OWN + 1, [MOST_OWN + 1, MOST_OWN])
    with pytest.raises(PreconditionFailed):
        shop.tell(put(MOST_OWN))


moments = st.integers(0, 900).map(lambda days: START + timedelta(days=days))
some_rules = st.lists(
    st.tuples(moments, st.sampled_from(["any", "taobao"]), st.sampled_from(["any", "shipped"])),
    max_size=12,
)


@given(rules=some_rules, began=moments)
def test_what_a_state_of_the_last_366_days_needs_is_never_forgotten(
    rules: list[tuple[datetime, str, str]], began: datetime
) -> None:
    own = [
        rule(number, valid_from=valid_from, platform=platform, goods=goods)
        for number, (valid_from, platform, goods) in enumerate(rules, start=1)
    ]
    now = began + timedelta(days=366)
    case = a_case(state_since=began)
    gone = outlived(own, now)
    kept = [policy for policy in own if policy not in gone]
    assert chosen(case, *kept) is chosen(case, *own)
    long_ago = [policy for policy in kept if policy.valid_from <= now - KEPT_AFTER_REPLACED]
    assert len(long_ago) <= 2 * 2 + 1


def test_a_rule_cannot_begin_in_the_past() -> None:
    shop = Shop()
    with pytest.raises(InvalidInput):
        shop.tell(put(0, valid_from=START - timedelta(days=1)))
