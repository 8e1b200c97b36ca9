"""Money back once, whoever brings the news first."""

from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest

from aftersales.answers import OnPlatformOnly, ProofRequired
from aftersales.cases import (
    ActionNotAllowed,
    Actor,
    AnswerPending,
    OrderNotKnown,
    OverPaid,
    StaleRefund,
)
from aftersales.commands import REPEAT_AT_MOST, wait_before_repeat
from common.contracts import CaseChanged, CaseClosed, OrderUnpaid
from common.errors import Forbidden, NotFound, PreconditionFailed
from common.web.etags import ExpectedVersion

from .shop import SENIOR, Shop, paid_order, requested, snapshot

NEWS = sorted(set(permutations(["answer", "answer", "webhook", "webhook"])))


@pytest.fixture
def shop() -> Shop:
    shop = Shop()
    shop.tell(paid_order())
    shop.tell(snapshot())
    return shop


def test_an_agreement_holds_the_amount_and_asks_the_platform(shop: Shop) -> None:
    shop.agree()
    (command,) = shop.commands
    assert (command.action, command.target_kind, command.target_id) == (
        "refund_agree", "refund", "rf1",
    )  # fmt: skip
    assert command.arguments["amount_fen"] == 10_000
    assert command.arguments["refund_version"] == 1
    assert [(hold.state, hold.amount_fen) for hold in shop.holds] == [("held", 10_000)]
    assert shop.state() == "refunding"
    assert not shop.events(CaseClosed)


def test_the_platforms_word_closes_the_case_with_the_amount(shop: Shop) -> None:
    shop.agree()
    shop.succeed(refunded_fen=10_000)
    (closed,) = shop.events(CaseClosed)
    assert (closed.outcome, closed.refunded_fen, closed.state) == ("refunded", 10_000, "success")
    assert [hold.state for hold in shop.holds] == ["refunded"]


@pytest.mark.parametrize("news", NEWS)
def test_webhook_and_answer_in_any_order_and_repeated_refund_once(news: tuple[str, ...]) -> None:
    shop = Shop()
    shop.tell(paid_order())
    shop.tell(snapshot())
    shop.agree()
    for one in news:
        if one == "answer":
            shop.succeed()
        else:
            shop.tell(snapshot("success", minute=5))
    assert [(hold.state, hold.amount_fen) for hold in shop.holds] == [("refunded", 10_000)]
    assert shop.case.refunded_fen == 10_000
    assert len(shop.events(CaseClosed)) == 1


def test_a_failure_frees_the_amount_and_brings_the_case_back_with_the_reason(shop: Shop) -> None:
    shop.agree()
    shop.fail()
    assert shop.state() == "wait_seller_agree"
    assert shop.case.blocked_reason == "stale_refund_version"
    assert shop.history()[-1].reason == "stale_refund_version: read it again"
    assert [hold.state for hold in shop.holds] == ["released"]
    shop.agree()
    shop.succeed()
    assert shop.state() == "success"


def test_a_failure_told_before_the_webhook_of_success_still_refunds_once(shop: Shop) -> None:
    shop.agree()
    shop.fail()
    shop.tell(snapshot("success", minute=5))
    shop.succeed(shop.commands[0])
    assert sum(hold.amount_fen for hold in shop.holds if hold.counts) == 10_000
    assert shop.case.refunded_fen == 10_000


def test_a_success_told_after_a_failure_and_a_second_agreement_still_refunds_once(
    shop: Shop,
) -> None:
    shop.agree()
    shop.fail()
    shop.agree()
    first, second = shop.commands
    shop.succeed(first)
    shop.succeed(second)
    assert sum(hold.amount_fen for hold in shop.holds if hold.counts) == 10_000
    assert len(shop.events(CaseClosed)) == 1


def test_the_buyer_who_gives_up_while_money_is_on_its_way_leaves_it_held(shop: Shop) -> None:
    shop.agree()
    shop.tell(snapshot("closed", minute=5))
    assert shop.state() == "closed"
    assert [hold.state for hold in shop.holds] == ["held"]
    shop.fail()
    assert [hold.state for hold in shop.holds] == ["released"]
    assert len(shop.events(CaseClosed)) == 1


def test_an_older_word_of_the_platform_does_not_undo_an_agreement(shop: Shop) -> None:
    shop.agree()
    shop.tell(snapshot(minute=2))
    assert shop.state() == "refunding"
    shop.tell(snapshot(minute=3, refund_version=2, amount_fen=9_000))
    assert shop.state() == "refunding"
    shop.fail()
    assert (shop.case.state, shop.case.amount_fen) == ("wait_seller_agree", 9_000)


