"""How a message is taken in: stored once, numbered in its conversation, told to who must see it.

The same path serves buyers, agents, platforms and our own texts, over HTTP, sockets and events.
Invariants: a message's identity (`source`, `client_message_id`) is stored once; `seq` has no
gaps; a buyer has one open conversation at most, however many first messages race (the table's
unique index decides, the batch that lost runs again and finds it).
"""

from collections.abc import Iterable
from datetime import timedelta

import msgspec

from common.contracts import ConversationAnswered, ConversationOpened
from common.errors import NotFound
from common.ids import new_id
from common.runtime import Need, Work, row, rows

from .buyers import Buyer
from .conversations import Conversation, is_open, preview, receivers, staff_receivers
from .errors import ConversationClosed, NotYourConversation
from .groups import SkillGroup, choose_group
from .messages import Incoming, Message, MessageAccepted, accepted, counters, event_of, stored
from .response_times import Round, answer, ask, ends_round, seconds
from .shop_settings import ShopSettings, is_open_at

LEADERS = frozenset({"senior_agent", "supervisor", "operations", "admin", "system"})
"""Roles that may act in conversations that are not theirs."""


class SendMessage(msgspec.Struct, frozen=True, kw_only=True):
    """Command: take in this message."""

    incoming: Incoming


class UnansweredCheck(msgspec.Struct, frozen=True, kw_only=True):
    """Timer: has the buyer been waiting too long?"""

    shop_id: str
    conversation_id: str


class IdleCheck(msgspec.Struct, frozen=True, kw_only=True):
    """Timer: has nobody written for long?"""

    shop_id: str
    conversation_id: str


# -- what it needs --------------------------------------------------------------------------


def needs_of(incoming: Incoming) -> Iterable[Need]:
    """All that a message into an open conversation takes: one loading round."""
    shop_id = incoming.shop_id
    yield row(ShopSettings, shop_id)
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
        yield rows(SkillGroup, "of_shop", shop_id)


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
    message = _store(incoming, conversation, settings, work)
    if opened:
        _greet(conversation, settings, work)
    return accepted(message, repeated=False)


def settings_of(work: Work, shop_id: str) -> ShopSettings:
    """The shop's rules, or the defaults."""
    return work.get(ShopSettings, shop_id) or ShopSettings(shop_id=shop_id)


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
    buyer = _buyer_of(incoming, work)
    if buyer.conversation_id is not None:
        return work.require(Conversation, shop_id, buyer.conversation_id)
    thread = _new_conversation(incoming, buyer, work)
    thread.state, thread.closed_at, thread.close_reason = "closed", work.now, "system"
    work.add(thread)
    return thread


def _buyer_of(incoming: Incoming, work: Work) -> Buyer:
    assert incoming.buyer_id is not None
    buyer = work.get(Buyer, incoming.shop_id, incoming.buyer_id)
    if buyer is None:
        buyer = Buyer(
            shop_id=incoming.shop_id,
            buyer_id=incoming.buyer_id,
            platform=incoming.platform,
            created_at=work.now,
        )
        work.add(buyer)
    return buyer


# -- opening --------------------------------------------------------------------------------


def open_conversation(incoming: Incoming, settings: ShopSettings, work: Work) -> Conversation:
    """A new conversation, in the queue or, outside opening hours, in the message box."""
    buyer = _buyer_of(incoming, work)
    conversation = _new_conversation(incoming, buyer, work)
    if not is_open_at(settings, work.now):
        conversation.state = "message_box"
        conversation.wait_reason = "message_box"
    work.add(conversation)
    idle = IdleCheck(shop_id=buyer.shop_id, conversation_id=conversation.conversation_id)
    work.arm(
        f"idle:{buyer.shop_id}:{conversation.conversation_id}",
        work.now + timedelta(seconds=settings.idle_close_seconds),
        idle,
    )
    work.after_commit("router")
    return conversation


def _new_conversation(incoming: Incoming, buyer: Buyer, work: Work) -> Conversation:
    groups = work.all(SkillGroup, "of_shop", incoming.shop_id)
    group_id, group_priority = choose_group(groups, buyer.order_state)
    conversation = Conversation(
        shop_id=incoming.shop_id,
        conversation_id=new_id(),
        buyer_id=buyer.buyer_id,
        platform=incoming.platform,
        state="queued",
        group_id=group_id,
        affinity_agent_id=buyer.last_agent_id,
        affinity_at=buyer.last_served_at,
        dedicated_agent_id=buyer.dedicated_agent_id,
        order_state=buyer.order_state,
        rank=-max(buyer.priority, group_priority),
        opened_at=work.now,
        queued_at=work.now,
        waiting_since=work.now,
    )
    buyer.conversation_id = conversation.conversation_id
    return conversation


