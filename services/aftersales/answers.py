"""What the shop and the buyer may do with a case: agree, refuse, send back, receive, withdraw.

Each is a command with the case's order in it. `expected` is the revision the caller saw; an
agreement names the refund version and amount it answers, for the buyer may have changed both.
"""

from typing import Annotated

import msgspec

from aftersales.cases import (
    PLATFORM,
    ActionNotAllowed,
    Actor,
    AnswerPending,
    Case,
    OrderNotKnown,
    StaleRefund,
)
from aftersales.commands import SentCommand, answers_present, send
from aftersales.desk import Desk
from aftersales.refunds import start_refund
from aftersales.transitions import agreeing, allowed, check
from common.contracts import CommandFailed
from common.errors import InvalidInput, NotFound
from common.web.etags import ExpectedVersion

REASON_MIN, REASON_MAX = 2, 200
ANY_VERSION = ExpectedVersion(None)


class ProofRequired(InvalidInput):
    """The platform takes no refusal without a picture."""

    code = "proof_required"
    title = "该平台拒绝退款必须上传凭证 / This platform wants proof with a refusal"
    hint = "Upload the proof and send its proof_url."


class OnPlatformOnly(ActionNotAllowed):
    """A request made on the platform is withdrawn there."""

    code = "on_platform_only"
    title = "请在平台上撤销 / Withdraw it on the platform"
    hint = "The buyer withdraws the request where it was made; the case follows by itself."


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What every answer to a case says."""

    shop_id: str
    order_id: str
    case_id: str
    actor: Actor
    expected: ExpectedVersion = ANY_VERSION


class Agree(Answer, frozen=True, kw_only=True):
    """Agree to the request as it stands."""

    amount_fen: int
    refund_version: int
    reason: str = ""


class Refuse(Answer, frozen=True, kw_only=True):
    """Refuse the request, with a reason the buyer will read."""

    reason: Annotated[str, msgspec.Meta(min_length=REASON_MIN, max_length=REASON_MAX)]
    proof_url: str | None = None


class ShipReturn(Answer, frozen=True, kw_only=True):
    """The goods are on their way back."""

    tracking_no: str
    courier: str | None = None


class Receive(Answer, frozen=True, kw_only=True):
    """The returned goods are here."""

    intact: bool
    note: str = ""


class Withdraw(Answer, frozen=True, kw_only=True):
    """The buyer no longer asks for it."""

    reason: str = ""


def case_for(desk: Desk, answer: Answer) -> Case:
    """The case an answer is about, unchanged since the caller saw it and waiting for nobody."""
    case = desk.require(answer.case_id)
    if answer.actor.role == "buyer" and answer.actor.id != case.buyer_id:
        raise NotFound("no such case")
    answer.expected.check(case.revision)
    return case


def agree(desk: Desk, answer: Agree) -> Case:
    """Take the goods back, or pay at once, as the kind and state of the case have it."""
    case = case_for(desk, answer)
    action = agreeing(case)
    target = check(case, action, answer.actor)
    _require_present(case, answer)
    _require_no_pending(case)
    if action == "refund":
        start_refund(desk, case, answer.actor, answer.reason)
        return case
    previous = case.state
    desk.enter(case, target)
    desk.record(case, action, answer.actor, answer.reason, previous=previous)
    return case


def _require_present(case: Case, answer: Agree) -> None:
    if case.amount_fen is None:
        raise OrderNotKnown(f"order {case.order_id} has not arrived from the order book")
    if (answer.refund_version, answer.amount_fen) != (case.refund_version, case.amount_fen):
        raise StaleRefund(
            "the buyer changed the request after it was read",
            extra={"refund_version": case.refund_version, "amount_fen": case.amount_fen},
        )


def _require_no_pending(case: Case) -> None:
    if case.pending_command_id is not None:
        raise AnswerPending("the platform has not acknowledged the previous answer yet")


def refuse(desk: Desk, answer: Refuse) -> Case:
    """Refuse. A request made on the platform is refused once the platform says so."""
    case = case_for(desk, answer)
    target = check(case, "refuse", answer.actor)
    _require_no_pending(case)
    if case.platform == "tmall" and not answer.proof_url:
        raise ProofRequired("Tmall wants a picture with every refusal")
    previous = case.state
    if case.refund_id:
        send(
            desk, case, "refund_refuse", answer.actor, refund_version=case.refund_version,
            message=answer.reason, proof_url=answer.proof_url, phase=case.phase,
        )  # fmt: skip
        desk.record(case, "refusal_sent", answer.actor, answer.reason, previous=previous)
        return case
    case.refusal_reason, case.refusal_proof_url = answer.reason, answer.proof_url
    desk.enter(case, target)
    desk.record(case, "refuse", answer.actor, answer.reason, previous=previous)
    return case


def refusal_succeeded(desk: Desk, sent: SentCommand) -> None:
    """The platform took the refusal.

    Its answer may come after news of what happened there since: the buyer altered the request,
    or somebody agreed to it. Then the refusal is history and takes nothing back.
    """
    case = desk.require(sent.case_id)
    if case.overtaken_command_id == sent.command_id:
        _refusal_seen_before(desk, case, sent)
        return
    if not case.is_open or case.pending_command_id != sent.command_id:
        return
    case.pending_command_id = case.overtaken_command_id = None
    previous = case.state
    actor = Actor(sent.requested_by, sent.requested_role)
    if not answers_present(case, sent) or "refuse" not in allowed(case, actor):
        desk.remember(case, "refusal_outdated", actor, _message(sent))
        return
    _keep_reason(case, sent)
    desk.enter(case, "seller_refuse_buyer")
    desk.record(case, "refuse", actor, _message(sent), previous=previous)


def _refusal_seen_before(desk: Desk, case: Case, sent: SentCommand) -> None:
    """The platform took the refusal, and its snapshot was here first: only the reason is news."""
    case.overtaken_command_id = None
    actor = Actor(sent.requested_by, sent.requested_role)
    if case.state == "success" or not answers_present(case, sent):
        desk.remember(case, "refusal_outdated", actor, _message(sent))
        return
    _keep_reason(case, sent)
    desk.remember(case, "refuse", actor, _message(sent))


def _message(sent: SentCommand) -> str:
    return str(sent.arguments.get("message"))


def _keep_reason(case: Case, sent: SentCommand) -> None:
    proof = sent.arguments.get("proof_url")
    case.refusal_reason = _message(sent)
    case.refusal_proof_url = str(proof) if proof else None


def refusal_failed(desk: Desk, sent: SentCommand, event: CommandFailed) -> None:
    """The platform did not take the refusal: the case waits as before, or stays where a snapshot
    has brought it since."""
    case = desk.require(sent.case_id)
    if case.pending_command_id == sent.command_id:
        case.pending_command_id = None
    elif case.overtaken_command_id == sent.command_id:
        case.overtaken_command_id = None
    else:
        return
    desk.remember(case, "refusal_failed", PLATFORM, f"{event.code}: {event.message}")


def ship_return(desk: Desk, answer: ShipReturn) -> Case:
    """Note the parcel that brings the goods back."""
    case = case_for(desk, answer)
    target = check(case, "ship_return", answer.actor)
    case.return_tracking_no, case.return_courier = answer.tracking_no, answer.courier
    case.tracking_at = desk.now
    previous = case.state
    desk.enter(case, target)
    desk.record(case, "ship_return", answer.actor, answer.tracking_no, previous=previous)
    return case


def receive(desk: Desk, answer: Receive) -> Case:
    """Intact goods are paid back at once; others wait for a person to agree or refuse."""
    case = case_for(desk, answer)
    check(case, "receive", answer.actor)
    _require_no_pending(case)
    case.goods_intact = answer.intact
    desk.record(case, "receive", answer.actor, answer.note, previous=case.state)
    if answer.intact:
        start_refund(desk, case, answer.actor, answer.note)
    return case


def withdraw(desk: Desk, answer: Withdraw) -> Case:
    """The buyer gives the request up."""
    case = case_for(desk, answer)
    target = check(case, "withdraw", answer.actor)
    if case.refund_id:
        raise OnPlatformOnly(f"the request was made on {case.platform}")
    previous = case.state
    case.outcome = "withdrawn"
    desk.enter(case, target)
    desk.record(case, "withdraw", answer.actor, answer.reason, previous=previous)
    return case
