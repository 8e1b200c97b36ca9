"""Payment reminders (催付) on their last step: into the chat, or as a hint to the agent."""

from collections.abc import Iterable

from common.contracts import ReminderDue
from common.runtime import Need, Work, row, rows

from .buyers import Buyer
from .conversations import Conversation
from .intake import needs_of as needs_of_message
from .intake import needs_of_thread, needs_to_open, take_in
from .messages import Incoming
from .order_cards import KnownOrder
from .panel import tell_staff


def text_of(event: ReminderDue) -> Incoming:
    """The reminder as a message; one per order and stage, whatever is repeated."""
    return Incoming(
        shop_id=event.shop_id,
        buyer_id=event.buyer_id,
        source="reminder",
        client_message_id=event.idempotency_key,
        platform=event.platform,
        sender_kind="system",
        sender_id="system",
        kind="text",
        text=event.text,
        order_id=event.order_id,
        reminder_id=event.reminder_id,
    )


def needs_of(event: ReminderDue) -> Iterable[Need]:
    """The order as it is known here, the buyer, and what a message needs."""
    yield row(KnownOrder, event.shop_id, event.order_id)
    yield row(Buyer, event.shop_id, event.buyer_id)
    yield rows(Conversation, "open_of_buyer", event.shop_id, event.buyer_id)
    yield from needs_of_message(text_of(event))


def needs_to_tell(event: ReminderDue, work: Work) -> Iterable[Need]:
    """As for any text to a buyer."""
    return needs_to_open(text_of(event), work)


def needs_the_thread(event: ReminderDue, work: Work) -> Iterable[Need]:
    """As for any text to a buyer."""
    return needs_of_thread(text_of(event), work)


def remind(event: ReminderDue, work: Work) -> None:
    """Writes to the buyer, or hints to the agent; neither if the order is not unpaid any more, nor
    when it is too late: nobody is woken because we were down in the evening."""
    order = work.get(KnownOrder, event.shop_id, event.order_id)
    if order is not None and order.status != "unpaid":
        return
    if event.valid_until is not None and work.now >= event.valid_until:
        return
    if event.sent_by == "message":
        take_in(text_of(event), work)
        return
    buyer = work.get(Buyer, event.shop_id, event.buyer_id)
    hint = f"订单 {event.order_id} 还未付款,可提醒买家 / Not paid yet: {event.text}"[:1000]
    for conversation in work.all(Conversation, "open_of_buyer", event.shop_id, event.buyer_id):
        tell_staff(conversation, buyer, ("hint",), work, hint)
