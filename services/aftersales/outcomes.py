"""What happens when nobody acts: the warning before a deadline, and its default outcome."""

from aftersales.cases import SYSTEM, Case, LineNotInOrder, OverPaid
from aftersales.deadlines import RETRY, CaseDue, CaseNear, due_key, is_current, needs_warning
from aftersales.desk import Desk, case_event
from aftersales.refunds import start_refund, still_to_come
from aftersales.transitions import agreeing, check
from common.contracts import CaseDeadlineNear

REASON = "超时未处理 / deadline passed"


def warn(desk: Desk, timer: CaseNear) -> None:
    """Say once that a deadline comes near."""
    case = desk.find(timer.case_id)
    if case is None or not is_current(case, timer) or not needs_warning(case):
        return
    case.warned_deadline_at = case.deadline_at
    near = case_event(CaseDeadlineNear, case, SYSTEM, desk.now)
    desk.work.emit(near, subject=case.case_id)


def end(desk: Desk, timer: CaseDue) -> None:
    """Do what the policy says; a timer of a deadline that has moved does nothing."""
    case = desk.find(timer.case_id)
    if case is None or not is_current(case, timer):
        return
    if case.pending_command_id is not None or _waits_for_order(desk, case):
        desk.work.arm(due_key(case), desk.now + RETRY, timer)
    elif case.deadline_action in ("auto_refund", "auto_agree"):
        _agree(desk, case)
    elif case.deadline_action == "auto_reject":
        _reject(desk, case)
    else:
        _close(desk, case)


def _waits_for_order(desk: Desk, case: Case) -> bool:
    pays = case.deadline_action in ("auto_refund", "auto_agree") and agreeing(case) == "refund"
    return pays and bool(still_to_come(desk, case))


def _agree(desk: Desk, case: Case) -> None:
    action = agreeing(case)
    if action == "refund":
        _refund(desk, case)
        return
    previous = case.state
    desk.enter(case, check(case, action, SYSTEM))
    desk.record(case, action, SYSTEM, REASON, previous=previous)


def _refund(desk: Desk, case: Case) -> None:
    """Pay, or leave the case to a person when the money is not there any more."""
    try:
        start_refund(desk, case, SYSTEM, REASON)
    except (OverPaid, LineNotInOrder) as refusal:
        case.blocked_reason = refusal.code
        desk.record(case, "blocked", SYSTEM, refusal.detail, previous=case.state)


def _reject(desk: Desk, case: Case) -> None:
    previous = case.state
    case.refusal_reason = REASON
    desk.enter(case, check(case, "reject", SYSTEM))
    desk.record(case, "reject", SYSTEM, REASON, previous=previous)


def _close(desk: Desk, case: Case) -> None:
    previous = case.state
    case.outcome = "rejected" if previous == "seller_refuse_buyer" else "expired"
    desk.enter(case, check(case, "expire", SYSTEM))
    desk.record(case, "expire", SYSTEM, REASON, previous=previous)
