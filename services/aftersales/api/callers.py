"""Who calls, and which case they may see."""

from typing import Annotated

from fastapi import Path

from aftersales import store
from aftersales.cases import Actor, Case
from common.auth.guards import requires
from common.auth.principal import Principal, Role
from common.errors import NotFound
from common.runtime import Service
from common.web.types import Uuid

Reader = Annotated[Principal, requires(Role.BUYER, Role.AGENT, Role.OPERATIONS, Role.SYSTEM)]
Asker = Annotated[Principal, requires(Role.BUYER, Role.AGENT, Role.SYSTEM)]
Staff = Annotated[Principal, requires(Role.AGENT, Role.SYSTEM)]
Refuser = Annotated[Principal, requires(Role.SENIOR_AGENT, Role.SYSTEM)]
Buyer = Annotated[Principal, requires(Role.BUYER)]
ShopSystem = Annotated[Principal, requires(Role.SYSTEM)]
Supervisor = Annotated[Principal, requires(Role.SUPERVISOR)]

CaseId = Annotated[Uuid, Path(description="A case of the shop.")]

_ACTING = frozenset(Role) - {Role.OPERATIONS}
"""Operations only look on: who is an agent as well acts as one."""


def actor_of(caller: Principal) -> Actor:
    """The caller as the history names them, in the highest role in which they may act."""
    return Actor(caller.subject, caller.acting_as(_ACTING).value)


async def case_seen_by(caller: Principal, service: Service, case_id: str) -> Case:
    """A case of the caller's shop; for a buyer only an own one. `NotFound` for any other."""
    async with service.database.read() as conn:
        case = await store.case_of(conn, caller.shop_id, case_id)
    if case is None or (caller.kind == "buyer" and case.buyer_id != caller.subject):
        raise NotFound("No such case.")
    return case
