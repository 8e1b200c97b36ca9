"""Memos and flags on the platform's order: read, merge, write, verify.

The platform keeps one memo per order, the last writer wins, and a blank memo may wipe it. So a
memo is always the platform's whole present text plus our own line under our own prefix; one
command at a time is under way per order; and the next snapshot must still show our line. If it
does not, the line is written once more; if it is lost again, somebody else is overwriting it:
the memo becomes a `conflict` for a person.

    pending --success--> succeeded --snapshot shows it--> verified
       |                     '--snapshot lost it--> pending (once) --lost again--> conflict
       '--failure, no answer, no room--> failed
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

import msgspec

from common.contracts import Action, CommandRequested
from common.errors import InvalidInput
from common.ids import new_id

from .orders import Order

MemoState = Literal["pending", "succeeded", "verified", "failed", "conflict"]
MAX_BYTES = 1000
"""The platform's limit of a memo, counted in GBK bytes."""
ANSWER_WITHIN = timedelta(minutes=10)
"""A command without an answer for so long is given up, so that the next memo gets its turn."""
NO_ANSWER = "no_answer"
NOT_WRITTEN = "not_written"
MAX_PENDING = 20
PREFIX = "【客服"
_UNSEEN = ("pending", "succeeded")
# The platform stamps its snapshots in whole seconds.
_RESOLUTION = timedelta(seconds=1)
_ZONE = ZoneInfo("Asia/Shanghai")


class MemoTooLong(InvalidInput):
    """The platform's memo has no room for this line, and nobody's words are cut off."""

    code = "memo_too_long"
    title = "备注超出长度 / Memo too long"
    hint = "Shorten the text; `bytes_left` GBK bytes are free."


class MemoNotEncodable(InvalidInput):
    """Characters, such as emoji, that the platform's memo cannot hold."""

    code = "memo_not_encodable"
    title = "备注含有平台不支持的字符 / Characters the platform cannot store"
    hint = "Leave emoji and rare characters out."


class TooManyMemos(InvalidInput):
    """So many memos of one order wait for the platform that something must be wrong there."""

    code = "too_many_memos"
    status = 409
    title = "该订单待写入的备注过多 / Too many memos waiting"
    hint = "Wait until the platform has answered the earlier memos."


class Memo(msgspec.Struct, kw_only=True):
    """One memo or flag for one order.

    `line` is our line as it stands in the platform's memo (empty for a mere flag). `command_id`
    is that of the last attempt, None while the memo waits for its turn; `attempts` counts them.
    """

    shop_id: str
    memo_id: str
    order_id: str
    text: str
    line: str
    flag: int | None = None
    author: str
    author_role: str
    state: MemoState
    command_id: str | None = None
    attempts: int = 0
    failure_code: str = ""
    failure_message: str = ""
    created_at: datetime
    requested_at: datetime | None = None
    settled_at: datetime | None = None
    version: int = 0


class WriteMemo(msgspec.Struct, frozen=True, kw_only=True):
    """Appends a line to the platform's memo, sets the flag, or both."""

    shop_id: str
    order_id: str
    text: str
    flag: int | None
    author: str
    author_role: str


class MemoTimer(msgspec.Struct, frozen=True, kw_only=True):
    """Fires when the platform has not answered a memo's command."""

    shop_id: str
    order_id: str
    command_id: str


def timer_key(shop_id: str, order_id: str) -> str:
    """The timer of the one command that is under way for an order."""
    return f"memo/{shop_id}/{order_id}"


def new_memo(command: WriteMemo, order: Order, memos: Sequence[Memo], now: datetime) -> Memo:
    """A memo that waits for its turn.

    Raises `InvalidInput` without text and flag, `MemoNotEncodable`, `TooManyMemos`, and
    `MemoTooLong` when it would not fit behind everything that is there or waits before it.
    """
    text = " ".join(command.text.split())
    if not text and command.flag is None:
        raise InvalidInput("A memo needs a text, a flag, or both.")
    _require_encodable(text)
    if sum(memo.state == "pending" for memo in memos) >= MAX_PENDING:
        raise TooManyMemos("Too many memos of this order wait for the platform.")
    line = memo_line(command.author, text, now) if text else ""
    _require_room(order.seller_memo, [*unseen_lines(memos), line])
    return Memo(
        shop_id=command.shop_id,
        memo_id=new_id(),
        order_id=command.order_id,
        text=text,
        line=line,
        flag=command.flag,
        author=command.author,
        author_role=command.author_role,
        state="pending",
        created_at=now,
    )


def memo_line(author: str, text: str, now: datetime) -> str:
    """Our line, recognisable by its prefix: who wrote it and when, in shop time."""
    return f"{PREFIX} {author} {now.astimezone(_ZONE):%m-%d %H:%M}】{text}"


def unseen_lines(memos: Iterable[Memo]) -> list[str]:
    """Lines that will be, or may have been, written but that no snapshot has shown yet.

    Oldest first. A line whose command was never answered may stand in the platform's memo, so
    the next writer must not wipe it.
    """
    waiting = (m for m in memos if m.line and (m.state in _UNSEEN or _given_up(m)))
    return [memo.line for memo in sorted(waiting, key=lambda m: m.memo_id)]


