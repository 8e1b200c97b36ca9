"""Putting routing decisions into effect: one command per shop, fenced and checked again.

Routing decides on a snapshot. Between reading it and this transaction a buyer may have been
closed, an agent may have left, and on a bad day another replica may believe it is the router
too. The shop's `Desk` row counts the rounds of routing: a command that was decided before
another one took effect finds the count moved and does nothing, so loads read from the
snapshot can only have gone down. Rows are locked and every decision is checked against them.
"""

from collections.abc import Iterable

import msgspec

from common.contracts import (
    ConversationAssigned,
    ConversationQueued,
)
from common.runtime import Need, Work, row

from .buyers import Buyer
from .conversations import Conversation, assign_to, is_waiting, receivers
from .messages import counters
from .panel import tell_staff
from .presence import Agent
from .routing import Assignment


class Desk(msgspec.Struct, kw_only=True):
    """How many rounds of routing a shop has seen."""

    shop_id: str
    rounds: int = 0


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a buyer stands in the queue."""

    conversation_id: str
    position: int
    expected_wait_seconds: float | None


class RouteShop(msgspec.Struct, frozen=True, kw_only=True):
    """Command: these decisions, made when the shop's count was `decided_at_round`."""

    shop_id: str
    decided_at_round: int
    assignments: tuple[Assignment, ...] = ()
    places: tuple[Place, ...] = ()


class Routed(msgspec.Struct, frozen=True, kw_only=True):
    """What took effect; `is_stale` when somebody else routed first."""

    assigned: int = 0
    is_stale: bool = False


def needs_of(command: RouteShop) -> Iterable[Need]:
    """The fence, and the rows of every decision."""
    yield row(Desk, command.shop_id)
    for agent_id in dict.fromkeys(one.agent_id for one in command.assignments):
        yield row(Agent, command.shop_id, agent_id)
    for decided in command.assignments:
        yield row(Conversation, command.shop_id, decided.conversation_id)
    for place in command.places:
        yield row(Conversation, command.shop_id, place.conversation_id)


def needs_noted(command: RouteShop, work: Work) -> Iterable[Need]:
    """The buyers of transfers with a note, whose panel the new agent is shown."""
    for decided in command.assignments:
        conversation = work.get(Conversation, command.shop_id, decided.conversation_id)
        if conversation is not None and conversation.transfer_note:
            yield row(Buyer, command.shop_id, conversation.buyer_id)


def route(command: RouteShop, work: Work) -> Routed:
    """Assigns and tells positions."""
    desk = work.get(Desk, command.shop_id)
    if desk is None:
        desk = Desk(shop_id=command.shop_id)
        work.add(desk)
    if desk.rounds != command.decided_at_round:
        return Routed(is_stale=True)
    desk.rounds += 1
    assigned = sum(_place(decided, command.shop_id, work) for decided in command.assignments)
    for place in command.places:
        _tell_place(place, command.shop_id, work)
    return Routed(assigned=assigned)


def may_take(agent: Agent | None, decided: Assignment) -> bool:
    """Whether the agent is still there for this decision."""
    if agent is None:
        return False
    even_suspended = decided.reason in ("last_agent", "transfer")
    return agent.presence == "online" or (even_suspended and agent.presence == "suspended")


def _place(decided: Assignment, shop_id: str, work: Work) -> bool:
    conversation = work.get(Conversation, shop_id, decided.conversation_id)
    agent = work.get(Agent, shop_id, decided.agent_id)
    if conversation is None or not is_waiting(conversation) or not may_take(agent, decided):
        return False
    assert agent is not None
    note = conversation.transfer_note
    previous = conversation.previous_agent_id
    waited = assign_to(conversation, agent.agent_id, work.now)
    agent.idle_since = work.now
    assigned = ConversationAssigned(
        **counters(conversation),
        agent_id=agent.agent_id,
        previous_agent_id=previous,
        group_id=conversation.group_id,
        assigned_at=work.now,
        waited_seconds=waited,
        reason=decided.reason,
    )
    work.emit(assigned, deliver=receivers(conversation, shop=True, also=(previous,)))
    if note:
        buyer = work.get(Buyer, shop_id, conversation.buyer_id)
        tell_staff(conversation, buyer, ("hint",), work, note)
    return True


def _tell_place(place: Place, shop_id: str, work: Work) -> None:
    conversation = work.get(Conversation, shop_id, place.conversation_id)
    if conversation is None or not is_waiting(conversation):
        return
    conversation.queue_position = place.position
    conversation.expected_wait_seconds = place.expected_wait_seconds
    queued = ConversationQueued(
        **counters(conversation),
        group_id=conversation.group_id,
        position=place.position,
        expected_wait_seconds=place.expected_wait_seconds,
        queued_at=conversation.queued_at,
    )
    # Who had it before sees that it is theirs no more.
    also = (conversation.previous_agent_id,)
    work.emit(queued, deliver=receivers(conversation, shop=True, also=also))
