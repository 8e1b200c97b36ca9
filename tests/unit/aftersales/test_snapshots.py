"""Snapshots in any order, repeated, late: the state is that of the clean sequence."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aftersales.cases import Case, RefundOfOtherOrder
from common.contracts import CaseChanged, CaseClosed, CaseOpened, OrderPaid, ShopRefund

from .shop import START, Shop, paid_order, requested, snapshot

Life = list[ShopRefund]


@st.composite
def lives(draw: st.DrawFn) -> Life:
    """What a platform tells of one refund: altered, agreed, sent back, refused, ended."""
    statuses = st.sampled_from(
        [
            "wait_seller_agree",
            "wait_buyer_return_goods",
            "wait_seller_confirm_goods",
            "seller_refuse_buyer",
        ]
    )
    life: Life = []
    version, minute = 1, 1
    for status in ["wait_seller_agree", *draw(st.lists(statuses, max_size=6))]:
        version += draw(st.integers(0, 1))
        minute += draw(st.integers(1, 3))
        life.append(_told(draw, status, version, minute))
    if end := draw(st.sampled_from([None, "closed", "success"])):
        life.append(_told(draw, end, version, minute + draw(st.integers(0, 2))))
    return life


def _told(draw: st.DrawFn, status: str, version: int, minute: int) -> ShopRefund:
    return snapshot(
        status,
        minute=minute,
        refund_version=version,
        kind="return_and_refund",
        amount_fen=draw(st.integers(1, 10_000)),
        deadline_at=START + timedelta(days=draw(st.integers(1, 9))),
    )


def _told_in(order: Life) -> Case:
    shop = Shop()
    shop.tell(paid_order())
    for seen in order:
        shop.tell(seen)
    return shop.case


def _kept(case: Case) -> dict[str, Any]:
    names = ("state", "amount_fen", "refund_version", "refunded_fen", "refund_id",
             "deadline_at", "deadline_action", "snapshot_at", "kind")  # fmt: skip
    return {name: getattr(case, name) for name in names}


@settings(max_examples=150, deadline=None)
@given(lives(), st.data())
def test_any_order_and_repeats_give_the_state_of_the_clean_sequence(
    life: Life, data: st.DataObject
) -> None:
    repeats = data.draw(st.lists(st.sampled_from(life), max_size=4))
    mixed = data.draw(st.permutations([*life, *repeats]))
    assert _kept(_told_in(mixed)) == _kept(_told_in(life))


@settings(max_examples=60, deadline=None)
@given(lives(), st.data())
def test_the_order_may_come_before_between_or_after(life: Life, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(life)))
    shop = Shop()
    for seen in life[:at]:
        shop.tell(seen)
    shop.tell(paid_order())
    for seen in life[at:]:
        shop.tell(seen)
    assert _kept(shop.case) == _kept(_told_in(life))
    assert sum(part.fen for hold in shop.holds for part in hold.parts) == shop.case.refunded_fen


def test_success_before_created_opens_and_closes_one_case() -> None:
    shop = Shop()
    shop.tell(paid_order())
    shop.tell(snapshot("success", minute=9))
    shop.tell(snapshot(minute=1))
    assert shop.state() == "success"
    assert shop.case.refunded_fen == 10_000
    assert len(shop.events(CaseOpened)) == len(shop.events(CaseClosed)) == 1
    assert shop.events(CaseClosed)[0].outcome == "refunded"


def test_a_snapshot_of_the_same_second_with_the_higher_status_is_the_later_one() -> None:
    shop = Shop()
    shop.tell(snapshot("wait_buyer_return_goods", kind="return_and_refund"))
    shop.tell(snapshot("wait_seller_agree", kind="return_and_refund"))
    assert shop.state() == "wait_buyer_return_goods"


def test_a_repeated_snapshot_changes_nothing_and_says_nothing() -> None:
    shop = Shop()
    for minute in (1, 1, 1):
        shop.tell(snapshot(minute=minute))
    assert shop.case.revision == 1
    assert not shop.events(CaseChanged)


def test_an_altered_request_is_told_with_its_new_amount() -> None:
    shop = Shop()
    shop.tell(snapshot())
    shop.tell(snapshot(minute=2, refund_version=2, amount_fen=5_000))
    (changed,) = shop.events(CaseChanged)
    assert (changed.amount_fen, changed.version, changed.actor_role) == (5_000, 2, "platform")


def test_a_buyer_who_asks_in_the_chat_and_on_the_platform_has_one_case() -> None:
    for first, second in (
        (requested(), snapshot(kind="return_and_refund")),
        (snapshot(kind="return_and_refund"), requested()),
    ):
        shop = Shop()
        shop.tell(paid_order())
        shop.tell(first)
        shop.tell(second)
        assert (shop.case.refund_id, shop.case.request_id) == ("rf1", "rq1")
        assert shop.case.conversation_id == "c1"


def test_refunds_of_other_lines_are_other_cases() -> None:
    shop = Shop()
    shop.tell(snapshot())
    shop.tell(snapshot(refund_id="rf2", line_id="l2", amount_fen=5_000))
    assert [case.line_id for case in shop.cases] == ["l1", "l2"]


def test_a_refund_known_for_another_order_is_refused() -> None:
    shop = Shop()
    shop.tell(snapshot())
    with pytest.raises(RefundOfOtherOrder):
        shop.tell(snapshot(order_id="o2"))


def test_goods_that_come_back_make_it_a_return() -> None:
    shop = Shop()
    shop.tell(snapshot("wait_buyer_return_goods", kind="refund_only"))
    assert shop.case.kind == "return_and_refund"


def test_the_newest_tracking_number_counts_and_none_does_not_erase_it() -> None:
    shop = Shop()
    told: dict[str, Any] = {"kind": "return_and_refund"}
    shop.tell(snapshot("wait_seller_confirm_goods", minute=5, return_tracking_no="SF2", **told))
    shop.tell(snapshot("wait_buyer_return_goods", minute=3, return_tracking_no="SF1", **told))
    shop.tell(snapshot("wait_seller_confirm_goods", minute=6, **told))
    assert shop.case.return_tracking_no == "SF2"


def test_closing_after_a_refusal_is_a_rejection_and_otherwise_a_withdrawal() -> None:
    for before, outcome in (("seller_refuse_buyer", "rejected"), (None, "withdrawn")):
        shop = Shop()
        shop.tell(snapshot())
        if before:
            shop.tell(snapshot(before, minute=2))
        shop.tell(snapshot("closed", minute=3))
        assert shop.case.outcome == outcome


def test_the_product_is_the_orders_once_it_is_known() -> None:
    shop = Shop()
    shop.tell(snapshot())
    assert shop.case.product_id is None
    shop.tell(paid_order(OrderPaid))
    assert shop.case.product_id == "p-l1"
