"""CR2: the socket shows everything once, in order, across reconnects; and takes messages."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
import websockets
from websockets.asyncio.client import ClientConnection, connect

from common.contracts import MessageDelivered
from common.ids import new_id
from common.web.serve import server_options
from tests.support.harness import idle, until

from .conftest import Chat, open_chat


class Client:
    """A client on a socket: sends frames, waits for frames."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.cursor = ""
        self.events: list[dict[str, Any]] = []

    async def send(self, frame: str, **fields: Any) -> None:
        await self.connection.send(json.dumps({"frame": frame} | fields))

    async def next(self) -> dict[str, Any]:
        async with asyncio.timeout(20):
            frame: dict[str, Any] = json.loads(await self.connection.recv())
        if frame["frame"] == "event":
            self.events.append(frame)
        self.cursor = frame.get("cursor", self.cursor)
        return frame

    async def until(self, frame: str, type_: str | None = None, **body: Any) -> dict[str, Any]:
        """The next frame of this kind (and event type, and members of the body)."""
        while True:
            found = await self.next()
            fits = all(found.get("body", {}).get(name) == value for name, value in body.items())
            if found["frame"] == frame and type_ in (None, found.get("type")) and fits:
                return found

    async def messages(self, last_seq: int) -> list[int]:
        """Reads until a message with this number was shown; the numbers shown so far."""
        while True:
            shown = [e["body"]["seq"] for e in self.events if e["type"] in MESSAGES]
            if last_seq in shown:
                return shown
            await self.next()


MESSAGES = ("message.received", "message.sent")


class Sockets:
    """The service behind a real server."""

    def __init__(self, chat: Chat, address: tuple[str, int]) -> None:
        self.chat = chat
        self.url = f"ws://{address[0]}:{address[1]}/v1/socket"

    @contextlib.asynccontextmanager
    async def raw(self, token: str | None, **rest: Any) -> AsyncIterator[ClientConnection]:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with connect(self.url, additional_headers=headers, **rest) as connection:
            yield connection

    @contextlib.asynccontextmanager
    async def open(
        self, subject: str, role: str, *, cursor: str | None = None, topics: tuple[str, ...] = ()
    ) -> AsyncIterator[Client]:
        """A client that has said hello and was welcomed."""
        async with self.raw(self.chat.token(subject, role)) as connection:
            client = Client(connection)
            hello = {"topics": topics} | ({"cursor": cursor} if cursor is not None else {})
            await client.send("hello", **hello)
            welcome = await client.next()
            assert welcome["frame"] == "welcome", welcome
            yield client


@contextlib.asynccontextmanager
async def serving(chat: Chat) -> AsyncIterator[Sockets]:
    listener = socket.create_server(("127.0.0.1", 0))
    options = server_options(chat.service.settings)
    server = uvicorn.Server(uvicorn.Config(chat.app, lifespan="off", **options))
    running = asyncio.create_task(server.serve([listener]))

    async def started() -> bool:
        return server.started

    try:
        await until(started)
        yield Sockets(chat, listener.getsockname())
    finally:
        server.should_exit = True
        await running


@pytest.fixture
async def sockets(chat: Chat) -> AsyncIterator[Sockets]:
    async with serving(chat) as served:
        yield served


async def test_message_goes_from_buyer_to_agent_and_back(sockets: Sockets) -> None:
    async with (
        sockets.open("a1", "agent") as agent,
        sockets.open("b1", "buyer") as buyer,
    ):
        await buyer.send("message", client_message_id="m1", text="在吗?")
        accepted = await buyer.until("accepted")
        assigned = await agent.until("event", "conversation.assigned")
        assert (accepted["client_message_id"], accepted["seq"]) == ("m1", 1)
        assert assigned["body"]["agent_id"] == "a1"
        assert assigned["body"]["unread_agent"] == 1
        assert assigned["body"]["unanswered_since"] is not None
        assert assigned["body"]["server_now"]

        await agent.send(
            "message",
            client_message_id="r1",
            conversation_id=accepted["conversation_id"],
            text="在的",
        )
        shown = await buyer.until("event", "message.sent", sender_kind="agent")
        await buyer.send("message", client_message_id="m2", text="好的")
        received = await agent.until("event", "message.received")

    assert shown["body"]["text"] == "在的"
    assert (received["body"]["text"], received["body"]["seq"]) == ("好的", 4)


