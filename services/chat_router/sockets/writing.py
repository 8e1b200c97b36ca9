"""What a client does over its socket: the same commands as over HTTP."""

from msgspec import structs

from common.auth.principal import Principal
from common.contracts import Envelope, Typing, encode
from common.errors import NotFound
from common.ids import new_id
from common.runtime import Service

from ..api.bodies import AddressedMessage
from ..api.callers import acting_as, conversation_seen_by
from ..api.messages import incoming_of
from ..intake import SendMessage
from ..marks import MarkRead
from ..messages import MessageAccepted
from . import frames


async def send_message(
    service: Service, caller: Principal, frame: frames.Message
) -> MessageAccepted:
    """Takes in a message under the same rules as HTTP.

    Raises `pydantic.ValidationError` or a `KefuError`.
    """
    body = AddressedMessage.model_validate(structs.asdict(frame))
    incoming = incoming_of(caller, body, body.conversation_id)
    kept: MessageAccepted = await service.submit(SendMessage(incoming=incoming))
    return kept


async def mark_read(service: Service, caller: Principal, frame: frames.Read) -> None:
    """Moves the caller's read mark."""
    command = MarkRead(
        shop_id=caller.shop_id,
        conversation_id=frame.conversation_id,
        up_to_seq=frame.up_to_seq,
        actor=caller.subject,
        actor_role=acting_as(caller),
    )
    await service.submit(command)


async def tell_typing(service: Service, caller: Principal, frame: frames.Typing) -> None:
    """Tells the other side, if there is one. Not stored: straight to the bus."""
    conversation = await conversation_seen_by(caller, service, frame.conversation_id)
    by_buyer = caller.kind == "buyer"
    if not by_buyer and conversation.agent_id != caller.subject:
        raise NotFound("no such conversation of yours")
    agent = f"agent:{conversation.agent_id}" if conversation.agent_id else None
    receiver = agent if by_buyer else f"buyer:{conversation.buyer_id}"
    if receiver is None or conversation.state != "assigned":
        return
    now = service.clock()
    typing = Typing(
        shop_id=caller.shop_id,
        conversation_id=conversation.conversation_id,
        buyer_id=conversation.buyer_id,
        sender=f"buyer:{caller.subject}" if by_buyer else f"agent:{caller.subject}",
        at=now,
    )
    envelope = Envelope.of(
        typing, id=new_id(), source="kefu/chat_router", time=now, deliveries={receiver: 0}
    )
    await service.bus.publish([encode(envelope)])
