"""Carries out what `memos` decides: one command per order at a time, answers, verification."""

from collections.abc import Iterable

import msgspec

from common.contracts import CommandFailed, CommandSucceeded, ShopOrder
from common.runtime import Need, Work, row, rows

from .memos import (
    ANSWER_WITHIN,
    NO_ANSWER,
    Memo,
    MemoState,
    MemoTimer,
    WriteMemo,
    answered,
    fail,
    new_memo,
    next_memo,
    request,
    succeed,
    timer_key,
    verify,
)
from .orders import Order, Transition
from .publishing import note, publish


class MemoAccepted(msgspec.Struct, frozen=True, kw_only=True):
    """A memo that waits for the platform's acknowledgement."""

    memo_id: str
    order_id: str
    state: MemoState
    line: str
    flag: int | None


def order_needs(shop_id: str, order_id: str) -> Iterable[Need]:
    """The order and all its memos."""
    yield row(Order, shop_id, order_id)
    yield rows(Memo, "of_order", shop_id, order_id)


def write(command: WriteMemo, work: Work) -> MemoAccepted:
    """Accepts a memo; `NotFound` for an unknown order, else the errors of `new_memo`."""
    order = work.require(Order, command.shop_id, command.order_id)
    memo = new_memo(command, order, _memos(order, work), work.now)
    work.add(memo)
    note(order, "memo.pending", work, actor=memo.author, text=memo.line)
    advance(order, work)
    return MemoAccepted(
        memo_id=memo.memo_id,
        order_id=memo.order_id,
        state=memo.state,
        line=memo.line,
        flag=memo.flag,
    )


def advance(order: Order, work: Work) -> None:
    """Sends the command of the next memo in line, if none is under way."""
    memos = _memos(order, work)
    while (memo := next_memo(memos)) is not None:
        command = request(memo, order, memos, work.now)
        if command is None:
            _note_state(order, memo, work)
            continue
        work.emit(command, subject=order.order_id)
        timer = MemoTimer(
            shop_id=order.shop_id, order_id=order.order_id, command_id=command.command_id
        )
        work.arm(timer_key(order.shop_id, order.order_id), work.now + ANSWER_WITHIN, timer)


def take_answer(answer: CommandSucceeded | CommandFailed, work: Work) -> None:
    """Settles the memo that a command belonged to, and lets the next one have its turn.

    Answers of unknown, older or repeated commands change nothing.
    """
    order = work.get(Order, answer.shop_id, answer.target_id)
    if order is None:
        return
    memo = answered(_memos(order, work), answer.command_id)
    if memo is None:
        return
    if memo.state == "pending":
        work.cancel(timer_key(order.shop_id, order.order_id))
    if isinstance(answer, CommandFailed):
        fail(memo, answer.code, answer.message, work.now)
    else:
        succeed(memo, order, work.now)
        changed = Transition("changed", order.status, answer.at)
        publish(order, (changed,), work, actor=memo.author)
    _note_state(order, memo, work)
    advance(order, work)


def give_up(timer: MemoTimer, work: Work) -> None:
    """The platform did not answer in time."""
    order = work.get(Order, timer.shop_id, timer.order_id)
    if order is None:
        return
    memo = answered(_memos(order, work), timer.command_id)
    if memo is not None and memo.state == "pending":
        fail(memo, NO_ANSWER, "The platform did not answer.", work.now)
        _note_state(order, memo, work)
        advance(order, work)


def verify_against(order: Order, snapshot: ShopOrder, work: Work) -> None:
    """Holds written memos against a newer snapshot; lost ones are written again, once."""
    altered = verify(_memos(order, work), snapshot.seller_memo, snapshot.modified_at)
    for memo in altered:
        if memo.state == "conflict":
            order.wait_for_person()
        _note_state(order, memo, work)
    if altered:
        advance(order, work)


def _memos(order: Order, work: Work) -> list[Memo]:
    return work.all(Memo, "of_order", order.shop_id, order.order_id)


def _note_state(order: Order, memo: Memo, work: Work) -> None:
    text = f"{memo.failure_code} {memo.line}".strip()
    note(order, f"memo.{memo.state}", work, actor=memo.author, text=text)
