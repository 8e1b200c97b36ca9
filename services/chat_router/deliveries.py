"""Delivery marks, gathered: clients take messages one by one, marks are kept in bulk.

A mark is worth less than a message: when the database cannot be used, the marks at hand are
dropped and what follows is marked again with the next message, since marks are high-water ones.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable

import structlog

from common.auth.principal import Principal
from common.errors import KefuError
from common.runtime import Service

from .conversations import Conversation
from .marks import MarkDelivered, Taken
from .messages import Message

log = structlog.get_logger(__name__)

GATHER_SECONDS = 0.25


class Deliveries:
    """The marks of one socket that are still to be kept."""

    def __init__(self, service: Service, shop_id: str) -> None:
        self._service = service
        self._shop_id = shop_id
        self._taken: dict[str, list[Taken]] = defaultdict(list)
        self._there = asyncio.Event()

    def took(self, receiver: str, taken: Taken) -> None:
        """The receiver's client took a message."""
        self._taken[receiver].append(taken)
        self._there.set()

    async def run(self) -> None:
        """Keep marks until cancelled."""
        while True:
            await self._there.wait()
            await asyncio.sleep(GATHER_SECONDS)
            await self.keep()

    async def keep(self) -> None:
        """Keep what is at hand."""
        self._there.clear()
        gathered, self._taken = self._taken, defaultdict(list)
        for receiver, taken in gathered.items():
            await keep_marks(self._service, self._shop_id, receiver, taken)


async def keep_marks(service: Service, shop_id: str, receiver: str, taken: Iterable[Taken]) -> None:
    """Keep the marks of one receiver."""
    command = MarkDelivered(
        shop_id=shop_id, receiver=receiver, taken=tuple(taken), at=service.clock()
    )
    try:
        await service.submit(command)
    except KefuError as error:
        log.warning("delivery_marks_dropped", code=error.code, marks=len(command.taken))


async def take_over_http(
    service: Service, caller: Principal, conversation: Conversation, messages: list[Message]
) -> None:
    """A client that loads a conversation takes its messages too: those it had no socket for."""
    receiver = receiver_of(caller, conversation)
    if receiver is None:
        return
    to_buyer = caller.kind == "buyer"
    known = conversation.buyer_delivered_seq if to_buyer else conversation.agent_delivered_seq
    taken = [
        taken_of(one)
        for one in messages
        if one.seq > known and (one.sender_kind == "buyer") != to_buyer
    ]
    if taken:
        await keep_marks(service, caller.shop_id, receiver, taken)


def receiver_of(caller: Principal, conversation: Conversation) -> str | None:
    """As whom the caller takes messages: its buyer, or the agent who has it; else nobody."""
    if caller.kind == "buyer":
        return f"buyer:{caller.subject}"
    return f"agent:{caller.subject}" if conversation.agent_id == caller.subject else None


def taken_of(message: Message) -> Taken:
    """The mark of a message."""
    return Taken(
        conversation_id=message.conversation_id, message_id=message.message_id, seq=message.seq
    )
