"""The socket client: behind what was seen it goes on, and what it writes is written once."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from websockets.asyncio.server import Server, ServerConnection, serve

from kefu.replay import feed_client
from kefu.replay.feed_client import FeedClient
from kefu.replay.http import GaveUp, Outage, RefusedByApi
from kefu.replay.journal import Journal
from kefu.replay.records import Delivered, Joined, Resynced

ME = "buyer:李.r1"
MY_CURSOR = "buyer:%E6%9D%8E.r1"
Script = Callable[[ServerConnection, dict[str, Any]], Awaitable[None]]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_client, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(feed_client, "LONGEST_PAUSE", 0.02)
    monkeypatch.setattr(feed_client, "ANSWER_SECONDS", 2.0)


class System:
    """A system that plays one script per connection and remembers the hellos."""

    def __init__(self, *scripts: Script) -> None:
        self._scripts = list(scripts)
        self.hellos: list[dict[str, Any]] = []
        self.server: Server | None = None

    async def handle(self, socket: ServerConnection) -> None:
        hello = json.loads(await socket.recv())
        self.hellos.append(hello)
        script = self._scripts.pop(0) if len(self._scripts) > 1 else self._scripts[0]
        await script(socket, hello)

    @property
    def url(self) -> str:
        assert self.server is not None
        return f"ws://127.0.0.1:{next(iter(self.server.sockets)).getsockname()[1]}"


@pytest.fixture
async def client_of() -> AsyncIterator[Callable[..., Awaitable[tuple[FeedClient, "Seen"]]]]:
    made: list[tuple[FeedClient, System]] = []

    async def make(
        system: System, cursor: int | None = 0, patience: float = 5.0
    ) -> tuple[FeedClient, Seen]:
        system.server = await serve(system.handle, "127.0.0.1", 0)
        seen = Seen()
        client = FeedClient(
            system.url, "token", ME, cursor, seen.journal, seen.show, seen.reload, Outage(),
            patience=patience,
        )  # fmt: skip
        made.append((client, system))
        client.start()
        return client, seen

    yield make
    for client, system in made:
        await client.stop()
        assert system.server is not None
        system.server.close()
        await system.server.wait_closed()


class Seen:
    def __init__(self) -> None:
        self.journal = Journal()
        self.events: asyncio.Queue[Delivered] = asyncio.Queue()
        self.reloads = asyncio.Event()

    async def show(self, record: Delivered) -> None:
        self.events.put_nowait(record)

    async def reload(self) -> None:
        self.reloads.set()


def _frame(frame: str, **rest: Any) -> str:
    return json.dumps({"frame": frame} | rest)


def _event(number: int, **body: Any) -> str:
    return _frame(
        "event", cursor=f"{MY_CURSOR}={number}", receiver=ME, type="message.sent",
        body={"message_id": f"m{number}", "seq": number} | body,
    )  # fmt: skip


async def _welcome(socket: ServerConnection, cursor: int) -> None:
    await socket.send(_frame("welcome", cursor=f"{MY_CURSOR}={cursor}", receivers=[ME]))


async def test_a_lost_socket_comes_back_behind_the_last_event_it_showed(client_of: Any) -> None:
    async def first(socket: ServerConnection, _: Any) -> None:
        await _welcome(socket, 0)
        await socket.send(_event(1))
        await socket.send(_event(2))
        socket.transport.abort()

    async def second(socket: ServerConnection, hello: dict[str, Any]) -> None:
        await _welcome(socket, 2)
        await socket.send(_event(3))
        await socket.wait_closed()

    system = System(first, second)
    _, seen = await client_of(system)
    shown = [(await asyncio.wait_for(seen.events.get(), 5)).cursor for _ in range(3)]
    assert shown == [1, 2, 3]
    assert [hello.get("cursor") for hello in system.hellos] == [f"{MY_CURSOR}=0", f"{MY_CURSOR}=2"]


async def test_without_a_cursor_the_feed_begins_where_the_system_says(client_of: Any) -> None:
    async def script(socket: ServerConnection, hello: dict[str, Any]) -> None:
        assert "cursor" not in hello
        await _welcome(socket, 41)
        await socket.wait_closed()

    client, seen = await client_of(System(script), cursor=None)
    await client.connected()
    [joined] = seen.journal.records
    assert isinstance(joined, Joined)
    assert joined.cursor == 41


async def test_a_message_is_sent_again_under_its_id_until_it_is_accepted(client_of: Any) -> None:
    received: list[dict[str, Any]] = []

    async def loses_it(socket: ServerConnection, _: Any) -> None:
        await _welcome(socket, 0)
        received.append(json.loads(await socket.recv()))
        socket.transport.abort()

    async def busy_then_takes_it(socket: ServerConnection, _: Any) -> None:
        await _welcome(socket, 0)
        received.append(json.loads(await socket.recv()))
        await socket.send(
            _frame(
                "refused", client_message_id="a1", code="unavailable", detail="", retry_after=0.01
            )
        )
        received.append(json.loads(await socket.recv()))
        await socket.send(
            _frame("accepted", client_message_id="a1", conversation_id="c1", message_id="m1", seq=1)
        )
        await socket.wait_closed()

    client, _ = await client_of(System(loses_it, busy_then_takes_it))
    answer = await client.write("a1", {"client_message_id": "a1", "kind": "text", "text": "在吗"})
    assert (answer.message_id, answer.seq) == ("m1", 1)
    assert len(received) == 3
    assert all(frame == received[0] for frame in received)


async def test_a_message_refused_for_good_is_not_sent_again(client_of: Any) -> None:
    async def refuses(socket: ServerConnection, _: Any) -> None:
        await _welcome(socket, 0)
        frame = json.loads(await socket.recv())
        await socket.send(
            _frame(
                "refused", client_message_id=frame["client_message_id"], code="invalid_input",
                detail="too long",
            )
        )  # fmt: skip
        await socket.wait_closed()

    client, _ = await client_of(System(refuses))
    with pytest.raises(RefusedByApi, match="invalid_input"):
        await client.write("a1", {"client_message_id": "a1"})


async def test_an_expired_token_ends_the_client_with_the_reason(client_of: Any) -> None:
    async def expired(socket: ServerConnection, _: Any) -> None:
        await socket.close(4401, "token_expired")

    client, _ = await client_of(System(expired))
    with pytest.raises(RefusedByApi, match="token_expired"):
        await client.connected()


async def test_a_system_that_stays_silent_is_given_up(client_of: Any) -> None:
    async def silent(socket: ServerConnection, _: Any) -> None:
        await socket.wait_closed()

    client, _ = await client_of(System(silent), patience=0.05)
    with pytest.raises(GaveUp, match="no socket"):
        await client.connected()


async def test_a_resync_is_remembered_and_makes_the_client_reload(client_of: Any) -> None:
    async def resyncs(socket: ServerConnection, _: Any) -> None:
        await _welcome(socket, 70)
        await socket.send(_frame("resync", reason="too_old", cursor=f"{MY_CURSOR}=70"))
        await socket.send(_event(71))
        await socket.wait_closed()

    _, seen = await client_of(System(resyncs), cursor=3)
    assert (await asyncio.wait_for(seen.events.get(), 5)).cursor == 71
    assert seen.reloads.is_set()
    kinds = [type(record) for record in seen.journal.records]
    assert kinds == [Resynced, Joined]


async def test_typing_is_shown_and_forgotten(client_of: Any) -> None:
    async def types(socket: ServerConnection, _: Any) -> None:
        await _welcome(socket, 0)
        await socket.send(
            _frame("event", cursor=f"{MY_CURSOR}=0", receiver=ME, type="typing", body={})
        )
        await socket.send(_event(1))
        await socket.wait_closed()

    _, seen = await client_of(System(types))
    assert (await asyncio.wait_for(seen.events.get(), 5)).type == "message.sent"
