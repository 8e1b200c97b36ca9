"""Which message leads to which use case."""

from collections.abc import Iterable

import msgspec

from aftersales import answers, outcomes, refunds, requests, snapshots
from aftersales.cases import Case
from aftersales.commands import CommandOverdue, SentCommand, answered, repeat
from aftersales.deadlines import CaseDue, CaseNear
from aftersales.desk import Desk, of_order
from aftersales.orders import take_order
from aftersales.policies import DeadlinePolicy, PolicyBook, PutPolicies, put_policies
from common.contracts import (
    CommandFailed,
    CommandSucceeded,
    OrderChanged,
    OrderClosed,
    OrderCreated,
    OrderEvent,
    OrderFinished,
    OrderPaid,
    OrderShipped,
    OrderSigned,
    OrderUnpaid,
    ReturnRequested,
    ShopRefund,
)
from common.runtime import Handlers, Need, Work, row, rows

handlers = Handlers()


# -- orders ---------------------------------------------------------------------------------


def take_order_event(event: OrderEvent, work: Work) -> None:
    """Keep what was paid, and look at the cases that waited for it."""
    desk = Desk.of(event, work)
    if take_order(desk.order, event, work.now):
        requests.take_order_news(desk, event)


for _kind in (
    OrderCreated,
    OrderUnpaid,
    OrderPaid,
    OrderChanged,
    OrderShipped,
    OrderSigned,
    OrderFinished,
    OrderClosed,
):
    handlers.on(_kind, needs=of_order)(take_order_event)


# -- requests and snapshots -----------------------------------------------------------------


def _of_request(event: ReturnRequested) -> Iterable[Need]:
    yield from of_order(event)
    yield rows(Case, "of_request", event.shop_id, event.request_id)


@handlers.on(ReturnRequested, needs=_of_request)
def open_requested(event: ReturnRequested, work: Work) -> None:
    """A request made in a chat."""
    requests.open_requested(Desk.of(event, work), event)


@handlers.command(requests.OpenCase, needs=of_order)
def open_case(asked: requests.OpenCase, work: Work) -> Case:
    """A case entered over the API."""
    return _answer(requests.open_case(Desk.of(asked, work), asked))


def _of_snapshot(seen: ShopRefund) -> Iterable[Need]:
    yield from of_order(seen)
    yield rows(Case, "of_refund", seen.shop_id, seen.refund_id)


@handlers.on(ShopRefund, needs=_of_snapshot)
def take_refund_event(seen: ShopRefund, work: Work) -> None:
    """A snapshot from the bus."""
    snapshots.take_snapshot(Desk.of(seen, work), seen)


def _of_taken(taken: snapshots.TakeRefund) -> Iterable[Need]:
    return _of_snapshot(taken.snapshot)


@handlers.command(snapshots.TakeRefund, needs=_of_taken)
def take_refund(taken: snapshots.TakeRefund, work: Work) -> Case:
    """A snapshot that came over HTTP."""
    return _answer(snapshots.take_snapshot(Desk.of(taken, work), taken.snapshot))


# -- answers of the shop and the buyer ------------------------------------------------------


@handlers.command(answers.Agree, needs=of_order)
def agree(answer: answers.Agree, work: Work) -> Case:
    """Agree to the request as it stands."""
    return _answer(answers.agree(Desk.of(answer, work), answer))


@handlers.command(answers.Refuse, needs=of_order)
def refuse(answer: answers.Refuse, work: Work) -> Case:
    """Refuse the request."""
    return _answer(answers.refuse(Desk.of(answer, work), answer))


@handlers.command(answers.ShipReturn, needs=of_order)
def ship_return(answer: answers.ShipReturn, work: Work) -> Case:
    """The goods are on their way back."""
    return _answer(answers.ship_return(Desk.of(answer, work), answer))


@handlers.command(answers.Receive, needs=of_order)
def receive(answer: answers.Receive, work: Work) -> Case:
    """The goods are back."""
    return _answer(answers.receive(Desk.of(answer, work), answer))


@handlers.command(answers.Withdraw, needs=of_order)
def withdraw(answer: answers.Withdraw, work: Work) -> Case:
    """The buyer gives the request up."""
    return _answer(answers.withdraw(Desk.of(answer, work), answer))


def _answer(case: Case) -> Case:
    """The case as it is now; later items of the batch may change the row itself."""
    return msgspec.structs.replace(case)


# -- answers of the platform ----------------------------------------------------------------


def _sent(event: CommandSucceeded | CommandFailed) -> Iterable[Need]:
    if event.requested_service == "aftersales":
        yield row(SentCommand, event.shop_id, event.command_id)


def _order_of_sent(event: CommandSucceeded | CommandFailed, work: Work) -> Iterable[Need]:
    sent = _command_of(event, work)
    return of_order(sent) if sent else ()


def _command_of(event: CommandSucceeded | CommandFailed, work: Work) -> SentCommand | None:
    """The command that is answered; None when it is another service's, or nobody's."""
    if event.requested_service != "aftersales":
        return None
    return work.get(SentCommand, event.shop_id, event.command_id)


@handlers.on(CommandSucceeded, needs=_sent, then=_order_of_sent)
def command_succeeded(event: CommandSucceeded, work: Work) -> None:
    """The platform did it."""
    if (sent := _command_of(event, work)) is None:
        return
    desk = Desk.of(sent, work)
    answered(desk, sent)
    if sent.action == "refund_agree":
        refunds.refund_succeeded(desk, sent, event)
    else:
        answers.refusal_succeeded(desk, sent)


@handlers.on(CommandFailed, needs=_sent, then=_order_of_sent)
def command_failed(event: CommandFailed, work: Work) -> None:
    """The platform did not do it."""
    if (sent := _command_of(event, work)) is None:
        return
    desk = Desk.of(sent, work)
    answered(desk, sent)
    if sent.action == "refund_agree":
        refunds.refund_failed(desk, sent, event)
    else:
        answers.refusal_failed(desk, sent, event)


# -- timers ---------------------------------------------------------------------------------


@handlers.timer(CaseNear, needs=of_order)
def case_near(timer: CaseNear, work: Work) -> None:
    """A deadline comes near."""
    outcomes.warn(Desk.of(timer, work), timer)


@handlers.timer(CaseDue, needs=of_order)
def case_due(timer: CaseDue, work: Work) -> None:
    """A deadline has come."""
    outcomes.end(Desk.of(timer, work), timer)


def _of_overdue(timer: CommandOverdue) -> Iterable[Need]:
    yield from of_order(timer)
    yield row(SentCommand, timer.shop_id, timer.command_id)


@handlers.timer(CommandOverdue, needs=_of_overdue)
def command_overdue(timer: CommandOverdue, work: Work) -> None:
    """A command has no answer yet."""
    sent = work.require(SentCommand, timer.shop_id, timer.command_id)
    repeat(Desk.of(timer, work), timer, sent)


# -- policies -------------------------------------------------------------------------------


def _of_shop(asked: PutPolicies) -> Iterable[Need]:
    yield rows(DeadlinePolicy, "of_shop", asked.shop_id)


@handlers.command(PutPolicies, needs=_of_shop)
def put_deadline_policies(asked: PutPolicies, work: Work) -> PolicyBook:
    """A supervisor sets rules for the shop."""
    known = work.all(DeadlinePolicy, "of_shop", asked.shop_id)
    change = put_policies(known, asked, work.now)
    for policy in change.removed:
        work.remove(policy)
    for policy in change.added:
        work.add(policy)
    return change.book
