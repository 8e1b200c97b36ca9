"""The timers of an open conversation: a warning for a buyer who waits, an end for silence."""

from collections.abc import Iterable
from datetime import timedelta

from common.runtime import Need, Work, row

from .buyers import Buyer
from .closing import finish
from .conversations import Conversation, is_open
from .opening import IdleCheck
from .panel import tell_staff
from .shop_settings import ShopSettings, settings_of
from .storing import UnansweredCheck, arm_warning

Check = UnansweredCheck | IdleCheck


def needs_of(check: Check) -> Iterable[Need]:
    """The conversation and the shop's rules."""
    yield row(ShopSettings, check.shop_id)
    yield row(Conversation, check.shop_id, check.conversation_id)


def needs_buyer(check: Check, work: Work) -> Iterable[Need]:
    """The buyer beside it."""
    conversation = work.get(Conversation, check.shop_id, check.conversation_id)
    if conversation is not None:
        yield row(Buyer, check.shop_id, conversation.buyer_id)


def warn_of_wait(check: UnansweredCheck, work: Work) -> None:
    """Warns agent and board once per round that stays unanswered too long.

    The timer was armed for the round that was open then; a later round is waited for in turn.
    """
    conversation = work.get(Conversation, check.shop_id, check.conversation_id)
    if conversation is None or not is_open(conversation):
        return
    conversation.warning_armed = False
    since = conversation.unanswered_since
    if since is None or conversation.warned:
        return
    settings = settings_of(work, check.shop_id)
    if work.now < since + timedelta(seconds=settings.warning_seconds):
        arm_warning(conversation, settings, work)
        return
    conversation.warned = True
    waited = int((work.now - since).total_seconds())
    hint = f"买家已等待 {waited} 秒,请尽快回复 / The buyer has been waiting for {waited} s"
    buyer = work.get(Buyer, check.shop_id, conversation.buyer_id)
    tell_staff(conversation, buyer, ("waiting",), work, hint)


def end_if_idle(check: IdleCheck, work: Work) -> None:
    """Closes a conversation in which nobody wrote for long, unless the buyer still waits."""
    conversation = work.get(Conversation, check.shop_id, check.conversation_id)
    if conversation is None or not is_open(conversation):
        return
    span = timedelta(seconds=settings_of(work, check.shop_id).idle_close_seconds)
    ends_at = (conversation.last_message_at or conversation.opened_at) + span
    if conversation.unanswered_since is None and work.now >= ends_at:
        finish(conversation, "idle", work)
        return
    again_at = max(ends_at, work.now + span / 4)
    work.arm(f"idle:{check.shop_id}:{check.conversation_id}", again_at, check)
