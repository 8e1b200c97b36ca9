"""Skill groups (客服分组), and which one a buyer's order situation leads to."""

from collections.abc import Sequence

import msgspec

from common.contracts import OrderState

DEFAULT_GROUP = "default"


class SkillGroup(msgspec.Struct, kw_only=True):
    """A group of agents. `order_states` binds it to buyers in those situations.

    `place` orders groups that would do equally; `priority` lifts its buyers in the queue, as
    complaints need.
    """

    shop_id: str
    group_id: str
    name: str = ""
    order_states: tuple[OrderState, ...] = ()
    priority: int = 0
    place: int = 0
    edition: int = 1


class EditedGroup(SkillGroup, kw_only=True):
    """The same row while it is being edited: locked, where messages only read it."""


def rank_of(buyer_priority: int, group_priority: int) -> int:
    """A conversation's rank in the queue: minus the higher of both priorities, ascending."""
    return -max(buyer_priority, group_priority)


def choose_group(groups: Sequence[SkillGroup], order_state: OrderState) -> tuple[str, int]:
    """The id and priority of the group for a buyer with this order situation.

    The first group bound to the situation; else the one named `default`; else the first that is
    bound to nothing; else `default`, which agents without groups serve.
    """
    ordered = sorted(groups, key=lambda group: (group.place, group.group_id))
    bound = [group for group in ordered if order_state in group.order_states]
    named = [group for group in ordered if group.group_id == DEFAULT_GROUP]
    unbound = [group for group in ordered if not group.order_states]
    for group in (*bound, *named, *unbound):
        return group.group_id, group.priority
    return DEFAULT_GROUP, 0
