"""Agents: who is there, who may get new buyers, and what happens when one drops off.

`online` gets new buyers; `suspended` (挂起) and `away` keep the buyers they have; `offline` has
none. A heartbeat only notes the time: one lazy timer per agent looks at that note when it fires
and arms itself again, so a ping costs no timer.
"""

from datetime import datetime, timedelta
from typing import Literal

import msgspec

from common.contracts import Presence

from .shop_settings import ShopSettings

PresenceReason = Literal["self", "connected", "heartbeat_lost", "supervisor", "system"]


class Agent(msgspec.Struct, kw_only=True):
    """One agent. No `groups` means every group.

    `chosen` is the presence the agent last chose, restored on reconnection. `left_at` is set
    from the lost heartbeat until the agent is back; `idle_since` is the last time a conversation
    was assigned. `weight` shares out the load: 2 takes twice the buyers of 1.
    """

    shop_id: str
    agent_id: str
    name: str = ""
    groups: tuple[str, ...] = ()
    capacity: int
    weight: float = 1.0
    presence: Presence = "offline"
    chosen: Presence = "online"
    presence_at: datetime
    last_seen_at: datetime
    idle_since: datetime
    left_at: datetime | None = None
    watched: bool = False
    edition: int = 1
    """Rises with every edit of the staff settings, not with presence: the ETag."""


class PresenceTimeout(msgspec.Struct, frozen=True, kw_only=True):
    """Timer: has this agent been heard of in time?"""

    shop_id: str
    agent_id: str


class GraceOver(msgspec.Struct, frozen=True, kw_only=True):
    """Timer: an agent who dropped off is not back; their conversations go on."""

    shop_id: str
    agent_id: str


def new_agent(shop_id: str, agent_id: str, settings: ShopSettings, now: datetime) -> Agent:
    """An agent nobody set up yet: default capacity, every group, offline."""
    return Agent(
        shop_id=shop_id,
        agent_id=agent_id,
        capacity=settings.default_capacity,
        presence_at=now,
        last_seen_at=now,
        idle_since=now,
    )


def is_present(agent: Agent) -> bool:
    """Whether the agent can be written to at all."""
    return agent.presence != "offline"


def move_to(agent: Agent, presence: Presence, now: datetime) -> Presence | None:
    """Sets the presence; answers the previous one, or None if nothing changed.

    Somebody who comes back does so as the longest idle of those who just arrived.
    """
    previous = agent.presence
    if previous == presence:
        return None
    agent.presence = presence
    agent.presence_at = now
    if previous == "offline":
        agent.idle_since = now
    return previous


def presence_on_connecting(agent: Agent) -> Presence:
    """What an agent who connects becomes: unchanged if there already, else as last chosen.

    Somebody who signed off and opens the console again wants to work.
    """
    if is_present(agent):
        return agent.presence
    return agent.chosen if agent.chosen != "offline" else "online"


def silence_ends_at(agent: Agent, settings: ShopSettings) -> datetime:
    """When an agent who is not heard of any more counts as gone."""
    return agent.last_seen_at + timedelta(seconds=settings.heartbeat_timeout_seconds)


def grace_ends_at(agent: Agent, settings: ShopSettings) -> datetime:
    """When the conversations of an agent who is gone go on: at once if they signed off."""
    if agent.left_at is None:
        return agent.presence_at
    return agent.left_at + timedelta(seconds=settings.grace_seconds)
