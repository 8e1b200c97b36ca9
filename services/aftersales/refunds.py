"""Money back: held, asked for, and booked exactly once, whoever brings the news first.

The platform's answer to our command and the platform's own snapshot of the refund may arrive in
either order, both, or repeated; the hold of the case is what makes them one refund.
"""

from aftersales.cases import PLATFORM, Actor, Case, OrderNotKnown
from aftersales.commands import SentCommand, answers_present, send
from aftersales.desk import Desk
from aftersales.holds import Hold, parts_of_fact, release, settle, split
from aftersales.transitions import check
from common.contracts import CaseState, CommandFailed, CommandSucceeded
from common.ids import new_id


def start_refund(desk: Desk, case: Case, actor: Actor, reason: str) -> None:
    """Hold the case's amount and ask the platform to pay it back.

    `OrderNotKnown` before the order and its payment have come, `OverPaid` when the amount no
    longer fits.
    """
    target = check(case, "refund", actor)
    if missing := still_to_come(desk, case):
        raise OrderNotKnown(f"{missing} {case.order_id} has not arrived from the order book")
    assert case.amount_fen is not None
    parts = split(case.amount_fen, case.line_id, desk.order, desk.holds)
    sent = send(
        desk, case, "refund_agree", actor,
        refund_version=case.refund_version, amount_fen=case.amount_fen, phase=case.phase,
    )  # fmt: skip
    desk.work.add(
        Hold(
            shop_id=case.shop_id,
            hold_id=sent.command_id,
            order_id=case.order_id,
            case_id=case.case_id,
            amount_fen=case.amount_fen,
            parts=parts,
            state="held",
            held_at=desk.now,
        )
    )
    previous = case.state
    desk.enter(case, target)
    desk.record(case, "refund", actor, reason, previous=previous)


def still_to_come(desk: Desk, case: Case) -> str:
    """What a refund has to wait for, in words; empty when nothing is missing.

    Who asks for money back has paid: where the order says otherwise, the platform's request
    overtook the payment on its way through the order book.
    """
    if not desk.order.known or case.amount_fen is None:
        return "order"
    if desk.order.status == "unpaid" and not desk.order.paid_fen:
        return "the payment of order"
    return ""


def refund_succeeded(desk: Desk, sent: SentCommand, event: CommandSucceeded) -> None:
    """The platform paid what we asked for. After a snapshot that said so, this is no news."""
    case = desk.require(sent.case_id)
    hold = _hold_of(desk, sent)
    told = event.result.get("refunded_fen")
    actual = told if type(told) is int and told >= 0 else hold.amount_fen
    if hold.state == "held":
        _book(desk, case, hold, actual)
        _finish(desk, case, "command.succeeded")
    elif hold.state == "released":
        # It was said to have failed. A case is refunded once, so a newer hold of it is this one.
        refund_seen(desk, case, actual)


def refund_failed(desk: Desk, sent: SentCommand, event: CommandFailed) -> None:
    """The platform did not pay: the amount is free again and the case is back in the open."""
    case = desk.require(sent.case_id)
    hold = _hold_of(desk, sent)
    if hold.state != "held":
        return
    release(hold, desk.now)
    why = f"{event.code}: {event.message}"
    if case.state != "refunding" or case.pending_command_id != sent.command_id:
        # The platform's word of an end came first; why it did not pay is still worth knowing.
        desk.remember(case, "refund_failed", PLATFORM, why)
        return
    desk.enter(case, _state_after_failure(case))
    case.pending_command_id = None
    # What cannot be paid is the request that was asked for; an altered one has its own deadline.
    blocks = not event.retryable and answers_present(case, sent)
    case.blocked_reason = event.code if blocks else None
    desk.record(case, "refund_failed", PLATFORM, why, previous="refunding")


def refund_seen(desk: Desk, case: Case, amount_fen: int) -> None:
    """The platform says that the refund went through, whether or not we asked for it."""
    held = desk.held(case)
    if held is not None:
        _book(desk, case, held, amount_fen)
    elif not any(hold.state == "refunded" for hold in desk.holds_of(case)):
        _book_fact(desk, case, amount_fen)
    else:
        return
    _finish(desk, case, "success")


def _hold_of(desk: Desk, sent: SentCommand) -> Hold:
    return next(hold for hold in desk.holds if hold.hold_id == sent.command_id)


def _book(desk: Desk, case: Case, hold: Hold, actual_fen: int) -> None:
    others = [other for other in desk.holds if other is not hold]
    settle(hold, actual_fen, case.line_id, desk.order, others, desk.now)


def _book_fact(desk: Desk, case: Case, amount_fen: int) -> None:
    parts = parts_of_fact(amount_fen, case.line_id, desk.order, desk.holds)
    fact = Hold(
        shop_id=case.shop_id,
        hold_id=new_id(),
        order_id=case.order_id,
        case_id=case.case_id,
        amount_fen=amount_fen,
        parts=parts,
        state="refunded",
        held_at=desk.now,
        settled_at=desk.now,
    )
    desk.work.add(fact)


def _finish(desk: Desk, case: Case, reason: str) -> None:
    """Close the case with what was paid. One that had ended otherwise only notes the money."""
    paid = sum(hold.amount_fen for hold in desk.holds_of(case) if hold.state == "refunded")
    case.refunded_fen = paid
    previous = case.state
    if not case.is_open:
        desk.note(case, "refunded", PLATFORM, reason)
        return
    asked = case.amount_fen or 0
    case.outcome = "refunded" if paid >= asked else "partly_refunded"
    desk.enter(case, "success")
    desk.record(case, "refunded", PLATFORM, reason, previous=previous)


def _state_after_failure(case: Case) -> CaseState:
    """Back to where the platform has the case, else to where its kind asks for an answer."""
    seen = case.platform_state
    if case.refund_id and seen in ("wait_seller_agree", "wait_seller_confirm_goods",
                                   "seller_refuse_buyer", "wait_buyer_return_goods"):  # fmt: skip
        return seen
    return check(case, "refund_failed", PLATFORM)
