"""Writing and reading messages."""

from typing import Annotated

from fastapi import APIRouter, Query

from common.auth.principal import Principal
from common.errors import InvalidInput
from common.runtime import Idempotency, Service
from common.web.idempotency import IdempotencyKey
from common.web.pages import Number, Page, PageQuery, page_of
from common.web.serving import RunningService

from ..deliveries import take_over_http
from ..intake import SendMessage
from ..messages import Incoming
from ..store import lists
from .bodies import AddressedMessage, NewMessage
from .callers import ConversationId, Everyone, Talker, Writer, acting_as, conversation_seen_by
from .views import MessageAcceptedView, MessageView, message_view

router = APIRouter(prefix="/v1", tags=["messages"])


@router.post("/messages", status_code=201, responses={404: {}})
async def post_message(
    caller: Writer, service: RunningService, key: IdempotencyKey, body: AddressedMessage
) -> MessageAcceptedView:
    """Write a message: a buyer to the shop, an agent into a conversation, a shop system for a
    buyer or agent of its platform. A buyer's first message opens a conversation."""
    caller.require_shop(body.shop_id)
    return await _send(service, incoming_of(caller, body, body.conversation_id), key)


@router.post("/conversations/{conversation_id}/messages", status_code=201)
async def post_conversation_message(
    caller: Talker,
    service: RunningService,
    conversation_id: ConversationId,
    key: IdempotencyKey,
    body: NewMessage,
) -> MessageAcceptedView:
    """Write a message into a conversation: its buyer, or the agent who has it."""
    caller.require_shop(body.shop_id)
    return await _send(service, incoming_of(caller, body, conversation_id), key)


async def _send(service: Service, incoming: Incoming, key: Idempotency) -> MessageAcceptedView:
    kept = await service.submit(SendMessage(incoming=incoming), key)
    return MessageAcceptedView.model_validate(kept)


def incoming_of(caller: Principal, body: NewMessage, conversation_id: str | None) -> Incoming:
    """The message, with its writer from the token and not from the body."""
    if caller.kind == "system":
        return _from_system(caller, body)
    by_buyer = caller.kind == "buyer"
    if not by_buyer and conversation_id is None:
        raise InvalidInput("staff name the conversation_id they write into")
    return Incoming(
        shop_id=caller.shop_id,
        buyer_id=caller.subject if by_buyer else None,
        conversation_id=conversation_id,
        source=f"{'buyer' if by_buyer else 'agent'}:{caller.subject}",
        client_message_id=body.client_id,
        sender_kind="buyer" if by_buyer else "agent",
        sender_id=caller.subject,
        sender_role=acting_as(caller),
        agent_id=None if by_buyer else caller.subject,
        kind=body.kind,
        text=body.text,
        media_url=body.media_url,
        product_id=body.product_id,
        order_id=body.order_id,
        sent_at=body.sent_at,
    )


def _from_system(caller: Principal, body: NewMessage) -> Incoming:
    if not isinstance(body, AddressedMessage) or body.buyer_id is None:
        raise InvalidInput("a shop system names the buyer_id whose chat it is")
    by_buyer = body.sender == "buyer"
    return Incoming(
        shop_id=caller.shop_id,
        buyer_id=body.buyer_id,
        source=f"platform:{body.platform}",
        client_message_id=body.message_id or body.client_id,
        platform=body.platform,
        sender_kind="buyer" if by_buyer else "agent",
        sender_id=body.buyer_id if by_buyer else body.agent_id or "shop",
        agent_id=None if by_buyer else body.agent_id,
        kind=body.kind,
        text=body.text,
        media_url=body.media_url,
        product_id=body.product_id,
        order_id=body.order_id,
        sent_at=body.sent_at,
        counted_at=body.sent_at,
    )


@router.get("/conversations/{conversation_id}/messages")
async def list_messages(
    caller: Everyone,
    service: RunningService,
    conversation_id: ConversationId,
    page: PageQuery,
    after_seq: Annotated[
        int, Query(ge=0, le=2**53 - 1, description="Only messages after this number.")
    ] = 0,
) -> Page[MessageView]:
    """The messages of a conversation in order: what a client loads first, and after `resync`."""
    conversation = await conversation_seen_by(caller, service, conversation_id)
    position = page.after(tuple[Number])
    start = position[0] if position else after_seq
    async with service.database.read() as conn:
        found = await lists.messages(conn, caller.shop_id, conversation_id, start, page.limit + 1)
    await take_over_http(service, caller, conversation, found[: page.limit])
    return page_of([message_view(one) for one in found], page.limit, lambda one: (one.seq,))
