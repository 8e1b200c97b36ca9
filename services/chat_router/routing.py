"""Automatic routing (自动分流): who gets which waiting buyer. Pure, and O(log agents) a decision.

For each waiting conversation, the highest priority first and the oldest first within one:

1. the agent a transfer named, for as long as it named one;
2. the agent who served this buyer last: within 24 h even when suspended (挂起), within 72 h only
   when online;
3. the buyer's dedicated agent (专属客服), when online;
4. of the group's online agents the one with the fewest buyers awaiting a reply, then the fewest
   conversations, both by weight; then the longest idle.

Nobody is given more than their capacity. Nobody waits in a group in which somebody is free: an
agent who is full is passed over, not waited for; only a transfer to a named agent waits, and
not for ever.
"""

import heapq
from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta

import msgspec

from common.contracts import AssignReason, Presence

ANY_GROUP = ""


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """What routing has to know of a waiting conversation. `rank` is minus the priority."""

    conversation_id: str
    group_id: str
    rank: int = 0
    queued_at: datetime
    waiting_since: datetime
    is_unanswered: bool = True
    wanted_agent_id: str | None = None
    affinity_agent_id: str | None = None
    affinity_at: datetime | None = None
    dedicated_agent_id: str | None = None
    wait_reason: AssignReason | None = None
    queue_position: int | None = None
    """The place that the buyer was told last."""


class Candidate(msgspec.Struct, kw_only=True):
    """An agent who is there, with the load that the stored conversations say they have."""

    agent_id: str
    presence: Presence
    capacity: int
    weight: float = 1.0
    groups: tuple[str, ...] = ()
    open: int = 0
    unanswered: int = 0
    idle_since: datetime


class Assignment(msgspec.Struct, frozen=True, kw_only=True):
    """One decision."""

    conversation_id: str
    agent_id: str
    reason: AssignReason


class Tiers(msgspec.Struct, frozen=True, kw_only=True):
    """How long the last agent goes first, and how long a transfer waits for its target."""

    near: timedelta = timedelta(hours=24)
    far: timedelta = timedelta(hours=72)
    transfer_wait: timedelta = timedelta(seconds=120)


def queue_order(waiting: Waiting) -> tuple[int, datetime, str]:
    """Priority first, then the oldest."""
    return (waiting.rank, waiting.queued_at, waiting.conversation_id)


def assign(
    waiting: Iterable[Waiting], agents: Iterable[Candidate], now: datetime, tiers: Tiers
) -> list[Assignment]:
    """Who gets whom now. The candidates' loads are brought up to date on the way."""
    desk = _Desk(agents)
    decided: list[Assignment] = []
    for conversation in sorted(waiting, key=queue_order):
        found = _choose(conversation, desk, now, tiers)
        if found is not None:
            agent, reason = found
            desk.give(agent, conversation, now)
            decided.append(
                Assignment(
                    conversation_id=conversation.conversation_id,
                    agent_id=agent.agent_id,
                    reason=_told(conversation, reason),
                )
            )
    return decided


def _told(conversation: Waiting, reason: AssignReason) -> AssignReason:
    """Why it waited says more than how it was placed."""
    if conversation.wait_reason is not None and reason in ("group", "transfer"):
        return conversation.wait_reason
    return reason


def _choose(
    conversation: Waiting, desk: "_Desk", now: datetime, tiers: Tiers
) -> tuple[Candidate, AssignReason] | None:
    if _waits_for_target(conversation, desk, now, tiers):
        target = desk.free(conversation.wanted_agent_id, even_suspended=True)
        return (target, "transfer") if target is not None else None
    last = desk.free(
        _last_agent(conversation, now, tiers.far),
        even_suspended=_last_agent(conversation, now, tiers.near) is not None,
    )
    if last is not None:
        return last, "last_agent"
    dedicated = desk.free(conversation.dedicated_agent_id, even_suspended=False)
    if dedicated is not None:
        return dedicated, "dedicated"
    least = desk.least_loaded(conversation.group_id)
    return (least, "group") if least is not None else None


def _waits_for_target(conversation: Waiting, desk: "_Desk", now: datetime, tiers: Tiers) -> bool:
    """A transfer waits for the agent it named while that agent is there, and not for too long."""
    return (
        desk.is_there(conversation.wanted_agent_id)
        and now - conversation.waiting_since < tiers.transfer_wait
    )


def _last_agent(conversation: Waiting, now: datetime, within: timedelta) -> str | None:
    at = conversation.affinity_at
    return conversation.affinity_agent_id if at is not None and now - at < within else None


Load = tuple[float, float, datetime, str]


def load_of(agent: Candidate) -> Load:
    """What is compared: waiting buyers, then conversations, by weight; then the longest idle."""
    return (
        agent.unanswered / agent.weight,
        agent.open / agent.weight,
        agent.idle_since,
        agent.agent_id,
    )


class _Desk:
    """The agents who are there, found by id or as the least loaded of a group.

    Each group has a heap. An agent whose load changed is pushed again and the old entry is
    dropped when it comes up, so that one decision costs O(log n) and not O(n).
    """

    def __init__(self, agents: Iterable[Candidate]) -> None:
        self._agents = {agent.agent_id: agent for agent in agents}
        self._heaps: dict[str, list[Load]] = defaultdict(list)
        for agent in self._agents.values():
            if _takes_new(agent):
                for group in agent.groups or (ANY_GROUP,):
                    self._heaps[group].append(load_of(agent))
        for heap in self._heaps.values():
            heapq.heapify(heap)

    def is_there(self, agent_id: str | None) -> bool:
        """Whether this agent has been seen online or suspended."""
        return agent_id in self._agents

    def free(self, agent_id: str | None, *, even_suspended: bool) -> Candidate | None:
        """This agent, if there and not full."""
        agent = self._agents.get(agent_id or "")
        if agent is None or agent.open >= agent.capacity:
            return None
        allowed = ("online", "suspended") if even_suspended else ("online",)
        return agent if agent.presence in allowed else None

    def least_loaded(self, group_id: str) -> Candidate | None:
        """The least loaded free agent of the group, agents without groups included."""
        found = [top for group in (group_id, ANY_GROUP) if (top := self._top(group)) is not None]
        return self._agents[min(found)[3]] if found else None

    def _top(self, group: str) -> Load | None:
        heap = self._heaps.get(group)
        while heap:
            agent = self._agents[heap[0][3]]
            if agent.open < agent.capacity and heap[0] == load_of(agent):
                return heap[0]
            heapq.heappop(heap)
        return None

    def give(self, agent: Candidate, conversation: Waiting, now: datetime) -> None:
        """Books a decision."""
        agent.open += 1
        agent.unanswered += conversation.is_unanswered
        agent.idle_since = now
        if _takes_new(agent):
            for group in agent.groups or (ANY_GROUP,):
                heapq.heappush(self._heaps[group], load_of(agent))


def _takes_new(agent: Candidate) -> bool:
    return agent.presence == "online" and agent.open < agent.capacity


def expected_wait(position: int, served: int, span: timedelta) -> float | None:
    """Seconds until the buyer at `position` is served, if the group goes on as in the last
    `span`, in which it served so many; None while there is nothing to judge by."""
    return round(position * span.total_seconds() / served, 1) if served else None
