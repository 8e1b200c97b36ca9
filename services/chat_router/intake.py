"""How a message is taken in: stored once, numbered in its conversation, told to who must see it.

The same path serves buyers, agents, platforms and our own texts, over HTTP, sockets and events.
Invariants: a message's identity (`source`, `client_message_id`) is stored once; `seq` has no
gaps; a buyer has one open conversation at most, however many first messages race (the table's
unique index decides, the batch that lost runs again and finds it).
"""

from collections.abc import Iterable

import msgspec

from common.errors import NotFound
from common.runtime import Need, Work, row, rows

from .buyers import Buyer
from .conversations import Conversation, is_open
from .errors import ConversationClosed, NotYourConversation
from .groups import SkillGroup
from .messages import Incoming, Message, MessageAccepted, accepted
from .opening import buyer_of, greet, new_conversation, open_conversation
from .shop_settings import ShopSettings, settings_of
from .storing import store_message

LEADERS = frozenset({"senior_agent", "supervisor", "operations", "admin", "system"})
"""Roles that may act in conversations that are not theirs."""


class SendMessage(msgspec.Struct, frozen=True, kw_only=True):
    """Command: take in this message."""

    incoming: Incoming


# -- what it needs --------------------------------------------------------------------------


def needs_of(incoming: Incoming) -> Iterable[Need]:
    """All that a message into an open conversation takes: one loading round.

    The groups are for those that open one; beside the settings they cost no round of their own.
    """
    shop_id = incoming.shop_id
    yield row(ShopSettings, shop_id)
    yield rows(SkillGroup, "of_shop", shop_id)
    yield rows(Message, "of_client", shop_id, incoming.source, incoming.client_message_id)
    if incoming.conversation_id is not None:
        yield row(Conversation, shop_id, incoming.conversation_id)
    if incoming.buyer_id is not None:
        yield rows(Conversation, "open_of_buyer", shop_id, incoming.buyer_id)


def needs_to_open(incoming: Incoming, work: Work) -> Iterable[Need]:
    """Second round, only for those whose buyer has no open conversation."""
    shop_id, buyer_id = incoming.shop_id, incoming.buyer_id
    if buyer_id is not None and not work.all(Conversation, "open_of_buyer", shop_id, buyer_id):
        yield row(Buyer, shop_id, buyer_id)


def needs_of_thread(incoming: Incoming, work: Work) -> Iterable[Need]:
    """Third round, only for what is told to a buyer who is in no open conversation."""
    shop_id, buyer_id = incoming.shop_id, incoming.buyer_id
    if buyer_id is None or incoming.sender_kind == "buyer":
        return
    if not work.all(Conversation, "open_of_buyer", shop_id, buyer_id):
        buyer = work.get(Buyer, shop_id, buyer_id)
        if buyer is not None and buyer.conversation_id is not None:
            yield row(Conversation, shop_id, buyer.conversation_id)


# -- the use case ---------------------------------------------------------------------------


def take_in(incoming: Incoming, work: Work) -> MessageAccepted:
    """Stores a message once and tells of it.

    Raises `NotFound` for a conversation that is not the writer's to see, `ConversationClosed`
    and `NotYourConversation` for an agent who may not write there.
    """
    known = work.all(
        Message, "of_client", incoming.shop_id, incoming.source, incoming.client_message_id
    )
    if known:
        return accepted(known[0], repeated=True)
    settings = settings_of(work, incoming.shop_id)
    is_buyers = incoming.sender_kind == "buyer"
    conversation = _from_buyer(incoming, work) if is_buyers else _from_shop(incoming, work)
    opened = conversation is None
    if conversation is None:
        conversation = open_conversation(incoming, settings, work)
    message = store_message(incoming, conversation, settings, work)
    if opened:
        greet(conversation, settings, work)
    return accepted(message, repeated=False)


def _from_buyer(incoming: Incoming, work: Work) -> Conversation | None:
    """The conversation a buyer writes into, None if a new one must be opened."""
    assert incoming.buyer_id is not None
    if incoming.conversation_id is not None:
        named = work.require(Conversation, incoming.shop_id, incoming.conversation_id)
        if named.buyer_id != incoming.buyer_id:
            raise NotFound("no such conversation")
        if is_open(named):
            return named
    return _open_of(incoming.shop_id, incoming.buyer_id, work)


def _open_of(shop_id: str, buyer_id: str, work: Work) -> Conversation | None:
    found = work.all(Conversation, "open_of_buyer", shop_id, buyer_id)
    return found[0] if found else None


def _from_shop(incoming: Incoming, work: Work) -> Conversation:
    """The conversation that an agent, a platform or the system writes into."""
    if incoming.conversation_id is None:
        return _thread_of(incoming, work)
    conversation = work.require(Conversation, incoming.shop_id, incoming.conversation_id)
    if not is_open(conversation):
        raise ConversationClosed
    require_hold(conversation, incoming.sender_id, incoming.sender_role)
    return conversation


def require_hold(conversation: Conversation, actor: str, role: str) -> None:
    """`NotYourConversation` unless the actor has the conversation, or leads those who do."""
    if role not in LEADERS and conversation.agent_id != actor:
        raise NotYourConversation


def _thread_of(incoming: Incoming, work: Work) -> Conversation:
    """Where a buyer in no open conversation is told something: the newest conversation.

    It stays closed, and nobody has to attend to it. A buyer who never wrote gets one for it.
    """
    shop_id, buyer_id = incoming.shop_id, incoming.buyer_id
    assert buyer_id is not None
    found = _open_of(shop_id, buyer_id, work)
    if found is not None:
        return found
    buyer = buyer_of(incoming, work)
    if buyer.conversation_id is not None:
        return work.require(Conversation, shop_id, buyer.conversation_id)
    thread = new_conversation(incoming, buyer, work)
    thread.state, thread.closed_at, thread.close_reason = "closed", work.now, "system"
    work.add(thread)
    return thread