async def test_reconnect_misses_nothing_and_repeats_nothing(sockets: Sockets) -> None:
    writer = sockets.chat.buyer("b1")
    seen: list[int] = []
    cursor = ""
    async with sockets.open("b1", "buyer") as client:
        await writer.write("第 1 句")
        seen += await client.messages(1)
        cursor = client.cursor
    total = 2
    for _ in range(4):
        for n in range(3):  # while nobody listens
            await writer.write(f"离线 {n}")
        async with sockets.open("b1", "buyer", cursor=cursor) as client:
            await writer.write("在线")
            total += 4
            seen += await client.messages(total)
            cursor = client.cursor

    assert seen == list(range(1, total + 1))


async def test_reconnect_in_the_middle_of_a_flood_shows_each_event_once(sockets: Sockets) -> None:
    writer = sockets.chat.buyer("b1")
    await writer.write("开始")

    async def flood() -> None:
        for n in range(60):
            await writer.write(f"第 {n} 句")

    writing = asyncio.create_task(flood())
    seqs: list[int] = []
    cursor = "buyer:b1=0"
    while not seqs or seqs[-1] < 62:
        async with sockets.open("b1", "buyer", cursor=cursor) as client:
            for _ in range(17):  # then the line breaks
                frame = await client.next()
                if frame.get("type") in MESSAGES:
                    seqs.append(frame["body"]["seq"])
                if seqs and seqs[-1] == 62:
                    break
            cursor = client.cursor
    await writing

    assert seqs == list(range(1, 63))


async def test_same_message_over_a_broken_line_is_stored_once(sockets: Sockets) -> None:
    async with sockets.open("b1", "buyer") as client:
        await client.send("message", client_message_id="m1", text="在吗?")
        first = await client.until("accepted")
    async with sockets.open("b1", "buyer") as client:
        await client.send("message", client_message_id="m1", text="在吗?")
        again = await client.until("accepted")

    assert again["message_id"] == first["message_id"]
    assert again["repeated"] is True


async def test_frames_before_hello_end_the_socket(sockets: Sockets) -> None:
    async with sockets.raw(sockets.chat.token("b1", "buyer")) as connection:
        client = Client(connection)
        await client.send("ping")
        assert (await client.next())["code"] == "hello_first"
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await client.next()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1003


async def test_frame_that_is_not_understood_costs_only_itself(sockets: Sockets) -> None:
    async with sockets.open("b1", "buyer") as client:
        for text in ("{", "[]", '{"frame":"dance"}', '{"frame":"read","up_to_seq":-1}', "🎈"):
            await client.connection.send(text)
            assert (await client.until("error"))["code"] == "invalid_frame"
        await client.send("ping")
        assert (await client.until("pong"))["server_now"]


@pytest.mark.parametrize(
    "fields, code",
    [
        ({"text": ""}, "invalid_input"),
        ({"kind": "image"}, "invalid_input"),
        ({"text": "x" * 4001}, "invalid_input"),
        ({"text": "x", "conversation_id": "01977c3e-0000-7000-8000-000000000001"}, "not_found"),
    ],
)
async def test_bad_message_is_refused_by_its_id(
    sockets: Sockets, fields: dict[str, Any], code: str
) -> None:
    async with sockets.open("b1", "buyer") as client:
        await client.send("message", client_message_id="bad", **fields)
        refused = await client.until("refused")

    assert (refused["client_message_id"], refused["code"]) == ("bad", code)