def test_a_refund_that_failed_for_an_earlier_request_does_not_block_the_altered_one(
    shop: Shop,
) -> None:
    shop.agree()
    shop.tell(snapshot(minute=3, refund_version=2, amount_fen=9_000))
    shop.fail()
    assert (shop.case.state, shop.case.blocked_reason) == ("wait_seller_agree", None)
    assert shop.case.deadline_action == "auto_refund"


@pytest.mark.parametrize("stale", [{"refund_version": 0}, {"amount_fen": 9_999}])
def test_agreeing_with_what_the_buyer_has_changed_is_refused(
    shop: Shop, stale: dict[str, Any]
) -> None:
    with pytest.raises(StaleRefund) as refusal:
        shop.agree(**stale)
    assert refusal.value.extra == {"refund_version": 1, "amount_fen": 10_000}
    assert not shop.commands
    assert not shop.holds


def test_an_answer_to_an_older_version_of_the_case_is_refused(shop: Shop) -> None:
    with pytest.raises(PreconditionFailed):
        shop.agree(expected=ExpectedVersion(frozenset({7})))
    shop.agree(expected=ExpectedVersion(frozenset({1})))


def test_two_agreements_pay_once(shop: Shop) -> None:
    shop.agree()
    with pytest.raises(ActionNotAllowed):
        shop.agree()
    assert len(shop.commands) == 1


def test_more_than_is_left_is_refused_and_nothing_is_half_done(shop: Shop) -> None:
    shop.tell(snapshot(refund_id="rf2", amount_fen=9_000))
    first, second = shop.cases
    shop.agree(first)
    before = second.revision
    with pytest.raises(OverPaid) as refusal:
        shop.agree(second)
    assert refusal.value.extra["refundable_fen"] == 600
    assert (second.state, second.revision) == ("wait_seller_agree", before)
    assert len(shop.commands) == 1


def test_what_the_platform_paid_by_itself_counts_against_the_order(shop: Shop) -> None:
    shop.tell(snapshot("success", minute=5))
    shop.tell(snapshot(refund_id="rf2", amount_fen=9_000, minute=6))
    with pytest.raises(OverPaid):
        shop.agree(shop.cases[1])


def test_money_paid_before_the_order_came_is_booked_when_it_comes() -> None:
    shop = Shop()
    shop.tell(snapshot("success"))
    shop.tell(snapshot(refund_id="rf2", amount_fen=1_000))
    shop.tell(paid_order())
    assert [part.line_id for part in shop.holds[0].parts] == ["l1"]
    with pytest.raises(OverPaid):
        shop.agree(shop.cases[1])


def test_an_agreement_waits_for_the_order(shop: Shop) -> None:
    shop = Shop()
    shop.tell(snapshot())
    with pytest.raises(OrderNotKnown):
        shop.agree()
    shop.tell(paid_order())
    shop.agree()
    assert shop.state() == "refunding"


def test_an_agreement_waits_for_the_payment_too(shop: Shop) -> None:
    """The platform's request may overtake the payment on its way through the order book."""
    shop = Shop()
    shop.tell(paid_order(OrderUnpaid, status="unpaid", paid_fen=0))
    shop.tell(snapshot())
    with pytest.raises(OrderNotKnown, match="payment"):
        shop.agree()
    shop.tell(paid_order(version=2))
    shop.agree()
    assert shop.state() == "refunding"


def test_less_than_asked_is_a_partial_refund_and_frees_the_rest(shop: Shop) -> None:
    shop.agree()
    shop.succeed(refunded_fen=4_000)
    (closed,) = shop.events(CaseClosed)
    assert (closed.outcome, closed.refunded_fen) == ("partly_refunded", 4_000)
    assert sum(part.fen for part in shop.holds[0].parts) == 4_000


def test_answers_to_other_services_commands_are_left_alone(shop: Shop) -> None:
    shop.agree()
    command = shop.commands[0]
    other = type(command)(
        **{name: getattr(command, name) for name in command.__struct_fields__}
        | {"requested_service": "order_ops"}
    )
    shop.succeed(other)
    assert shop.state() == "refunding"


def test_an_unanswered_command_is_repeated_under_its_id_until_it_is_answered(shop: Shop) -> None:
    shop.agree()
    shop.wait(hours=1)
    assert len(shop.commands) == 3
    assert len({command.command_id for command in shop.commands}) == 1
    shop.succeed()
    shop.wait(days=3)
    assert len(shop.commands) == 3
    assert len(shop.holds) == 1