def _announce_opening(conversation: Conversation, work: Work) -> None:
    opened = ConversationOpened(
        **counters(conversation),
        platform=conversation.platform,
        group_id=conversation.group_id,
        opened_at=conversation.opened_at,
        order_state=conversation.order_state,
        previous_agent_id=conversation.affinity_agent_id,
    )
    work.emit(opened, deliver=receivers(conversation, shop=True))


def _greet(conversation: Conversation, settings: ShopSettings, work: Work) -> None:
    """The greeting is the system's: it never counts as the first response."""
    away = conversation.state == "message_box"
    text = settings.closed_greeting if away else settings.greeting
    if text:
        greeting = say(conversation, text, source="greeting", id=conversation.conversation_id)
        _store(greeting, conversation, settings, work)


def say(conversation: Conversation, text: str, *, source: str, id: str) -> Incoming:
    """A text of the system's own, for a conversation that is at hand."""
    return Incoming(
        shop_id=conversation.shop_id,
        buyer_id=conversation.buyer_id,
        source=source,
        client_message_id=id,
        platform=conversation.platform,
        sender_kind="system",
        sender_id="system",
        kind="text",
        text=text,
    )


# -- storing --------------------------------------------------------------------------------


def _store(
    incoming: Incoming, conversation: Conversation, settings: ShopSettings, work: Work
) -> Message:
    message = stored(incoming, conversation, new_id(), work.now)
    conversation.last_seq = message.seq
    conversation.last_message_at = work.now
    conversation.last_text = preview(message.text, message.kind)
    work.add(message)
    if message.sender_kind == "buyer":
        _count_buyers(message, conversation, settings, work)
        if message.seq == 1:
            _announce_opening(conversation, work)
        finished = None
    else:
        finished = _count_shops(message, conversation, settings)
    work.emit(event_of(message, conversation), deliver=receivers(conversation))
    if finished is not None:
        work.add(finished)
        work.emit(answered(finished, conversation), deliver=staff_receivers(conversation))
    return message


def _count_buyers(
    message: Message, conversation: Conversation, settings: ShopSettings, work: Work
) -> None:
    """Who writes has the chat before their eyes: what was said to them is read."""
    conversation.messages_buyer += 1
    conversation.unread_agent += 1
    conversation.unread_buyer = 0
    conversation.buyer_read_seq = message.seq
    began = ask(conversation, message.counted_at)
    if began and not conversation.warning_armed:
        arm_warning(conversation, settings, work)


def _count_shops(
    message: Message, conversation: Conversation, settings: ShopSettings
) -> Round | None:
    """Counts what the shop said; answers the round that it ended."""
    conversation.unread_buyer += 1
    if message.sender_kind == "agent":
        conversation.messages_agent += 1
        conversation.unread_agent = 0
        conversation.agent_read_seq = message.seq
    if not ends_round(message.sender_kind, bot_replies_count=settings.bot_replies_count):
        return None
    return answer(
        conversation,
        message.counted_at,
        message.sender_kind,
        message.agent_id,
        settings.zone,
    )


def answered(finished: Round, conversation: Conversation) -> ConversationAnswered:
    """Tells of an answered round."""
    waited = seconds(finished)
    assert finished.answered_at is not None
    assert waited is not None
    return ConversationAnswered(
        **counters(conversation),
        agent_id=finished.agent_id,
        sender_kind=finished.sender_kind or "agent",
        first=finished.first,
        round=finished.round,
        asked_at=finished.asked_at,
        answered_at=finished.answered_at,
        seconds=waited,
        within_3min=finished.within_3min,
    )


def arm_warning(conversation: Conversation, settings: ShopSettings, work: Work) -> None:
    """One lazy timer per conversation: it looks at the round that is open when it fires."""
    assert conversation.unanswered_since is not None
    conversation.warning_armed = True
    check = UnansweredCheck(
        shop_id=conversation.shop_id, conversation_id=conversation.conversation_id
    )
    due_at = conversation.unanswered_since + timedelta(seconds=settings.warning_seconds)
    work.arm(f"warning:{check.shop_id}:{check.conversation_id}", due_at, check)