async def test_cursor_of_before_the_feed_was_pruned_leads_to_resync(sockets: Sockets) -> None:
    chat = sockets.chat
    for n in range(3):
        await chat.buyer("b1").write(f"第 {n} 句")
    async with chat.service.database.write() as conn:
        await conn.exec_driver_sql("DELETE FROM feed WHERE receiver = 'buyer:b1' AND seq <= 2")

    for cursor, reason in (
        ("buyer:b1=1", "too_old"),
        ("buyer:b1=999", "unknown_cursor"),
        ("rubbish", "unknown_cursor"),
    ):
        async with sockets.open("b1", "buyer", cursor=cursor) as client:
            assert (await client.next())["reason"] == reason
            written = await chat.buyer("b1").write("还在")
            assert await client.messages(written["seq"]) == [written["seq"]]


async def test_other_receivers_in_a_cursor_are_not_shown(sockets: Sockets) -> None:
    await sockets.chat.buyer("b2").write("秘密")

    async with sockets.open("b1", "buyer", cursor="buyer:b2=0,shop=0") as client:
        written = await sockets.chat.buyer("b1").write("我的")
        assert await client.messages(written["seq"]) == [1]

    assert {one["receiver"] for one in client.events} == {"buyer:b1"}
    assert "秘密" not in str(client.events)


async def test_buyer_is_not_shown_what_is_for_staff(sockets: Sockets) -> None:
    chat = sockets.chat
    await chat.supervisor.put("/buyers/b1", {"tags": ["爱退货"]})
    async with (
        sockets.open("a1", "agent"),
        sockets.open("a2", "agent"),
        sockets.open("b1", "buyer") as buyer,
    ):
        accepted = await chat.buyer("b1").write("在吗?")
        assigned = await buyer.until("event", "conversation.assigned")
        mine = assigned["body"]["agent_id"]
        other = "a2" if mine == "a1" else "a1"
        path = f"/conversations/{accepted['conversation_id']}/transfers"
        await chat.agent(mine).post(path, {"to_agent_id": other, "note": "难缠"})
        await buyer.until("event", "conversation.assigned", agent_id=other)

    shown = str(buyer.events)
    assert "难缠" not in shown
    assert "爱退货" not in shown


async def test_note_of_a_transfer_reaches_the_new_agent(sockets: Sockets) -> None:
    chat = sockets.chat
    await chat.add_agent("a1")
    accepted = await chat.buyer("b1").write("我要退货")
    await chat.assigned(accepted["conversation_id"], "a1")
    async with sockets.open("a2", "agent") as agent:
        path = f"/conversations/{accepted['conversation_id']}/transfers"
        await chat.agent("a1").post(path, {"to_agent_id": "a2", "note": "已收到照片"})
        hinted = await agent.until("event", "conversation.changed", changed=["hint"])

    assert hinted["body"]["hint"] == "已收到照片"


async def test_supervisor_sees_the_board_and_an_agent_who_asks_for_it(sockets: Sockets) -> None:
    async with (
        sockets.open("linjie", "supervisor") as leader,
        sockets.open("a9", "agent", topics=("shop",)) as asking,
        sockets.open("b2", "buyer", topics=("shop",)) as other,
    ):
        await sockets.chat.buyer("b1").write("在吗?")
        for client in (leader, asking):
            opened = await client.until("event", "conversation.opened")
            assert opened["receiver"] == "shop"
        await other.send("ping")
        await other.until("pong")
        assert other.events == []


async def test_typing_is_shown_to_the_other_side_and_never_kept(sockets: Sockets) -> None:
    chat = sockets.chat
    async with (
        sockets.open("a1", "agent") as agent,
        sockets.open("b1", "buyer") as buyer,
    ):
        accepted = await chat.buyer("b1").write("在吗?")
        await agent.until("event", "conversation.assigned")
        before = agent.cursor
        await buyer.send("typing", conversation_id=accepted["conversation_id"])
        typing = await agent.until("event", "typing")

    assert typing["body"]["sender"] == "buyer:b1"
    assert typing["cursor"] == before
    kept = await chat.service.feed.since("demo", "agent:a1", 0, 100)
    assert not any("typing" in one.type for one in kept)


