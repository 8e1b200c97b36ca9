"""What stands beside a conversation: order, case, tags, a hint, the wait. Told when it changes."""

from datetime import datetime

from common.contracts import ChangedPart, ConversationChanged
from common.runtime import Work

from .buyers import Buyer
from .conversations import Conversation, receivers, staff_receivers
from .messages import counters


def panel_of(
    conversation: Conversation,
    buyer: Buyer | None,
    changed: tuple[ChangedPart, ...],
    now: datetime,
    hint: str | None = None,
) -> ConversationChanged:
    """The whole side panel as it now is."""
    return ConversationChanged(
        **counters(conversation),
        agent_id=conversation.agent_id,
        group_id=conversation.group_id,
        state=conversation.state,
        changed=changed,
        order_state=buyer.order_state if buyer else conversation.order_state,
        order=buyer.order_card if buyer else None,
        case=buyer.case_card if buyer else None,
        tags=buyer.tags if buyer else (),
        hint=hint,
        changed_at=now,
    )


def tell_all(
    conversation: Conversation,
    buyer: Buyer | None,
    changed: tuple[ChangedPart, ...],
    work: Work,
) -> None:
    """Tells buyer, agent and board. The socket edge leaves out what is not for the buyer."""
    event = panel_of(conversation, buyer, changed, work.now)
    work.emit(event, deliver=receivers(conversation, shop=True))


def tell_staff(
    conversation: Conversation,
    buyer: Buyer | None,
    changed: tuple[ChangedPart, ...],
    work: Work,
    hint: str | None = None,
) -> None:
    """Tells the agent and the board alone."""
    event = panel_of(conversation, buyer, changed, work.now, hint)
    work.emit(event, deliver=staff_receivers(conversation))
