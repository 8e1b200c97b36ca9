"""The socket endpoint: one for buyers, agents and whoever leads."""

from typing import Annotated

from fastapi import APIRouter, WebSocket

from common.auth.guards import requires
from common.auth.principal import Principal, Role
from common.web.serving import RunningService
from common.web.sockets import open_socket

from ..sockets.frames import UP_FRAMES
from ..sockets.session import Session

router = APIRouter(prefix="/v1", tags=["socket"])

Connected = Annotated[Principal, requires(Role.BUYER, Role.AGENT, Role.OPERATIONS)]


@router.websocket("/socket")
async def serve_socket(websocket: WebSocket, caller: Connected, service: RunningService) -> None:
    """Frames up and down: see docs/services/chat_router.md."""
    async with open_socket(websocket, caller, UP_FRAMES) as socket:
        await Session(service, caller, socket).run()