def _given_up(memo: Memo) -> bool:
    return memo.state == "failed" and memo.failure_code == NO_ANSWER


def merged_memo(platform_memo: str | None, lines: Iterable[str]) -> str:
    """The platform's whole text with the lines it lacks appended. Never shorter than it was."""
    text = platform_memo or ""
    for line in lines:
        if line and not shows(text, line):
            text = f"{text}\n{line}" if text else line
    return text


def shows(text: str | None, line: str) -> bool:
    """Whether a memo has our line, as a line of its own and not as the beginning of another."""
    return line in (found.strip() for found in (text or "").splitlines())


def memo_bytes(text: str) -> int:
    """Length in GBK; GB18030 counts the same and also takes what GBK lacks."""
    return len(text.encode("gb18030", errors="replace"))


def next_memo(memos: Sequence[Memo]) -> Memo | None:
    """The memo whose turn it is: the oldest one waiting, if no command is under way."""
    pending = sorted((m for m in memos if m.state == "pending"), key=lambda m: m.memo_id)
    if any(memo.command_id is not None for memo in pending):
        return None
    return pending[0] if pending else None


def request(
    memo: Memo, order: Order, memos: Sequence[Memo], now: datetime
) -> CommandRequested | None:
    """Starts a memo's command. None: it no longer fits, and the memo failed."""
    before = [m for m in memos if m.state != "pending"]
    text = merged_memo(order.seller_memo, [*unseen_lines(before), memo.line])
    if memo.line and memo_bytes(text) > MAX_BYTES:
        fail(memo, MemoTooLong.code, "The platform's memo has no room for this line.", now)
        return None
    memo.command_id = new_id()
    memo.attempts += 1
    memo.requested_at = now
    arguments: dict[str, str | int | bool | None] = {}
    if memo.line:
        arguments["memo"] = text
    if memo.flag is not None:
        arguments["flag"] = memo.flag
    action: Action = "memo_update" if memo.line else "flag_update"
    return CommandRequested(
        shop_id=memo.shop_id,
        command_id=memo.command_id,
        platform=order.platform,
        action=action,
        target_kind="order",
        target_id=memo.order_id,
        arguments=arguments,
        requested_by=memo.author,
        requested_service="order_ops",
        requested_at=now,
    )


def succeed(memo: Memo, order: Order, now: datetime) -> None:
    """The platform took it: the book shows it at once, and the next snapshot must confirm it.

    A snapshot that overtook the answer may have shown the line already.
    """
    shown = bool(memo.line) and shows(order.seller_memo, memo.line)
    memo.state = "verified" if shown else "succeeded"
    memo.failure_code = memo.failure_message = ""
    memo.settled_at = now
    order.seller_memo = merged_memo(order.seller_memo, [memo.line]) or order.seller_memo
    if memo.flag is not None:
        order.flag = memo.flag


def answered(memos: Iterable[Memo], command_id: str) -> Memo | None:
    """The memo that an answer belongs to, if it still waits for it or had given up waiting."""
    for memo in memos:
        if memo.command_id == command_id and (memo.state == "pending" or _given_up(memo)):
            return memo
    return None


def fail(memo: Memo, code: str, message: str, now: datetime) -> None:
    """The memo was not written, as far as is known: without an answer it may have been."""
    memo.state = "failed"
    memo.settled_at = now
    memo.failure_code = code
    memo.failure_message = message[:1000]


def verify(memos: Iterable[Memo], snapshot_memo: str | None, modified_at: datetime) -> list[Memo]:
    """Checks succeeded memos against a newer snapshot; the altered ones, oldest first.

    A snapshot from before the command was sent proves nothing. A mere flag is not verified by
    its value: whoever changed it later meant to.
    """
    altered = []
    for memo in sorted(memos, key=lambda m: m.memo_id):
        if memo.requested_at is None or not (memo.state == "succeeded" or _given_up(memo)):
            continue
        if modified_at < memo.requested_at - _RESOLUTION:
            continue
        _settle_verified(memo, snapshot_memo or "")
        altered.append(memo)
    return altered


def _settle_verified(memo: Memo, snapshot_memo: str) -> None:
    if not memo.line or shows(snapshot_memo, memo.line):
        memo.state = "verified"
        memo.failure_code = memo.failure_message = ""
    elif memo.state == "failed":
        memo.failure_code = NOT_WRITTEN
    elif memo.attempts < 2:
        memo.state = "pending"
        memo.command_id = None
        memo.settled_at = None
    else:
        memo.state = "conflict"


def _require_encodable(text: str) -> None:
    try:
        text.encode("gbk")
    except UnicodeEncodeError:
        raise MemoNotEncodable("The text has characters outside of GBK.") from None


def _require_room(platform_memo: str | None, lines: Sequence[str]) -> None:
    used = memo_bytes(merged_memo(platform_memo, lines[:-1]))
    whole = memo_bytes(merged_memo(platform_memo, lines))
    if lines[-1] and whole > MAX_BYTES:
        # Our line's own prefix and the line break take part of what is left.
        overhead = memo_bytes(lines[-1][: lines[-1].index("】") + 1]) + 1
        left = max(MAX_BYTES - used - overhead, 0)
        raise MemoTooLong(f"{left} bytes are left for the text.", extra={"bytes_left": left})