async def test_read_mark_is_shown_to_both_sides(sockets: Sockets) -> None:
    async with (
        sockets.open("a1", "agent") as agent,
        sockets.open("b1", "buyer") as buyer,
    ):
        accepted = await sockets.chat.buyer("b1").write("在吗?")
        await agent.until("event", "conversation.assigned")
        await agent.send(
            "read", conversation_id=accepted["conversation_id"], up_to_seq=accepted["seq"]
        )
        shown = await buyer.until("event", "message.read")

    assert (shown["body"]["reader"], shown["body"]["unread_agent"]) == ("agent:a1", 0)


async def test_message_taken_by_a_socket_is_marked_delivered_once(sockets: Sockets) -> None:
    chat = sockets.chat
    async with (
        sockets.open("b1", "buyer") as phone,
        sockets.open("b1", "buyer") as desk,
    ):
        for n in range(3):
            written = await chat.buyer("b1").write(f"第 {n} 句")
        for client in (phone, desk):
            await client.messages(written["seq"])
        await chat.until_seen(MessageDelivered)
        await chat.buyer("b1").get(f"/conversations/{written['conversation_id']}/messages")
    await idle(chat.service)

    delivered = await chat.seen(MessageDelivered)
    assert [(one.receiver, one.seq) for one in delivered] == [("buyer:b1", 2)]


async def test_connecting_brings_an_agent_online_and_pings_keep_them_there(
    sockets: Sockets,
) -> None:
    chat = sockets.chat

    async def presence() -> str:
        return str((await chat.supervisor.get("/agents/a1"))["presence"])

    async with sockets.open("a1", "agent") as agent:
        assert await presence() == "online"
        for _ in range(4):
            chat.clock.advance(seconds=40)
            await agent.send("ping")
            await agent.until("pong")
        assert await presence() == "online"
    chat.clock.advance(seconds=61)

    async def gone() -> bool:
        return await presence() == "offline"

    await until(gone)


async def test_supervisor_who_connects_is_given_no_buyers(sockets: Sockets) -> None:
    async with sockets.open("linjie", "supervisor"):
        await sockets.chat.buyer("b1").write("在吗?")
        found = await sockets.chat.supervisor.get("/agents")

    assert found["items"] == []


@pytest.mark.parametrize("where", ["subprotocol", "nowhere", "url", "forged"])
async def test_token_comes_by_header_or_subprotocol_and_never_by_url(
    sockets: Sockets, where: str
) -> None:
    token = sockets.chat.token("b1", "buyer")
    if where == "subprotocol":
        protocols: Any = ["kefu.v1", f"bearer.{token}"]
        async with connect(sockets.url, subprotocols=protocols) as connection:
            client = Client(connection)
            await client.send("hello")
            assert (await client.next())["frame"] == "welcome"
        return
    url = f"{sockets.url}?token={token}" if where == "url" else sockets.url
    headers = {"Authorization": f"Bearer {token[:-6]}AAAAAA"} if where == "forged" else {}
    with pytest.raises(websockets.InvalidStatus) as refused:
        async with connect(url, additional_headers=headers):
            pass
    assert refused.value.response.status_code == 401


async def test_cursor_is_good_after_the_service_was_restarted(
    tmp_path: Path, database_url: str
) -> None:
    async with open_chat(tmp_path, database_url) as chat:
        async with serving(chat) as served, served.open("b1", "buyer") as client:
            await chat.buyer("b1").write("之前")
            await client.messages(2)
            cursor = client.cursor
        await chat.buyer("b1").write("没看到")
    async with (
        open_chat(tmp_path, database_url) as chat,
        serving(chat) as served,
        served.open("b1", "buyer", cursor=cursor) as client,
    ):
        written = await chat.buyer("b1").write("之后", client_message_id=new_id())
        assert await client.messages(written["seq"]) == [3, 4]
