"""Who may call what."""

from typing import Annotated

from common.auth.guards import requires
from common.auth.principal import Principal, Role

ShopSystem = Annotated[Principal, requires(Role.SYSTEM)]
"""Another system of the shop."""
Staff = Annotated[Principal, requires(Role.AGENT, Role.OPERATIONS)]
"""People of the shop."""
Reader = Annotated[Principal, requires(Role.AGENT, Role.OPERATIONS, Role.SYSTEM, Role.BUYER)]
"""Everybody; buyers see their own."""
Agent = Annotated[Principal, requires(Role.AGENT)]
"""Who serves buyers."""
Supervisor = Annotated[Principal, requires(Role.SUPERVISOR)]
"""Who sets the rules."""
PolicyReader = Annotated[Principal, requires(Role.AGENT, Role.OPERATIONS, Role.SYSTEM)]
"""Who may read the rules."""


def own_only(caller: Principal) -> str | None:
    """The only buyer whose orders the caller may see; None for the whole shop."""
    return caller.subject if caller.kind == "buyer" else None
