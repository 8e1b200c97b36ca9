"""Requests before, with and without their order."""

from typing import Any

import pytest

from aftersales.cases import Actor, Case, CaseAlreadyOpen, LineNotInOrder, OverPaid
from aftersales.requests import OpenCase
from common.contracts import (
    CaseClosed,
    CaseOpened,
    OrderClosed,
    OrderCreated,
    OrderFinished,
    OrderPaid,
)
from common.errors import InvalidInput, NotFound

from .shop import AGENT, BUYER_SELF, Shop, paid_order, requested


def asked(**other: Any) -> OpenCase:
    fields: dict[str, Any] = {
        "shop_id": "demo",
        "order_id": "o1",
        "line_id": "l1",
        "kind": "refund_only",
        "reason": "不想要了",
        "actor": BUYER_SELF,
    }
    return OpenCase(**(fields | other))


def test_a_request_opens_one_case_for_all_that_was_paid() -> None:
    shop = Shop()
    shop.tell(paid_order())
    shop.tell(requested())
    shop.tell(requested())
    (opened,) = shop.events(CaseOpened)
    assert (opened.amount_fen, opened.product_id, opened.version) == (10_600, "p-l1", 1)
    assert (opened.actor, opened.actor_role, opened.conversation_id) == ("b1", "buyer", "c1")
    assert shop.case.platform == "taobao"


def test_a_request_before_its_order_waits_and_is_checked_when_it_comes() -> None:
    shop = Shop()
    shop.tell(requested(amount_fen=99_999))
    assert (shop.case.state, shop.case.order_checked) == ("wait_seller_agree", False)
    shop.tell(paid_order(OrderCreated, status="unpaid", paid_fen=0))
    assert shop.case.order_checked is False
    shop.tell(paid_order(version=2))
    assert (shop.case.amount_fen, shop.case.order_checked) == (10_600, True)


def test_a_request_for_somebody_elses_order_is_turned_down() -> None:
    for order_first in (True, False):
        shop = Shop()
        messages = [paid_order(buyer_id="b2"), requested()]
        for message in messages if order_first else reversed(messages):
            shop.tell(message)
        assert (shop.case.state, shop.case.outcome) == ("closed", "rejected")
        assert len(shop.events(CaseOpened)) == len(shop.events(CaseClosed)) == 1


def test_a_request_for_an_order_that_closed_unpaid_is_turned_down() -> None:
    shop = Shop()
    shop.tell(requested())
    shop.tell(paid_order(OrderClosed, status="closed", paid_fen=0))
    assert shop.case.outcome == "rejected"


def test_after_the_buyer_confirmed_receipt_a_request_is_after_sale() -> None:
    shop = Shop()
    shop.tell(paid_order(OrderFinished, status="finished"))
    shop.tell(requested())
    assert shop.case.phase == "aftersale"


def test_an_older_version_of_the_order_changes_nothing() -> None:
    shop = Shop()
    shop.tell(paid_order(version=3))
    shop.tell(paid_order(OrderCreated, version=1, paid_fen=0, status="unpaid"))
    assert (shop.order.paid_fen, shop.order.status) == (15_600, "paid")


def test_a_buyer_opens_a_case_for_an_own_order_only() -> None:
    shop = Shop()
    shop.tell(paid_order())
    with pytest.raises(NotFound):
        shop.tell(asked(actor=Actor("b2", "buyer")))
    case: Case = shop.tell(asked(amount_fen=500))
    assert (case.buyer_id, case.origin, case.amount_fen) == ("b1", "desk", 500)


def test_an_agent_opens_a_case_for_the_orders_buyer() -> None:
    shop = Shop()
    shop.tell(paid_order())
    assert shop.tell(asked(actor=AGENT)).buyer_id == "b1"


def test_an_agent_names_the_buyer_while_the_order_is_not_known() -> None:
    shop = Shop()
    with pytest.raises(InvalidInput):
        shop.tell(asked(actor=AGENT))
    assert shop.tell(asked(actor=AGENT, buyer_id="b1")).amount_fen is None


def test_a_second_case_for_the_same_line_is_refused_and_named() -> None:
    shop = Shop()
    shop.tell(paid_order())
    first: Case = shop.tell(asked())
    with pytest.raises(CaseAlreadyOpen) as refusal:
        shop.tell(asked())
    assert refusal.value.extra == {"case_id": first.case_id}
    shop.tell(asked(line_id="l2"))


def test_a_second_request_in_the_chat_for_the_same_line_is_turned_down_and_paid_once() -> None:
    """Whoever presses twice asks for one thing, though each press has an id of its own."""
    shop = Shop()
    shop.tell(paid_order())
    for request_id in ("rq1", "rq2"):
        shop.tell(requested(kind="refund_only", amount_fen=4_000, request_id=request_id))
    first, second = shop.cases
    assert (first.is_open, second.state, second.outcome) == (True, "closed", "rejected")
    assert [(one.case_id, one.outcome) for one in shop.events(CaseClosed)] == [
        (second.case_id, "rejected")
    ]
    shop.wait(days=3)
    assert [hold.amount_fen for hold in shop.holds] == [4_000]


def test_after_the_first_case_ended_the_same_line_can_be_asked_for_again() -> None:
    shop = Shop()
    shop.tell(paid_order())
    shop.tell(requested(amount_fen=4_000))
    shop.withdraw()
    shop.tell(requested(amount_fen=4_000, request_id="rq2"))
    assert [case.is_open for case in shop.cases] == [False, True]


def test_what_the_order_does_not_hold_is_refused() -> None:
    shop = Shop()
    shop.tell(paid_order())
    with pytest.raises(LineNotInOrder):
        shop.tell(asked(line_id="other"))
    with pytest.raises(OverPaid):
        shop.tell(asked(amount_fen=10_601))
    assert not shop.cases


def test_nothing_can_be_asked_for_before_it_is_paid() -> None:
    shop = Shop()
    shop.tell(paid_order(OrderCreated, status="unpaid", paid_fen=0))
    with pytest.raises(OverPaid):
        shop.tell(asked())


def test_cases_of_one_order_share_one_row_of_it() -> None:
    shop = Shop()
    shop.tell(requested())
    shop.tell(requested(request_id="rq2", line_id="l2"))
    shop.tell(paid_order(OrderPaid))
    assert shop.order.known
    assert [case.amount_fen for case in shop.cases] == [10_600, 5_600]
