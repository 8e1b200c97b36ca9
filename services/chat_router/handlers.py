"""Which use case answers which event, command and timer."""

from typing import Any

from common.contracts import (
    CaseChanged,
    CaseClosed,
    CaseDeadlineNear,
    CaseOpened,
    FeedbackSpiked,
    FeedbackTaskClosed,
    FeedbackTaskOpened,
    OrderChanged,
    OrderClosed,
    OrderCreated,
    OrderFinished,
    OrderPaid,
    OrderShipped,
    OrderSigned,
    OrderUnpaid,
    ReminderDue,
    ShopMessage,
)
from common.runtime import Handlers, Work

from . import (
    assignments,
    attendance,
    board,
    case_cards,
    closing,
    intake,
    marks,
    opening,
    order_cards,
    profiles,
    ratings,
    reminders,
    returns,
    staffing,
    storing,
    transfers,
    waiting,
)
from .messages import MessageAccepted, incoming_from_platform
from .presence import GraceOver, PresenceTimeout

handlers = Handlers()

# -- messages -------------------------------------------------------------------------------


@handlers.on(
    ShopMessage,
    needs=lambda event: intake.needs_of(incoming_from_platform(event)),
    then=(
        lambda event, work: intake.needs_to_open(incoming_from_platform(event), work),
        lambda event, work: intake.needs_of_thread(incoming_from_platform(event), work),
    ),
)
def take_in_from_platform(event: ShopMessage, work: Work) -> None:
    """A buyer wrote on a platform, or the shop's staff answered there."""
    intake.take_in(incoming_from_platform(event), work)


@handlers.command(
    intake.SendMessage,
    needs=lambda command: intake.needs_of(command.incoming),
    then=(
        lambda command, work: intake.needs_to_open(command.incoming, work),
        lambda command, work: intake.needs_of_thread(command.incoming, work),
    ),
)
def send_message(command: intake.SendMessage, work: Work) -> MessageAccepted:
    """Somebody wrote, over HTTP or a socket."""
    return intake.take_in(command.incoming, work)


handlers.command(marks.MarkRead, needs=marks.needs_to_read, then=marks.needs_unread)(
    marks.mark_read
)
handlers.command(marks.MarkDelivered, needs=marks.needs_to_deliver)(marks.mark_delivered)

# -- conversations --------------------------------------------------------------------------

handlers.command(closing.CloseConversation, needs=closing.needs_of, then=closing.needs_buyer)(
    closing.close_conversation
)
handlers.command(
    transfers.TransferConversation, needs=transfers.needs_of, then=transfers.needs_buyer
)(transfers.transfer)
handlers.command(ratings.RateConversation, needs=ratings.needs_of)(ratings.rate)
handlers.command(returns.RequestReturn, needs=returns.needs_of, then=returns.needs_conversation)(
    returns.request_return
)
handlers.command(assignments.RouteShop, needs=assignments.needs_of, then=assignments.needs_noted)(
    assignments.route
)
handlers.timer(storing.UnansweredCheck, needs=waiting.needs_of, then=waiting.needs_buyer)(
    waiting.warn_of_wait
)
handlers.timer(opening.IdleCheck, needs=waiting.needs_of, then=waiting.needs_buyer)(
    waiting.end_if_idle
)

# -- agents ---------------------------------------------------------------------------------

handlers.command(attendance.SetPresence, needs=attendance.needs_of, then=attendance.needs_held)(
    attendance.set_presence
)
handlers.command(attendance.Heartbeats, needs=attendance.needs_of_heartbeats)(attendance.keep_alive)
handlers.command(attendance.SweepAgent, needs=attendance.needs_of, then=attendance.needs_held)(
    attendance.sweep
)
handlers.timer(PresenceTimeout, needs=attendance.needs_of)(attendance.notice_silence)
handlers.timer(GraceOver, needs=attendance.needs_of, then=attendance.needs_held)(
    attendance.end_grace
)

# -- settings -------------------------------------------------------------------------------

handlers.command(staffing.EditAgent, needs=staffing.needs_agent)(staffing.edit_agent)
handlers.command(staffing.EditGroup, needs=staffing.needs_group)(staffing.edit_group)
handlers.command(staffing.EditSettings, needs=staffing.needs_settings)(staffing.edit_settings)
handlers.command(profiles.EditBuyer, needs=profiles.needs_of)(profiles.edit_buyer)

# -- what other services tell ---------------------------------------------------------------

for _order_event in (
    OrderCreated,
    OrderUnpaid,
    OrderPaid,
    OrderChanged,
    OrderShipped,
    OrderSigned,
    OrderFinished,
    OrderClosed,
):
    handlers.on(_order_event, needs=order_cards.needs_of, then=order_cards.needs_groups)(
        order_cards.project
    )

_case_rounds: Any = (case_cards.needs_to_tell, case_cards.needs_the_thread)
for _case_event in (CaseOpened, CaseChanged, CaseDeadlineNear, CaseClosed):
    handlers.on(_case_event, needs=case_cards.needs_of, then=_case_rounds)(case_cards.follow)

handlers.on(
    ReminderDue,
    needs=reminders.needs_of,
    then=(reminders.needs_to_tell, reminders.needs_the_thread),
)(reminders.remind)

for _complaint in (FeedbackSpiked, FeedbackTaskOpened, FeedbackTaskClosed):
    handlers.on(_complaint)(board.show)