def test_repeats_become_rarer_up_to_a_limit() -> None:
    waits = [wait_before_repeat(n) for n in range(12)]
    assert waits[0] == timedelta(minutes=10)
    assert waits == sorted(waits)
    assert waits[-1] == REPEAT_AT_MOST


# -- goods that come back -------------------------------------------------------------------


@pytest.fixture
def returned() -> Shop:
    shop = Shop()
    shop.tell(paid_order())
    shop.tell(requested())
    return shop


def test_a_return_is_paid_once_the_goods_are_here_intact(returned: Shop) -> None:
    shop = returned
    assert shop.agree().state == "wait_buyer_return_goods"
    assert not shop.commands
    assert shop.ship_return().state == "wait_seller_confirm_goods"
    assert shop.receive().state == "refunding"
    (command,) = shop.commands
    assert (command.target_kind, command.target_id) == ("order", "o1")
    assert command.arguments["case_id"] == shop.case.case_id
    shop.succeed()
    assert shop.state() == "success"
    actions = [entry.action for entry in shop.history()]
    assert actions == ["open", "agree_return", "ship_return", "receive", "refund", "refunded"]


def test_goods_that_are_not_intact_wait_for_a_decision(returned: Shop) -> None:
    shop = returned
    shop.agree()
    shop.ship_return()
    assert shop.receive(intact=False).state == "wait_seller_confirm_goods"
    assert shop.case.goods_intact is False
    shop.refuse(proof_url="https://img.example/broken.jpg")
    assert shop.state() == "seller_refuse_buyer"
    assert shop.case.refusal_proof_url == "https://img.example/broken.jpg"
    assert shop.agree().state == "refunding"


def test_only_the_buyer_of_the_case_may_withdraw_it(returned: Shop) -> None:
    with pytest.raises(NotFound):
        returned.withdraw(Actor("b2", "buyer"))
    with pytest.raises(Forbidden):
        returned.withdraw(SENIOR)
    returned.withdraw()
    assert (returned.case.state, returned.case.outcome) == ("closed", "withdrawn")


def test_a_request_made_on_the_platform_is_withdrawn_there(shop: Shop) -> None:
    with pytest.raises(OnPlatformOnly):
        shop.withdraw()


# -- refusals ---------------------------------------------------------------------------------


def test_a_refusal_on_the_platform_counts_once_the_platform_took_it(shop: Shop) -> None:
    shop.refuse()
    assert shop.state() == "wait_seller_agree"
    assert shop.commands[0].arguments["message"] == "商品无质量问题"
    with pytest.raises(AnswerPending):
        shop.agree()
    shop.succeed()
    assert (shop.case.state, shop.case.refusal_reason) == ("seller_refuse_buyer", "商品无质量问题")
    assert shop.history()[-1].actor == SENIOR.id


def test_a_refusal_the_platform_did_not_take_leaves_the_case_as_it_was(shop: Shop) -> None:
    shop.refuse()
    shop.fail()
    assert shop.state() == "wait_seller_agree"
    assert shop.case.pending_command_id is None
    shop.agree()


@pytest.mark.parametrize("first", ["answer", "snapshot"])
def test_why_it_was_refused_is_kept_whichever_came_first(shop: Shop, first: str) -> None:
    shop.refuse(proof_url="https://img.example/proof.jpg")
    if first == "answer":
        shop.succeed()
    shop.tell(snapshot("seller_refuse_buyer", minute=5))
    assert shop.case.pending_command_id is None
    shop.succeed()
    assert (shop.case.state, shop.case.refusal_reason) == ("seller_refuse_buyer", "商品无质量问题")
    assert shop.case.refusal_proof_url == "https://img.example/proof.jpg"
    (entry,) = [entry for entry in shop.history() if entry.action == "refuse"]
    assert (entry.actor, entry.reason) == (SENIOR.id, "商品无质量问题")
    assert shop.events(CaseChanged)[-1].note == "商品无质量问题"
    revision = shop.case.revision
    shop.succeed()
    assert shop.case.revision == revision


def test_an_overtaken_answer_takes_no_agreement_back(shop: Shop) -> None:
    shop.refuse()
    refusal = shop.commands[-1]
    shop.tell(snapshot("seller_refuse_buyer", minute=5))
    shop.agree()
    shop.succeed(refusal)
    assert (shop.case.state, shop.case.refusal_reason) == ("refunding", "商品无质量问题")
    assert shop.case.pending_command_id == shop.commands[-1].command_id
    shop.succeed()
    assert shop.state() == "success"


