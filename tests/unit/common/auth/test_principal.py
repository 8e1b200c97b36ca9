"""Which role includes which, and whose shop counts."""

from datetime import UTC, datetime

import pytest

from common.auth.principal import INCLUDES, Principal, Role
from common.errors import Forbidden, OtherShop


def principal(*roles: Role, subject: str = "u1") -> Principal:
    return Principal(subject, frozenset(roles), "demo", datetime(2030, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    "held, included",
    [
        (Role.BUYER, {Role.BUYER}),
        (Role.AGENT, {Role.AGENT}),
        (Role.SENIOR_AGENT, {Role.AGENT, Role.SENIOR_AGENT}),
        (Role.SUPERVISOR, {Role.AGENT, Role.SENIOR_AGENT, Role.SUPERVISOR}),
        (Role.OPERATIONS, {Role.OPERATIONS}),
        (Role.ADMIN, {Role.AGENT, Role.SENIOR_AGENT, Role.SUPERVISOR, Role.OPERATIONS, Role.ADMIN}),
        (Role.SYSTEM, {Role.SYSTEM}),
    ],
)
def test_a_role_does_the_work_of_the_roles_it_includes_and_no_other(
    held: Role, included: set[Role]
) -> None:
    for wanted in Role:
        assert principal(held).may_act_as([wanted]) == (wanted in included)


def test_every_role_has_its_place_in_the_order() -> None:
    assert INCLUDES.keys() == set(Role)
    assert all(role in INCLUDES[role] for role in Role)


def test_nobody_may_do_what_no_role_allows() -> None:
    assert not principal().may_act_as(Role)
    assert not principal(*Role).may_act_as([])


def test_one_of_several_roles_is_enough() -> None:
    principal(Role.OPERATIONS, Role.AGENT).require(Role.SUPERVISOR, Role.AGENT)
    with pytest.raises(Forbidden, match="admin, supervisor"):
        principal(Role.OPERATIONS, Role.SENIOR_AGENT).require(Role.SUPERVISOR, Role.ADMIN)


@pytest.mark.parametrize(
    "roles, kind",
    [
        ((Role.BUYER,), "buyer"),
        ((Role.AGENT,), "staff"),
        ((Role.AGENT, Role.BUYER), "staff"),
        ((Role.SYSTEM,), "system"),
    ],
)
def test_the_kind_of_a_caller_follows_from_the_roles(roles: tuple[Role, ...], kind: str) -> None:
    assert principal(*roles).kind == kind


@pytest.mark.parametrize(
    "roles, highest",
    [
        ((Role.AGENT, Role.OPERATIONS), Role.OPERATIONS),
        ((Role.OPERATIONS, Role.SUPERVISOR), Role.SUPERVISOR),
        ((Role.AGENT, Role.SENIOR_AGENT), Role.SENIOR_AGENT),
        ((Role.BUYER, Role.AGENT), Role.AGENT),
        ((Role.ADMIN, Role.SYSTEM), Role.SYSTEM),
    ],
)
def test_what_is_done_is_done_in_the_highest_role(roles: tuple[Role, ...], highest: Role) -> None:
    assert principal(*roles).acting_as() is highest
    assert principal(*reversed(roles)).acting_as() is highest


def test_a_role_that_does_not_count_is_passed_over() -> None:
    both = principal(Role.AGENT, Role.OPERATIONS)
    assert both.acting_as(set(Role) - {Role.OPERATIONS}) is Role.AGENT


def test_every_role_can_be_acted_in() -> None:
    assert [principal(role).acting_as() for role in Role] == list(Role)


def test_the_tokens_shop_wins_over_any_other_for_every_role() -> None:
    for role in Role:
        caller = principal(role)
        assert caller.require_shop(None) == "demo"
        assert caller.require_shop("demo") == "demo"
        with pytest.raises(OtherShop):
            caller.require_shop("other")


def test_a_buyer_acts_for_no_one_else_and_staff_for_any_buyer() -> None:
    principal(Role.BUYER).require_self("u1")
    principal(Role.AGENT).require_self("b7")
    with pytest.raises(Forbidden):
        principal(Role.BUYER).require_self("b7")
