"""P10: from the start of everything on one machine to a buyer's first message, answered.

`kefu dev` in a folder that does not exist yet: four schemas are made, the demo shop is set up, the
port opens; a buyer writes, an agent who is on the socket is given the conversation and answers,
the buyer reads the answer on theirs. The clock starts with the process.
"""

import asyncio
import json
import time
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from bench.measures import Finding, figure_at_most
from bench.programs import Program
from bench.screen import Effort, Screen
from bench.served import until_ready
from bench.stage import Stage
from bench.turns import in_turns
from common.auth.keys import load_or_create_signing_key
from common.auth.principal import Role
from common.auth.tokens import issue_token
from common.settings import Settings
from tests.parts.node import free_port

SHOP = "demo"
AGENT, BUYER = "xiaomei", "lihua"


async def run(stage: Stage, effort: Effort, screen: Screen) -> list[Finding]:
    """The finding."""
    series = await in_turns(
        {"kefu dev": lambda: seconds_to_first_answer(stage)}, effort, screen, title="P10 s"
    )
    return [
        Finding(
            id="P10",
            what="kefu dev in a new folder: start to first message answered",
            unit="s",
            ours=series["kefu dev"],
            mark=figure_at_most(5, "s"),
        )
    ]


async def seconds_to_first_answer(stage: Stage) -> float:
    """One start."""
    folder, port = stage.new_folder("dev"), free_port()
    home = folder / "home"
    given = {"KEFU_HOME": str(home), "KEFU_PORT": str(port)}
    started = time.perf_counter()
    with Program(["kefu", "dev"], given, folder) as program:
        await until_ready(program, f"http://127.0.0.1:{port}/healthz")
        await first_answer(f"ws://127.0.0.1:{port}/chat_router/v1/socket", Settings(home=home))
        return time.perf_counter() - started


async def first_answer(url: str, settings: Settings) -> None:
    """A buyer asks, an agent answers, the buyer sees it."""
    async with (
        connect(url, additional_headers=_signed(settings, AGENT, Role.AGENT), proxy=None) as agent,
        connect(url, additional_headers=_signed(settings, BUYER, Role.BUYER), proxy=None) as buyer,
    ):
        for socket in (agent, buyer):
            await socket.send('{"frame":"hello"}')
            await _frame(socket, "welcome")
        await _write(buyer, "q1", "在吗?这件有 XL 吗")
        opened = await _frame(agent, "event", "conversation.assigned")
        await _write(agent, "a1", "在的亲,有的", opened["body"]["conversation_id"])
        while (await _frame(buyer, "event", "message.sent"))["body"]["client_message_id"] != "a1":
            pass


def _signed(settings: Settings, subject: str, role: Role) -> dict[str, str]:
    key = load_or_create_signing_key(settings)
    token = issue_token(key, settings, subject=subject, roles=[role], shop_id=SHOP)
    return {"Authorization": f"Bearer {token}"}


async def _write(
    socket: ClientConnection, id_: str, text: str, conversation_id: str | None = None
) -> None:
    frame = {"frame": "message", "client_message_id": id_, "text": text}
    place = {"conversation_id": conversation_id} if conversation_id else {}
    await socket.send(json.dumps(frame | place))


async def _frame(socket: ClientConnection, frame: str, type_: str | None = None) -> dict[str, Any]:
    async with asyncio.timeout(30):
        while True:
            found: dict[str, Any] = json.loads(await socket.recv())
            if found["frame"] == frame and type_ in (None, found.get("type")):
                return found
