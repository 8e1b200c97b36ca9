"""What the clients have been shown so far, by buyer: what a person at the screen would know."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from kefu.replay.check import MESSAGE_TYPES
from kefu.replay.records import Delivered

_WAITING = frozenset({"conversation.queued", "conversation.transferred", "conversation.opened"})


@dataclass(slots=True)
class BuyerSight:
    """One buyer's newest conversation, as the buyer's and the agents' clients know it.

    `shown` maps message ids to the receivers that got them, `threads` conversations to their
    messages. `agent_id` is who has the conversation, None while it waits.
    """

    conversation_id: str | None = None
    agent_id: str | None = None
    closed: bool = True
    shown: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    threads: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    reminded: set[str] = field(default_factory=set)
    hinted: set[str] = field(default_factory=set)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    def shown_to(self, message_id: str, side: str) -> bool:
        """Whether a client of this side (`buyer`, `agent`) got a message."""
        return any(receiver.startswith(side) for receiver in self.shown.get(message_id, ()))

    @property
    def attended(self) -> bool:
        """Whether an agent has the conversation and was shown all of it that anybody was."""
        receiver = f"agent:{self.agent_id}"
        messages = self.threads.get(str(self.conversation_id), ())
        return self.agent_id is not None and all(receiver in self.shown[one] for one in messages)


class Sight:
    """All buyers' sights."""

    def __init__(self) -> None:
        self._buyers: dict[str, BuyerSight] = defaultdict(BuyerSight)

    def of(self, buyer_id: str) -> BuyerSight:
        """The sight of one buyer."""
        return self._buyers[buyer_id]

    def take(self, record: Delivered) -> None:
        """Learns from something that was shown."""
        if record.buyer_id is None:
            return
        sight = self._buyers[record.buyer_id]
        if record.type in MESSAGE_TYPES and record.message_id:
            sight.shown[record.message_id].add(record.receiver)
            sight.threads[str(record.conversation_id)].add(record.message_id)
        if record.hint and record.order_id:
            sight.hinted.add(record.order_id)
        if record.receiver == f"buyer:{record.buyer_id}":
            _follow(sight, record)

    async def tell(self, record: Delivered) -> None:
        """Learns, and wakes whoever waits for it."""
        self.take(record)
        if record.buyer_id is not None:
            changed = self._buyers[record.buyer_id].changed
            async with changed:
                changed.notify_all()

    async def until(
        self, buyer_id: str, condition: Callable[[BuyerSight], bool], seconds: float
    ) -> bool:
        """Waits until a condition holds; False when it did not in time."""
        sight = self._buyers[buyer_id]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds), sight.changed:
                await sight.changed.wait_for(lambda: condition(sight))
        return condition(sight)


def _follow(sight: BuyerSight, record: Delivered) -> None:
    """The buyer's own feed has a conversation's events in one order: it says who has it."""
    if record.reminder_id and record.order_id:
        sight.reminded.add(record.order_id)
    if record.type == "conversation.closed":
        sight.agent_id = None
        sight.closed = True
    elif record.type == "conversation.assigned":
        sight.conversation_id, sight.agent_id = record.conversation_id, record.agent_id
        sight.closed = False
    elif record.type == "message.received":
        # What a buyer writes is always in an open conversation, whoever has it by now.
        sight.conversation_id, sight.closed = record.conversation_id, False
    elif record.type in _WAITING:
        sight.conversation_id, sight.agent_id = record.conversation_id, None
        sight.closed = False
