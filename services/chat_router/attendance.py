"""Coming, staying and leaving: presence, heartbeats, and conversations handed back.

Whoever leaves gives the buyers back at once; whoever drops off has a grace time to return in.
Handed-back conversations keep their original place in the queue.
"""

from collections.abc import Iterable

import msgspec

from common.contracts import AgentPresenceChanged, Presence
from common.runtime import Need, Work, row, rows

from .conversations import Conversation, hand_back
from .presence import (
    Agent,
    GraceOver,
    PresenceReason,
    PresenceTimeout,
    grace_ends_at,
    move_to,
    new_agent,
    presence_on_connecting,
    silence_ends_at,
)
from .shop_settings import ShopSettings, settings_of


class SetPresence(msgspec.Struct, frozen=True, kw_only=True):
    """Command: an agent, or a supervisor for them, sets the presence.

    `presence` None: the agent connected and comes back as last chosen.
    """

    shop_id: str
    agent_id: str
    presence: Presence | None
    reason: PresenceReason = "self"


class PresenceKept(msgspec.Struct, frozen=True, kw_only=True):
    """The presence that now holds."""

    agent_id: str
    presence: Presence


class Heartbeats(msgspec.Struct, frozen=True, kw_only=True):
    """Command: these agents of a shop were heard of."""

    shop_id: str
    agent_ids: tuple[str, ...]


class HeartbeatsKept(msgspec.Struct, frozen=True, kw_only=True):
    """How many of them were known."""

    seen: int


class SweepAgent(msgspec.Struct, frozen=True, kw_only=True):
    """Command: hand back what an agent who is gone still holds."""

    shop_id: str
    agent_id: str


class Swept(msgspec.Struct, frozen=True, kw_only=True):
    """How many conversations went back into the queue."""

    handed_back: int


Leaving = SetPresence | GraceOver | SweepAgent


# -- presence -------------------------------------------------------------------------------


def needs_of(message: Leaving | PresenceTimeout) -> Iterable[Need]:
    """The agent and the shop's rules."""
    yield row(ShopSettings, message.shop_id)
    yield row(Agent, message.shop_id, message.agent_id)


def needs_held(message: Leaving, _work: Work) -> Iterable[Need]:
    """What the agent holds. Loaded after the agent's row is locked, so that an assignment made
    meanwhile is seen."""
    if not isinstance(message, SetPresence) or message.presence == "offline":
        yield rows(Conversation, "of_agent", message.shop_id, message.agent_id)


def set_presence(command: SetPresence, work: Work) -> PresenceKept:
    """Sets the presence, and makes sure that a silent agent is noticed."""
    settings = settings_of(work, command.shop_id)
    agent = work.get(Agent, command.shop_id, command.agent_id)
    if agent is None:
        agent = new_agent(command.shop_id, command.agent_id, settings, work.now)
        work.add(agent)
    presence = command.presence or presence_on_connecting(agent)
    if command.presence is not None:
        agent.chosen = command.presence
    agent.last_seen_at = work.now
    change(agent, presence, command.reason, work)
    if presence == "offline":
        agent.left_at = None  # signed off: nothing but a word of theirs brings them back
        release(agent, work)
    else:
        watch(agent, settings, work)
    return PresenceKept(agent_id=agent.agent_id, presence=agent.presence)


def change(agent: Agent, presence: Presence, reason: PresenceReason, work: Work) -> None:
    """Sets and tells a presence; nothing if it is the same."""
    if presence != "offline":
        agent.left_at = None
    previous = move_to(agent, presence, work.now)
    if previous is None:
        return
    changed = AgentPresenceChanged(
        shop_id=agent.shop_id,
        agent_id=agent.agent_id,
        presence=presence,
        previous=previous,
        reason=reason,
        changed_at=work.now,
    )
    work.emit(changed, deliver=(f"agent:{agent.agent_id}", "shop"))
    work.after_commit("router")


def watch(agent: Agent, settings: ShopSettings, work: Work) -> None:
    """Arms the agent's lazy timer unless it stands."""
    if agent.watched:
        return
    agent.watched = True
    timeout = PresenceTimeout(shop_id=agent.shop_id, agent_id=agent.agent_id)
    key = f"presence:{agent.shop_id}:{agent.agent_id}"
    work.arm(key, silence_ends_at(agent, settings), timeout)


def release(agent: Agent, work: Work) -> int:
    """Puts everything the agent holds back into the queue.

    The router tells at once who has it now, or where in the queue it stands.
    """
    held = [
        one
        for one in work.all(Conversation, "of_agent", agent.shop_id, agent.agent_id)
        if one.agent_id == agent.agent_id
    ]
    for conversation in held:
        hand_back(conversation, work.now)
    if held:
        work.after_commit("router")
    return len(held)


# -- heartbeats -----------------------------------------------------------------------------


def needs_of_heartbeats(command: Heartbeats) -> Iterable[Need]:
    """The agents and the shop's rules."""
    yield row(ShopSettings, command.shop_id)
    for agent_id in command.agent_ids:
        yield row(Agent, command.shop_id, agent_id)


def keep_alive(command: Heartbeats, work: Work) -> HeartbeatsKept:
    """Notes that agents are there. Who had dropped off is back as last chosen."""
    settings = settings_of(work, command.shop_id)
    seen = 0
    for agent_id in command.agent_ids:
        agent = work.get(Agent, command.shop_id, agent_id)
        if agent is not None:
            seen += 1
            _heard_of(agent, settings, work)
    return HeartbeatsKept(seen=seen)


def _heard_of(agent: Agent, settings: ShopSettings, work: Work) -> None:
    agent.last_seen_at = work.now
    if agent.left_at is not None:
        change(agent, presence_on_connecting(agent), "connected", work)
        watch(agent, settings, work)


# -- timers ---------------------------------------------------------------------------------


def notice_silence(timer: PresenceTimeout, work: Work) -> None:
    """An agent not heard of in time goes offline; the grace time for their buyers begins."""
    agent = work.get(Agent, timer.shop_id, timer.agent_id)
    if agent is None:
        return
    agent.watched = False
    if agent.presence == "offline":
        return
    settings = settings_of(work, timer.shop_id)
    if work.now < silence_ends_at(agent, settings):
        watch(agent, settings, work)
        return
    agent.left_at = work.now
    change(agent, "offline", "heartbeat_lost", work)
    over = GraceOver(shop_id=agent.shop_id, agent_id=agent.agent_id)
    key = f"grace:{agent.shop_id}:{agent.agent_id}"
    work.arm(key, grace_ends_at(agent, settings), over)


def end_grace(timer: GraceOver, work: Work) -> None:
    """Hands the conversations on, unless the agent is back."""
    agent = work.get(Agent, timer.shop_id, timer.agent_id)
    if agent is not None and agent.presence == "offline":
        release(agent, work)


def sweep(command: SweepAgent, work: Work) -> Swept:
    """The safety net behind the timers: nobody who is gone for good keeps a buyer."""
    agent = work.get(Agent, command.shop_id, command.agent_id)
    if agent is None or agent.presence != "offline":
        return Swept(handed_back=0)
    if work.now < grace_ends_at(agent, settings_of(work, command.shop_id)):
        return Swept(handed_back=0)
    return Swept(handed_back=release(agent, work))
