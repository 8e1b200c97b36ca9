"""What supervisors set: agents' groups, capacity and weight; groups; the shop's rules.

Every edit names the version it was made from, so that two supervisors cannot undo each other.
"""

from collections.abc import Iterable

import msgspec

from common.contracts import OrderState
from common.runtime import Need, Work, row
from common.web.etags import ExpectedVersion

from .groups import EditedGroup
from .presence import Agent, new_agent
from .shop_settings import EditedSettings, ShopSettings, settings_of

ANY_VERSION = ExpectedVersion(None)


class EditAgent(msgspec.Struct, frozen=True, kw_only=True):
    """Command: an agent's staff settings."""

    shop_id: str
    agent_id: str
    name: str
    groups: tuple[str, ...]
    capacity: int
    weight: float
    expected: ExpectedVersion = ANY_VERSION


class EditGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Command: a skill group, new or changed."""

    shop_id: str
    group_id: str
    name: str
    order_states: tuple[OrderState, ...]
    priority: int
    place: int
    expected: ExpectedVersion = ANY_VERSION


class EditSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Command: the shop's rules, as a whole."""

    settings: ShopSettings
    expected: ExpectedVersion = ANY_VERSION

    @property
    def shop_id(self) -> str:
        """The shop whose rules they are."""
        return self.settings.shop_id


class Edited(msgspec.Struct, frozen=True, kw_only=True):
    """The edition after the edit: the new ETag.

    Counted by the handler and not by the runtime, which counts a batch's edits as one: two that
    name the same edition must not both be taken.
    """

    edition: int


def needs_agent(command: EditAgent) -> Iterable[Need]:
    """The agent."""
    yield row(ShopSettings, command.shop_id)
    yield row(Agent, command.shop_id, command.agent_id)


def edit_agent(command: EditAgent, work: Work) -> Edited:
    """Sets up an agent, known or not yet seen. A smaller capacity takes nobody away."""
    agent = work.get(Agent, command.shop_id, command.agent_id)
    command.expected.check(agent.edition if agent else 0)
    if agent is None:
        settings = settings_of(work, command.shop_id)
        agent = new_agent(command.shop_id, command.agent_id, settings, work.now)
        work.add(agent)
    else:
        agent.edition += 1
    agent.name = command.name
    agent.groups = command.groups
    agent.capacity = command.capacity
    agent.weight = command.weight
    work.after_commit("router")
    return Edited(edition=agent.edition)


def needs_group(command: EditGroup) -> Iterable[Need]:
    """The group."""
    yield row(EditedGroup, command.shop_id, command.group_id)


def edit_group(command: EditGroup, work: Work) -> Edited:
    """Creates or changes a group. Buyers already waiting stay where they are."""
    group = work.get(EditedGroup, command.shop_id, command.group_id)
    command.expected.check(group.edition if group else 0)
    if group is None:
        group = EditedGroup(shop_id=command.shop_id, group_id=command.group_id)
        work.add(group)
    else:
        group.edition += 1
    group.name = command.name
    group.order_states = command.order_states
    group.priority = command.priority
    group.place = command.place
    work.after_commit("router")
    return Edited(edition=group.edition)


def needs_settings(command: EditSettings) -> Iterable[Need]:
    """The shop's rules."""
    yield row(EditedSettings, command.shop_id)


def edit_settings(command: EditSettings, work: Work) -> Edited:
    """Replaces the shop's rules."""
    kept = work.get(EditedSettings, command.shop_id)
    command.expected.check(kept.edition if kept else 0)
    if kept is None:
        kept = EditedSettings.fresh(command.shop_id)
        work.add(kept)
    kept.edition += 1
    for name in EditedSettings.__struct_fields__:
        if name not in ("shop_id", "edition"):
            setattr(kept, name, getattr(command.settings, name))
    work.after_commit("router")
    return Edited(edition=kept.edition)
