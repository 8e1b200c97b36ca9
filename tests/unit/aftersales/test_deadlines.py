"""Deadlines: by policy, by the platform, moved, stale, and what happens when nobody acts."""

from datetime import timedelta
from typing import Any

import pytest

from aftersales.deadlines import CATCH_UP, CaseDue, CaseNear
from common.contracts import CaseChanged, CaseClosed, CaseDeadlineNear, OrderShipped

from .shop import START, Shop, paid_order, requested, snapshot

DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)


def opened(**other: Any) -> Shop:
    shop = Shop()
    shop.tell(paid_order())
    shop.tell(snapshot(**other))
    return shop


def test_a_refund_of_unshipped_goods_is_paid_after_two_silent_days() -> None:
    shop = opened()
    assert (shop.case.deadline_at, shop.case.deadline_action) == (START + 2 * DAY, "auto_refund")
    shop.wait(days=2, seconds=-1)
    assert shop.state() == "wait_seller_agree"
    shop.wait(seconds=1)
    assert shop.state() == "refunding"
    assert shop.history()[-1].actor_role == "system"
    shop.succeed()
    assert shop.case.outcome == "refunded"


def test_shipping_gives_the_seller_five_days() -> None:
    shop = opened()
    shop.tell(paid_order(OrderShipped, version=2, status="shipped"))
    assert shop.case.deadline_at == START + 5 * DAY
    assert shop.events(CaseChanged)[-1].deadline_at == START + 5 * DAY
    shop.wait(days=4)
    assert shop.state() == "wait_seller_agree"
    shop.wait(days=1)
    assert shop.state() == "refunding"


@pytest.mark.parametrize(
    "phase, action, state",
    [
        ("onsale", "auto_agree", "wait_buyer_return_goods"),
        ("aftersale", "auto_reject", "seller_refuse_buyer"),
    ],
)
def test_silence_agrees_to_a_return_on_sale_and_rejects_it_after_sale(
    phase: str, action: str, state: str
) -> None:
    shop = opened(kind="return_and_refund", phase=phase)
    assert shop.case.deadline_action == action
    shop.wait(days=5)
    assert shop.case.state == state


def test_every_waiting_state_has_its_end() -> None:
    shop = Shop()
    shop.tell(paid_order())
    shop.tell(requested())
    shop.agree()
    shop.wait(days=7)
    assert (shop.case.state, shop.case.outcome) == ("closed", "expired")

    shop = Shop()
    shop.tell(paid_order())
    shop.tell(requested())
    shop.agree()
    shop.ship_return()
    shop.wait(days=10)
    assert shop.state() == "refunding"

    shop = Shop()
    shop.tell(paid_order())
    shop.tell(requested())
    shop.refuse()
    shop.wait(days=7)
    assert (shop.case.state, shop.case.outcome) == ("closed", "rejected")


def test_the_platforms_deadline_goes_before_ours() -> None:
    shop = opened(deadline_at=START + timedelta(hours=30))
    assert shop.case.deadline_at == START + timedelta(hours=30)
    shop.wait(hours=30)
    assert shop.state() == "refunding"


def test_a_deadline_that_moves_fires_at_its_new_time_only() -> None:
    shop = opened(deadline_at=START + DAY)
    shop.tell(snapshot(minute=2, deadline_at=START + 3 * DAY))
    shop.wait(days=2)
    assert shop.state() == "wait_seller_agree"
    shop.tell(snapshot(minute=3, deadline_at=START + 2 * DAY + MINUTE))
    shop.wait(minutes=1)
    assert shop.state() == "refunding"


def test_a_stale_timer_does_nothing() -> None:
    shop = opened()
    named: dict[str, Any] = {"shop_id": "demo", "case_id": shop.case.case_id, "order_id": "o1"}
    shop.tell(CaseDue(**named, deadline_at=START + DAY))
    shop.tell(CaseNear(**named, deadline_at=START + DAY))
    assert shop.state() == "wait_seller_agree"
    assert not shop.events(CaseDeadlineNear)
    shop.agree()
    shop.tell(CaseDue(**named, deadline_at=START + 2 * DAY))
    assert len(shop.commands) == 1


def test_a_timer_that_fires_twice_acts_once() -> None:
    shop = opened()
    due = next(payload for _, payload in shop.timers.values() if isinstance(payload, CaseDue))
    near = next(payload for _, payload in shop.timers.values() if isinstance(payload, CaseNear))
    for timer in (near, near, due, due):
        shop.tell(timer)
    assert len(shop.events(CaseDeadlineNear)) == 1
    assert len(shop.commands) == 1


def test_the_warning_comes_a_day_before_and_again_when_the_deadline_moved() -> None:
    shop = opened()
    shop.wait(days=1, minutes=-1)
    assert not shop.events(CaseDeadlineNear)
    shop.wait(minutes=2)
    (near,) = shop.events(CaseDeadlineNear)
    assert (near.deadline_at, near.deadline_action) == (START + 2 * DAY, "auto_refund")
    shop.tell(snapshot(minute=9, deadline_at=START + 5 * DAY))
    shop.wait(days=3)
    assert [one.deadline_at for one in shop.events(CaseDeadlineNear)] == [
        START + 2 * DAY,
        START + 5 * DAY,
    ]


def test_an_answer_in_time_cancels_every_timer_of_the_case() -> None:
    shop = opened()
    shop.agree()
    shop.succeed()
    assert not shop.timers
    shop.wait(days=30)
    assert len(shop.events(CaseClosed)) == 1


def test_a_deadline_long_past_leaves_time_to_catch_up_first() -> None:
    shop = Shop()
    shop.tell(paid_order())
    shop.wait(days=4)
    shop.tell(snapshot())
    assert shop.case.deadline_at == START + 2 * DAY
    shop.wait(seconds=1)
    assert shop.state() == "wait_seller_agree"
    shop.tell(snapshot("closed", minute=9))
    shop.wait(seconds=CATCH_UP.total_seconds())
    assert not shop.commands


def test_a_deadline_waits_for_an_order_that_is_not_known() -> None:
    shop = Shop()
    shop.tell(snapshot())
    shop.wait(days=6)
    assert shop.state() == "wait_seller_agree"
    shop.tell(paid_order(OrderShipped, status="shipped"))
    shop.wait(minutes=10)
    assert shop.state() == "refunding"


def test_a_deadline_waits_while_the_platform_has_an_answer_of_ours() -> None:
    shop = opened()
    shop.refuse()
    shop.wait(days=2)
    assert shop.state() == "wait_seller_agree"
    shop.succeed()
    assert shop.state() == "seller_refuse_buyer"


def test_a_default_refund_that_does_not_fit_is_left_to_a_person() -> None:
    shop = opened()
    shop.tell(snapshot(refund_id="rf2", amount_fen=9_000))
    first, second = shop.cases
    shop.agree(first)
    shop.succeed()
    shop.wait(days=2)
    assert (second.state, second.blocked_reason) == ("wait_seller_agree", "over_paid")
    assert second.deadline_at is None
    revision = second.revision
    shop.wait(days=30)
    assert second.revision == revision
    shop.tell(snapshot(refund_id="rf2", refund_version=2, amount_fen=600, minute=9))
    assert second.blocked_reason is None
    shop.agree(second)
    shop.succeed()
    assert second.state == "success"
