"""Commands to the shop platform: written before the call, repeated until answered.

A command is stored and published in the transaction of the decision, with its unique id; the
adapter carries each id out once. While there is no answer the same command is published again,
ever more rarely, so that one lost on the way cannot leave a case waiting for good.
"""

from datetime import datetime, timedelta

import msgspec

from aftersales.cases import Actor, Case
from aftersales.desk import Desk
from common.contracts import Action, ActorRole, CommandRequested, Platform, TargetKind
from common.ids import new_id
from common.runtime import Work

REPEAT_AFTER = timedelta(minutes=10)
REPEAT_AT_MOST = timedelta(hours=6)

Argument = str | int | bool | None


class SentCommand(msgspec.Struct, kw_only=True):
    """A command as it was published. Never altered; the case and the hold say what became of it."""

    shop_id: str
    command_id: str
    order_id: str
    case_id: str
    platform: Platform
    action: Action
    target_kind: TargetKind
    target_id: str
    arguments: dict[str, Argument]
    requested_by: str
    requested_role: ActorRole
    requested_at: datetime


class CommandOverdue(msgspec.Struct, frozen=True, kw_only=True):
    """A command has had time enough to be answered."""

    shop_id: str
    order_id: str
    case_id: str
    command_id: str
    repeats: int = 0


def send(
    desk: Desk, case: Case, action: Action, actor: Actor, **arguments: Argument
) -> SentCommand:
    """Ask the platform to do something about a case, and remember that the answer is open.

    A case without a platform refund is carried out on its order; the case id in the arguments
    tells the adapter which refund is meant.
    """
    sent = SentCommand(
        shop_id=case.shop_id,
        command_id=new_id(),
        order_id=case.order_id,
        case_id=case.case_id,
        platform=case.platform,
        action=action,
        target_kind="refund" if case.refund_id else "order",
        target_id=case.refund_id or case.order_id,
        arguments={"case_id": case.case_id, **arguments},
        requested_by=actor.id,
        requested_role=actor.role,
        requested_at=desk.now,
    )
    case.pending_command_id = sent.command_id
    desk.work.add(sent)
    _publish(desk.work, sent, repeats=0)
    return sent


def answers_present(case: Case, sent: SentCommand) -> bool:
    """Whether a command was about the request as it stands, and not an earlier version of it."""
    return sent.arguments.get("refund_version") == case.refund_version


def repeat(desk: Desk, timer: CommandOverdue, sent: SentCommand) -> None:
    """Publish an unanswered command once more, under the same id."""
    case = desk.require(sent.case_id)
    holds = (hold.hold_id for hold in desk.holds if hold.state == "held")
    overtaken = case.is_open and case.overtaken_command_id == sent.command_id
    if case.pending_command_id == sent.command_id or overtaken or sent.command_id in holds:
        _publish(desk.work, sent, repeats=timer.repeats + 1)


def answered(desk: Desk, sent: SentCommand) -> None:
    """The command has its answer and need not be repeated."""
    desk.work.cancel(overdue_key(sent))


def wait_before_repeat(repeats: int) -> timedelta:
    """Ten minutes at first, then doubling up to six hours."""
    doublings: int = 2 ** min(repeats, 10)
    return min(REPEAT_AFTER * doublings, REPEAT_AT_MOST)


def _publish(work: Work, sent: SentCommand, repeats: int) -> None:
    work.emit(
        CommandRequested(
            shop_id=sent.shop_id,
            command_id=sent.command_id,
            platform=sent.platform,
            action=sent.action,
            target_kind=sent.target_kind,
            target_id=sent.target_id,
            arguments=sent.arguments,
            requested_by=sent.requested_by,
            requested_service="aftersales",
            requested_at=sent.requested_at,
        ),
        subject=sent.case_id,
    )
    overdue = CommandOverdue(
        shop_id=sent.shop_id,
        order_id=sent.order_id,
        case_id=sent.case_id,
        command_id=sent.command_id,
        repeats=repeats,
    )
    work.arm(overdue_key(sent), work.now + wait_before_repeat(repeats), overdue)


def overdue_key(sent: SentCommand) -> str:
    """The timer key of a command's repetition."""
    return f"command:{sent.shop_id}:{sent.command_id}:overdue"