def test_an_overtaken_answer_to_an_earlier_request_is_noted_and_moves_nothing(shop: Shop) -> None:
    shop.refuse()
    shop.tell(snapshot("seller_refuse_buyer", minute=5))
    shop.tell(snapshot(minute=6, refund_version=2, amount_fen=8_000))
    shop.succeed()
    assert (shop.case.state, shop.case.refusal_reason) == ("wait_seller_agree", None)
    last = shop.history()[-1]
    assert (last.action, last.reason) == ("refusal_outdated", "商品无质量问题")


def test_an_answer_after_a_newer_refusal_leaves_that_ones_reason(shop: Shop) -> None:
    shop.refuse()
    older = shop.commands[-1]
    shop.tell(snapshot("seller_refuse_buyer", minute=5))
    shop.tell(snapshot(minute=6, refund_version=2))
    shop.refuse(reason="已超过七天")
    shop.succeed()
    shop.succeed(older)
    assert (shop.case.state, shop.case.refusal_reason) == ("seller_refuse_buyer", "已超过七天")


@pytest.mark.parametrize("first", ["answer", "snapshot"])
def test_why_the_platform_did_not_take_a_refusal_is_kept_whichever_came_first(
    shop: Shop, first: str
) -> None:
    shop.refuse()
    if first == "answer":
        shop.fail()
    shop.tell(snapshot("seller_refuse_buyer", minute=5))
    shop.fail()
    shop.fail()
    assert (shop.case.state, shop.case.refusal_reason) == ("seller_refuse_buyer", None)
    failures = [entry.reason for entry in shop.history() if entry.action == "refusal_failed"]
    assert failures == ["stale_refund_version: read it again"]


def test_an_overtaken_refusal_is_asked_again_until_it_is_answered(shop: Shop) -> None:
    shop.refuse()
    shop.tell(snapshot("seller_refuse_buyer", minute=5))
    shop.wait(minutes=11)
    assert len(shop.commands) == 2
    shop.succeed()
    shop.wait(hours=12)
    assert len(shop.commands) == 2


@pytest.mark.parametrize("end", ["closed", "success"])
def test_a_refusal_answered_after_the_end_stands_in_the_history(shop: Shop, end: str) -> None:
    shop.refuse()
    shop.tell(snapshot(end, minute=5))
    revision = shop.case.revision
    shop.succeed()
    shop.succeed()
    last = shop.history()[-1]
    action = "refuse" if end == "closed" else "refusal_outdated"
    assert (shop.state(), last.state, last.revision) == (end, end, revision + 1)
    assert (last.action, last.reason) == (action, "商品无质量问题")
    assert shop.case.refusal_reason == (last.reason if end == "closed" else None)
    assert len(shop.events(CaseClosed)) == 1


@pytest.mark.parametrize("command", ["agree", "refuse"])
def test_why_a_command_failed_is_kept_after_the_case_was_closed(shop: Shop, command: str) -> None:
    shop.agree() if command == "agree" else shop.refuse()
    shop.tell(snapshot("closed", minute=5))
    shop.fail()
    shop.fail()
    failed = "refund_failed" if command == "agree" else "refusal_failed"
    noted = [entry for entry in shop.history() if entry.action == failed]
    assert [entry.reason for entry in noted] == ["stale_refund_version: read it again"]
    assert shop.state() == "closed"
    assert len(shop.events(CaseClosed)) == 1


@pytest.mark.parametrize(
    "since",
    [
        {"status": "wait_seller_agree", "refund_version": 2, "amount_fen": 8_000},
        {"status": "wait_buyer_return_goods"},
    ],
    ids=["altered", "agreed_there"],
)
def test_a_late_answer_to_a_refusal_does_not_take_the_case_back(
    shop: Shop, since: dict[str, Any]
) -> None:
    shop.refuse()
    shop.tell(snapshot(minute=5, **since))
    shop.succeed()
    assert shop.state() == since["status"]
    assert shop.case.pending_command_id is None
    assert shop.case.refusal_reason is None
    shop.tell(snapshot("seller_refuse_buyer", minute=3))
    assert shop.state() == since["status"]


def test_tmall_takes_no_refusal_without_proof() -> None:
    shop = Shop()
    shop.tell(snapshot(platform="tmall"))
    with pytest.raises(ProofRequired):
        shop.refuse()
    shop.refuse(proof_url="https://img.example/proof.jpg")
