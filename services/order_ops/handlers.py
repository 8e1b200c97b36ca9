"""Which message leads to which use case, and the rows that each needs."""

from collections.abc import Iterable

from common.contracts import (
    CaseChanged,
    CaseClosed,
    CaseOpened,
    CommandFailed,
    CommandSucceeded,
    ConversationClosed,
    ConversationOpened,
    MessageReceived,
    MessageSent,
    ShopOrder,
)
from common.runtime import Handlers, Need, Work, row, rows

from . import bookkeeping, memo_desk, reminder_desk, resolutions
from .block_list import BlockChanged, SetBlocked, set_blocked
from .bookkeeping import OrderRecorded, RecordOrder
from .buyers import Buyer, buyer_of, chat_closed, chat_opened
from .memo_desk import MemoAccepted
from .memos import MemoTimer, WriteMemo
from .reminder_policies import EditedPolicy, ReminderPolicy, SetReminderPolicy, set_policy
from .reminders import Reminder, ReminderTimer
from .resolutions import OrderResolved, ResolveOrder

TOPICS = ("shop.orders", "kefu.conversations", "kefu.cases", "kefu.commands")

handlers = Handlers()


# -- orders ----------------------------------------------------------------------------------


def _posted_needs(command: RecordOrder) -> Iterable[Need]:
    return bookkeeping.snapshot_needs(command.snapshot)


@handlers.on(ShopOrder, needs=bookkeeping.snapshot_needs)
def order_snapshot(event: ShopOrder, work: Work) -> None:
    """A platform's order changed."""
    bookkeeping.record(event, work)


@handlers.command(RecordOrder, needs=_posted_needs)
def order_posted(command: RecordOrder, work: Work) -> OrderRecorded:
    """A shop system posted an order."""
    return bookkeeping.record_posted(command, work)


@handlers.on(CaseOpened, needs=bookkeeping.case_needs)
def case_opened(event: CaseOpened, work: Work) -> None:
    """A refund is open for an order."""
    bookkeeping.take_case(event, work)


@handlers.on(CaseChanged, needs=bookkeeping.case_needs)
def case_changed(event: CaseChanged, work: Work) -> None:
    """A case moved on."""
    bookkeeping.take_case(event, work)


@handlers.on(CaseClosed, needs=bookkeeping.case_needs)
def case_closed(event: CaseClosed, work: Work) -> None:
    """A case ended."""
    bookkeeping.take_case(event, work)


@handlers.command(ResolveOrder, needs=resolutions.order_needs)
def order_resolved(command: ResolveOrder, work: Work) -> OrderResolved:
    """A person has seen to an order."""
    return resolutions.resolve(command, work)


# -- live chats ------------------------------------------------------------------------------


def _buyer(event: ConversationOpened | ConversationClosed | MessageReceived) -> Iterable[Need]:
    yield row(Buyer, event.shop_id, event.buyer_id)


@handlers.on(ConversationOpened, needs=_buyer)
def conversation_opened(event: ConversationOpened, work: Work) -> None:
    """The buyer is in a chat from now on."""
    buyer = buyer_of(work, event.shop_id, event.buyer_id)
    chat_opened(buyer, event.conversation_id, event.opened_at)


@handlers.on(MessageReceived, needs=_buyer)
def message_received(event: MessageReceived, work: Work) -> None:
    """The buyer is still there. A message left out of hours is no live chat: nobody is there to
    take a hint, whatever the opening of its conversation said."""
    buyer = buyer_of(work, event.shop_id, event.buyer_id)
    if event.state in ("queued", "assigned"):
        chat_opened(buyer, event.conversation_id, event.received_at)
    else:
        chat_closed(buyer, event.conversation_id)


@handlers.on(ConversationClosed, needs=_buyer)
def conversation_closed(event: ConversationClosed, work: Work) -> None:
    """The chat ended."""
    chat_closed(buyer_of(work, event.shop_id, event.buyer_id), event.conversation_id)


# -- reminders -------------------------------------------------------------------------------


def _acknowledged(event: MessageSent) -> Iterable[Need]:
    if event.reminder_id is not None:
        yield rows(Reminder, "by_id", event.shop_id, event.reminder_id)


@handlers.timer(ReminderTimer, needs=reminder_desk.timer_needs)
def reminder_due(timer: ReminderTimer, work: Work) -> None:
    """A stage of an order's reminders is due, or must be settled."""
    reminder_desk.fire(timer, work)


@handlers.on(MessageSent, needs=_acknowledged)
def message_sent(event: MessageSent, work: Work) -> None:
    """The chat stored a reminder's message."""
    if event.reminder_id is not None:
        reminder_desk.acknowledge(event, work)


def _policy(command: SetReminderPolicy) -> Iterable[Need]:
    yield row(EditedPolicy, command.shop_id)


@handlers.command(SetReminderPolicy, needs=_policy)
def policy_set(command: SetReminderPolicy, work: Work) -> ReminderPolicy:
    """A supervisor changed the shop's reminder policy."""
    return set_policy(command, work)


def _blocked(command: SetBlocked) -> Iterable[Need]:
    yield row(Buyer, command.shop_id, command.buyer_id)


@handlers.command(SetBlocked, needs=_blocked)
def blocked_set(command: SetBlocked, work: Work) -> BlockChanged:
    """A buyer was put on the reminder block list, or taken off."""
    return set_blocked(command, work)


# -- memos -----------------------------------------------------------------------------------


def _memo_order(command: WriteMemo | MemoTimer) -> Iterable[Need]:
    return memo_desk.order_needs(command.shop_id, command.order_id)


def _answered_order(event: CommandSucceeded | CommandFailed) -> Iterable[Need]:
    if event.requested_service == "order_ops":
        yield from memo_desk.order_needs(event.shop_id, event.target_id)


@handlers.command(WriteMemo, needs=_memo_order)
def memo_written(command: WriteMemo, work: Work) -> MemoAccepted:
    """An agent wrote a memo or set a flag."""
    return memo_desk.write(command, work)


@handlers.timer(MemoTimer, needs=_memo_order)
def memo_unanswered(timer: MemoTimer, work: Work) -> None:
    """The platform has not answered a memo's command."""
    memo_desk.give_up(timer, work)


@handlers.on(CommandSucceeded, needs=_answered_order)
def command_succeeded(event: CommandSucceeded, work: Work) -> None:
    """The platform did what was asked."""
    if event.requested_service == "order_ops":
        memo_desk.take_answer(event, work)


@handlers.on(CommandFailed, needs=_answered_order)
def command_failed(event: CommandFailed, work: Work) -> None:
    """The platform refused what was asked."""
    if event.requested_service == "order_ops":
        memo_desk.take_answer(event, work)
