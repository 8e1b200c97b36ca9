"""Satisfaction (邀评): the buyer rates a conversation, once."""

from collections.abc import Iterable

import msgspec

from common.contracts import ConversationRated
from common.errors import NotFound
from common.runtime import Need, Work, row

from .conversations import Conversation, receivers
from .errors import AlreadyRated, NotServedYet
from .messages import counters


class RateConversation(msgspec.Struct, frozen=True, kw_only=True):
    """Command: 5 is very satisfied, 1 very dissatisfied."""

    shop_id: str
    conversation_id: str
    buyer_id: str
    rating: int
    reason: str | None = None


class RatingKept(msgspec.Struct, frozen=True, kw_only=True):
    """The rating that stands."""

    conversation_id: str
    rating: int
    reason: str | None


def needs_of(command: RateConversation) -> Iterable[Need]:
    """The conversation."""
    yield row(Conversation, command.shop_id, command.conversation_id)


def rate(command: RateConversation, work: Work) -> RatingKept:
    """Keeps the first rating of a conversation that somebody answered."""
    conversation = work.require(Conversation, command.shop_id, command.conversation_id)
    if conversation.buyer_id != command.buyer_id:
        raise NotFound("no such conversation")
    if conversation.rating is not None:
        raise AlreadyRated
    if not conversation.messages_agent:
        raise NotServedYet
    conversation.rating = command.rating
    conversation.rating_reason = command.reason
    conversation.rated_at = work.now
    rated = ConversationRated(
        **counters(conversation),
        rating=command.rating,
        reason=command.reason,
        agent_id=conversation.agent_id,
        rated_at=work.now,
    )
    work.emit(rated, deliver=receivers(conversation, shop=True, also=(conversation.agent_id,)))
    return RatingKept(
        conversation_id=conversation.conversation_id,
        rating=command.rating,
        reason=command.reason,
    )
