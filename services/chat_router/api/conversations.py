"""Conversations: inbox, one conversation, transfer, close, read marks, rating."""

from typing import Annotated

from fastapi import APIRouter, Query

from common.contracts import ConversationState
from common.web.idempotency import IdempotencyKey
from common.web.pages import Page, PageQuery, page_of
from common.web.serving import RunningService
from common.web.types import ExternalId, View

from ..closing import CloseConversation
from ..marks import MarkRead
from ..ratings import RateConversation
from ..store import lists
from ..transfers import TransferConversation
from .bodies import Rating, ReadMark, Transfer
from .callers import (
    Agent,
    Buyer,
    ConversationId,
    Everyone,
    Talker,
    acting_as,
    conversation_seen_by,
)
from .views import ConversationView, conversation_view

router = APIRouter(prefix="/v1/conversations", tags=["conversations"])


class ClosedView(View):
    """The conversation is closed."""

    conversation_id: str
    close_reason: str | None


class TransferView(View):
    """On its way; it is assigned as soon as the target has room."""

    conversation_id: str
    state: ConversationState
    to_agent_id: str | None
    to_group_id: str | None


class ReadView(View):
    """What is unread after the mark. A mark never goes back."""

    conversation_id: str
    up_to_seq: int
    unread_agent: int
    unread_buyer: int


class RatingView(View):
    """The rating that stands."""

    conversation_id: str
    rating: int
    reason: str | None


@router.get("")
async def list_conversations(
    caller: Everyone,
    service: RunningService,
    page: PageQuery,
    state: Annotated[ConversationState | None, Query(description="In this state.")] = None,
    agent_id: Annotated[ExternalId | None, Query(description="Of this agent.")] = None,
    buyer_id: Annotated[ExternalId | None, Query(description="Of this buyer.")] = None,
) -> Page[ConversationView]:
    """Conversations, the newest opened first. Buyers get their own, whatever they ask for."""
    for_buyer = caller.kind == "buyer"
    wanted = lists.Wanted(
        state=state, agent_id=agent_id, buyer_id=caller.subject if for_buyer else buyer_id
    )
    before = page.after(tuple[str])
    async with service.database.read() as conn:
        found = await lists.conversations(
            conn, caller.shop_id, wanted, before[0] if before else None, page.limit + 1
        )
        buyers = await lists.buyers(conn, caller.shop_id, (one.buyer_id for one in found))
    now = service.clock()
    views = [
        conversation_view(one, buyers.get(one.buyer_id), now, for_buyer=for_buyer) for one in found
    ]
    return page_of(views, page.limit, lambda one: (one.conversation_id,))


@router.get("/{conversation_id}")
async def get_conversation(
    caller: Everyone, service: RunningService, conversation_id: ConversationId
) -> ConversationView:
    """One conversation as it is now."""
    found = await conversation_seen_by(caller, service, conversation_id)
    async with service.database.read() as conn:
        buyer = await lists.buyer(conn, caller.shop_id, found.buyer_id)
    for_buyer = caller.kind == "buyer"
    return conversation_view(found, buyer, service.clock(), for_buyer=for_buyer)


@router.post("/{conversation_id}/transfers", status_code=201)
async def transfer_conversation(
    caller: Agent,
    service: RunningService,
    conversation_id: ConversationId,
    key: IdempotencyKey,
    body: Transfer,
) -> TransferView:
    """Hand a conversation to an agent or a group, with a note (转接)."""
    command = TransferConversation(
        shop_id=caller.shop_id,
        conversation_id=conversation_id,
        to_agent_id=body.to_agent_id,
        to_group_id=body.to_group_id,
        note=body.note,
        actor=caller.subject,
        actor_role=acting_as(caller),
    )
    return TransferView.model_validate(await service.submit(command, key))


@router.post("/{conversation_id}/close")
async def close_conversation(
    caller: Talker,
    service: RunningService,
    conversation_id: ConversationId,
    key: IdempotencyKey,
) -> ClosedView:
    """End a conversation. The buyer's next message opens a new one."""
    command = CloseConversation(
        shop_id=caller.shop_id,
        conversation_id=conversation_id,
        actor=caller.subject,
        actor_role=acting_as(caller),
    )
    return ClosedView.model_validate(await service.submit(command, key))


@router.post("/{conversation_id}/read_marks")
async def mark_read(
    caller: Talker,
    service: RunningService,
    conversation_id: ConversationId,
    key: IdempotencyKey,
    body: ReadMark,
) -> ReadView:
    """Everything up to a message is read by the caller's side."""
    command = MarkRead(
        shop_id=caller.shop_id,
        conversation_id=conversation_id,
        up_to_seq=body.up_to_seq,
        actor=caller.subject,
        actor_role=acting_as(caller),
    )
    return ReadView.model_validate(await service.submit(command, key))


@router.post("/{conversation_id}/rating", status_code=201)
async def rate_conversation(
    caller: Buyer,
    service: RunningService,
    conversation_id: ConversationId,
    key: IdempotencyKey,
    body: Rating,
) -> RatingView:
    """Rate a conversation, once."""
    command = RateConversation(
        shop_id=caller.shop_id,
        conversation_id=conversation_id,
        buyer_id=caller.subject,
        rating=body.rating,
        reason=body.reason,
    )
    return RatingView.model_validate(await service.submit(command, key))
