"""Who may call, and as what they act."""

from typing import Annotated

from fastapi import Path

from common.auth.guards import requires
from common.auth.principal import Principal, Role
from common.contracts import ActorRole
from common.errors import NotFound
from common.runtime import Service
from common.web.types import ExternalId, Uuid

from ..conversations import Conversation
from ..store import lists

Writer = Annotated[Principal, requires(Role.BUYER, Role.AGENT, Role.OPERATIONS, Role.SYSTEM)]
Talker = Annotated[Principal, requires(Role.BUYER, Role.AGENT)]
Buyer = Annotated[Principal, requires(Role.BUYER)]
Agent = Annotated[Principal, requires(Role.AGENT)]
Staff = Annotated[Principal, requires(Role.AGENT, Role.OPERATIONS)]
StaffOrSystem = Annotated[Principal, requires(Role.AGENT, Role.OPERATIONS, Role.SYSTEM)]
Supervisor = Annotated[Principal, requires(Role.SUPERVISOR, Role.SYSTEM)]
Everyone = Annotated[Principal, requires(*Role)]

ConversationId = Annotated[Uuid, Path(description="A conversation.")]
AgentId = Annotated[ExternalId, Path(description="An agent.")]
GroupId = Annotated[ExternalId, Path(description="A skill group.")]
BuyerId = Annotated[ExternalId, Path(description="A buyer.")]


def acting_as(caller: Principal) -> ActorRole:
    """The highest role of a caller: events and permissions go by it."""
    return caller.acting_as().value


async def conversation_seen_by(
    caller: Principal, service: Service, conversation_id: str
) -> Conversation:
    """The conversation, if the caller may see it: staff all of the shop's, buyers their own."""
    async with service.database.read() as conn:
        found = await lists.conversation(conn, caller.shop_id, conversation_id)
    if found is None or (caller.kind == "buyer" and found.buyer_id != caller.subject):
        raise NotFound("no such conversation")
    return found
