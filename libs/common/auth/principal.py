"""Roles, and the principal that a verified token stands for."""

from collections.abc import Container, Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal

from common.errors import Forbidden, OtherShop

Kind = Literal["buyer", "staff", "system"]


class Role(StrEnum):
    """What a caller may be. Staff roles include lower ones; `system` stands by itself."""

    BUYER = "buyer"
    AGENT = "agent"
    SENIOR_AGENT = "senior_agent"
    SUPERVISOR = "supervisor"
    OPERATIONS = "operations"
    ADMIN = "admin"
    SYSTEM = "system"


_AGENT = frozenset({Role.AGENT})
_SENIOR = _AGENT | {Role.SENIOR_AGENT}
_SUPERVISOR = _SENIOR | {Role.SUPERVISOR}

INCLUDES: dict[Role, frozenset[Role]] = {
    Role.BUYER: frozenset({Role.BUYER}),
    Role.AGENT: _AGENT,
    Role.SENIOR_AGENT: _SENIOR,
    Role.SUPERVISOR: _SUPERVISOR,
    Role.OPERATIONS: frozenset({Role.OPERATIONS}),
    # Every role of the staff. Not buyer: what a buyer writes is written by that buyer.
    Role.ADMIN: _SUPERVISOR | {Role.OPERATIONS, Role.ADMIN},
    Role.SYSTEM: frozenset({Role.SYSTEM}),
}
"""A role and every role whose work it may do as well."""

_HIGHEST_FIRST = (
    Role.SYSTEM,
    Role.ADMIN,
    Role.SUPERVISOR,
    Role.OPERATIONS,
    Role.SENIOR_AGENT,
    Role.AGENT,
    Role.BUYER,
)


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller whose token was verified. Acts in `shop_id` only, whatever a request names."""

    subject: str
    roles: frozenset[Role]
    shop_id: str
    expires_at: datetime

    @property
    def kind(self) -> Kind:
        """Buyer, staff of the shop, or another system of the shop."""
        if Role.SYSTEM in self.roles:
            return "system"
        return "buyer" if self.roles <= {Role.BUYER} else "staff"

    def acting_as(self, among: Container[Role] = frozenset(Role)) -> Role:
        """The highest role held, of those that count: what is done is done, and told, in it."""
        return next(role for role in _HIGHEST_FIRST if role in self.roles and role in among)

    def may_act_as(self, roles: Iterable[Role]) -> bool:
        """Whether one of the roles held is, or includes, one of `roles`."""
        wanted = frozenset(roles)
        return any(INCLUDES[held] & wanted for held in self.roles)

    def require(self, *roles: Role) -> None:
        """Raise `Forbidden` unless the caller may act as one of `roles`."""
        if not self.may_act_as(roles):
            names = ", ".join(sorted(roles))
            raise Forbidden(f"This needs one of the roles: {names}.", extra={"roles": names})

    def require_shop(self, shop_id: str | None) -> str:
        """The token's shop; `OtherShop` if the request names a different one."""
        if shop_id is not None and shop_id != self.shop_id:
            raise OtherShop("The token does not belong to the shop that the request names.")
        return self.shop_id

    def require_self(self, subject: str) -> None:
        """Raise `Forbidden` when a buyer names another buyer."""
        if self.kind == "buyer" and subject != self.subject:
            raise Forbidden("A buyer acts for no one else.")
