"""The 3-minute clock and first responses (旺旺3分钟响应率, 首次响应时长).

A *round* runs from the buyer's first unanswered message to the first reply; what the buyer adds
meanwhile belongs to the same round. A person's reply always ends it; a bot's does if the shop
says so; the system's texts (greeting, reminders, notices) never do. Transfers do not restart
the clock and a new conversation begins with a clean one.

A round is within 3 minutes if it was answered no later than 180 s after the question *and* on
the question's own day of the shop: "never answered that day → 0 of 1". The rate counts rounds
asked from 08:00 to 24:00 shop time.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

import msgspec

from common.contracts import SenderKind

from .conversations import Conversation
from .messages import Message

THREE_MINUTES = timedelta(minutes=3)
COUNTED_FROM = time(8)


class Round(msgspec.Struct, kw_only=True):
    """One round. `agent_id` answered it, or should have; None if nobody had the buyer yet."""

    shop_id: str
    conversation_id: str
    round: int
    buyer_id: str
    agent_id: str | None = None
    asked_at: datetime
    answered_at: datetime | None = None
    sender_kind: SenderKind | None = None
    first: bool = False
    within_3min: bool = False


def seconds(finished: Round) -> float | None:
    """How long the buyer waited, None if nobody answered."""
    if finished.answered_at is None:
        return None
    return max(0.0, (finished.answered_at - finished.asked_at).total_seconds())


def ends_round(sender_kind: SenderKind, *, bot_replies_count: bool) -> bool:
    """Whether a message of this sender is a reply."""
    return sender_kind == "agent" or (sender_kind == "bot" and bot_replies_count)


def is_within_3min(asked_at: datetime, answered_at: datetime, zone: ZoneInfo) -> bool:
    """Answered in time, and before the question's day ended."""
    in_time = answered_at - asked_at <= THREE_MINUTES
    return in_time and answered_at.astimezone(zone).date() <= asked_at.astimezone(zone).date()


def is_counted(asked_at: datetime, zone: ZoneInfo) -> bool:
    """Whether a round asked then is part of the rate: 08:00-24:00 shop time."""
    return asked_at.astimezone(zone).time() >= COUNTED_FROM


def ask(conversation: Conversation, asked_at: datetime) -> bool:
    """A buyer wrote. True if that began a round."""
    if conversation.unanswered_since is not None:
        return False
    conversation.unanswered_since = asked_at
    conversation.rounds += 1
    conversation.warned = False
    return True


def answer(
    conversation: Conversation,
    answered_at: datetime,
    sender_kind: SenderKind,
    agent_id: str | None,
    zone: ZoneInfo,
) -> Round | None:
    """Ends the open round, if there is one."""
    asked_at = conversation.unanswered_since
    if asked_at is None:
        return None
    finished = _open_round(conversation, asked_at, agent_id)
    finished.answered_at = max(answered_at, asked_at)
    finished.sender_kind = sender_kind
    finished.within_3min = is_within_3min(asked_at, finished.answered_at, zone)
    finished.first = conversation.first_response_seconds is None
    if finished.first:
        conversation.first_response_seconds = seconds(finished)
    conversation.rounds_within_3min += finished.within_3min
    conversation.unanswered_since = None
    conversation.warned = False
    return finished


def give_up(conversation: Conversation) -> Round | None:
    """The open round of a conversation that ends without an answer."""
    if conversation.unanswered_since is None:
        return None
    return _open_round(conversation, conversation.unanswered_since, conversation.agent_id)


def _open_round(conversation: Conversation, asked_at: datetime, agent_id: str | None) -> Round:
    return Round(
        shop_id=conversation.shop_id,
        conversation_id=conversation.conversation_id,
        round=conversation.rounds,
        buyer_id=conversation.buyer_id,
        agent_id=agent_id,
        asked_at=asked_at,
    )


def rounds_of(
    messages: Iterable[Message],
    *,
    bot_replies_count: bool,
    zone: ZoneInfo,
    assigned: Mapping[str, str | None],
) -> list[Round]:
    """The rounds of stored messages, each conversation's in order of `seq`.

    `assigned` tells who has, or had last, each conversation: whoever left a buyer waiting.
    This is the definition; what is counted live must equal it (and a test says so).
    """
    by_conversation: dict[str, list[Message]] = defaultdict(list)
    for message in messages:
        by_conversation[message.conversation_id].append(message)
    found: list[Round] = []
    for conversation_id, thread in by_conversation.items():
        rounds = _rounds_of_thread(thread, bot_replies_count, zone)
        if rounds and rounds[-1].answered_at is None:
            rounds[-1].agent_id = assigned.get(conversation_id)
        found.extend(rounds)
    return found


def _rounds_of_thread(
    thread: Sequence[Message], bot_replies_count: bool, zone: ZoneInfo
) -> list[Round]:
    found: list[Round] = []
    current: Round | None = None
    for message in sorted(thread, key=lambda one: one.seq):
        if message.sender_kind == "buyer":
            if current is None:
                current = _round_from(message, number=len(found) + 1)
                found.append(current)
        elif current is not None and ends_round(
            message.sender_kind, bot_replies_count=bot_replies_count
        ):
            _finish(current, message, zone, first=not _answered(found))
            current = None
    return found


def _answered(rounds: Iterable[Round]) -> bool:
    return any(one.answered_at for one in rounds)


def _round_from(message: Message, *, number: int) -> Round:
    return Round(
        shop_id=message.shop_id,
        conversation_id=message.conversation_id,
        round=number,
        buyer_id=message.buyer_id,
        asked_at=message.counted_at,
    )


def _finish(current: Round, message: Message, zone: ZoneInfo, *, first: bool) -> None:
    current.answered_at = max(message.counted_at, current.asked_at)
    current.agent_id = message.agent_id
    current.sender_kind = message.sender_kind
    current.within_3min = is_within_3min(current.asked_at, current.answered_at, zone)
    current.first = first
