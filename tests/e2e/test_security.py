"""What the whole system keeps to itself: in logs, in headers, on sockets, between shops."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any, NamedTuple

import httpx
import pytest
import pytest_asyncio
from websockets.exceptions import ConnectionClosed, InvalidStatus

from common.auth.principal import Role
from common.settings import Settings
from tests.support.cluster import Cluster, embedded_cluster
from tests.support.operations import operations_of
from tests.support.whole import (
    AGENT,
    OTHER_SHOP,
    SHOP,
    Scene,
    System,
    Whole,
    a_review,
    refund,
    set_scene,
    snapshot,
    whole,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Whole]:
    limits: dict[str, Any] = {"socket_frames_rps": 50, "socket_frames_burst": 100}
    home = tmp_path_factory.mktemp("security")
    async with whole(home, cors_origins="https://shop.example", **limits) as running:
        await set_scene(running)
        await set_scene(running, OTHER_SHOP)
        await running.idle()
        yield running


# -- logs ---------------------------------------------------------------------------------------

PHONE = "13912345678"
SPOKEN = "我的秘密暗号是青花瓷"
FORGED = '{"event":"forged_line","level":"info"}'


@pytest.fixture(scope="module")
def talkative(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """`kefu dev` as a process, telling everything that it ever tells."""
    with embedded_cluster(tmp_path_factory.mktemp("logs"), KEFU_LOG_LEVEL="DEBUG") as cluster:
        yield cluster


async def test_logs_of_a_real_run_hold_no_personal_data_and_no_forged_lines(
    talkative: Cluster,
) -> None:
    system = System(talkative.processes[0].url, Settings(home=talkative.home))
    told = f"{SPOKEN} 电话 {PHONE}\n{FORGED}"
    try:
        scene = await set_scene(system)
        await _tell_secrets(system, scene, told)
    finally:
        await system.http.aclose()
    talkative.processes[0].terminate()  # so that the last line is there
    log = talkative.processes[0].log.read_text("utf-8")
    assert '"level":"debug"' in log
    lines = [line for line in log.splitlines() if line.startswith("{")]
    events = [json.loads(line).get("event") for line in lines]
    assert "forged_line" not in events
    for secret in (PHONE, PHONE[3:], SPOKEN, system.token(Role.BUYER)):
        found = [line[:600] for line in lines if secret in line]
        assert not found, f"{secret}: {found[:3]}"


async def _tell_secrets(system: System, scene: Scene, told: str) -> None:
    """Personal data wherever there is a place for it, in requests that are taken and refused."""
    order = snapshot("secret", region=PHONE, seller_memo=told, buyer_id=PHONE)
    requests: list[tuple[str, str, Role, Any]] = [
        ("POST", "/chat_router/v1/messages", Role.BUYER, message(told)),
        ("POST", "/chat_router/v1/messages", Role.BUYER, message(told) | {"kind": PHONE}),
        ("POST", "/chat_router/v1/messages", Role.BUYER, message(told) | {PHONE: told}),
        ("PUT", f"/chat_router/v1/buyers/{PHONE}", Role.AGENT, {"note": told, "name": PHONE}),
        ("GET", f"/chat_router/v1/buyers/{PHONE}%0a{PHONE}", Role.AGENT, None),
        ("GET", f"/chat_router/v1/conversations?buyer_id={PHONE}", Role.AGENT, None),
        ("GET", f"/chat_router/v1/conversations?buyer_id={PHONE}", Role.SYSTEM, None),
        ("POST", "/order_ops/v1/orders", Role.SYSTEM, order),
        ("POST", "/order_ops/v1/orders", Role.SYSTEM, order | {"total_fen": told}),
        ("POST", "/order_ops/v1/orders/secret/memos", Role.AGENT, {"text": told}),
        ("POST", "/aftersales/v1/refunds", Role.SYSTEM, refund("s", order, description=told)),
        ("POST", "/feedback/v1/reviews", Role.SYSTEM, a_review("s", text=told, buyer_id=PHONE)),
        ("POST", f"/feedback/v1/tasks/{PHONE}/answers", Role.OPERATIONS, {"text": told}),
        ("POST", "/feedback/v1/reviews", Role.AGENT, a_review("t", text=told)),
    ]
    headers = {"X-Request-Id": PHONE, "User-Agent": f"phone {PHONE}"}
    for method, path, role, body in requests:
        answer = await system.call(method, path, role, json=body, headers=headers)
        assert answer.status_code < 500, answer.text
    unknown = await system.call("GET", f"/order_ops/v1/{PHONE}", None, headers=headers)
    assert unknown.status_code == 404
    async with system.listening(Role.BUYER) as buyer:
        await buyer.send("message", client_message_id="said", text=told)
        await buyer.until("accepted")
        await buyer.send("message", client_message_id="bad", text=told, kind="image")
        await buyer.until("refused")
        await buyer.send("read", conversation_id=scene.ids["conversation_id"], up_to_seq=told)
        await buyer.until("error")
    await _answered(system, scene)


def message(text: str) -> dict[str, Any]:
    return {"client_message_id": "told", "text": text}


async def _answered(system: System, scene: Scene) -> None:
    """What was told has gone through every service: the review has its tags."""
    found = await system.ok("GET", "/feedback/v1/items?source=review", Role.OPERATIONS)
    assert any(item["item_id"] == "review:s" for item in found["items"])
    assert scene.ids


# -- headers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given", ["two words", "x" * 65, "<script>", "%0d%0aSet-Cookie:a=b", "a;b", "", "é"]
)
async def test_a_request_id_that_could_do_harm_is_replaced(system: Whole, given: str) -> None:
    headers = [(b"X-Request-Id", given.encode("latin-1"))]
    answer = await system.http.get("/order_ops/v1/orders", headers=headers)
    ours = answer.headers["x-request-id"]
    assert ours != given
    assert ours.replace("-", "").isalnum()
    assert answer.json()["request_id"] == ours
    assert "set-cookie" not in answer.headers


async def test_a_sound_request_id_comes_back(system: Whole) -> None:
    answer = await system.http.get("/order_ops/v1/orders", headers={"X-Request-Id": "desk-7.1"})
    assert answer.headers["x-request-id"] == "desk-7.1"


@pytest.mark.parametrize("line", [b"X-Request-Id: a\rSet-Cookie: b=c", b"X-Id: a\x00b", b"X Id: a"])
async def test_a_broken_header_line_adds_nothing_to_the_answer(system: Whole, line: bytes) -> None:
    answer = await raw_answer(
        system, b"GET /order_ops/v1/orders HTTP/1.1\r\nHost: h\r\n" + line + b"\r\n\r\n"
    )
    head = answer.partition(b"\r\n\r\n")[0].lower()
    assert head.startswith((b"http/1.1 4", b"")), head
    assert b" 500 " not in head
    assert b"set-cookie" not in head


async def raw_answer(system: Whole, request: bytes) -> bytes:
    host, port = system.base_url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(request)
        await writer.drain()
        async with asyncio.timeout(20):
            return await reader.read(65_536)
    finally:
        writer.close()


async def test_every_answer_forbids_sniffing_framing_and_keeping(system: Whole) -> None:
    operations = operations_of(await system.document())
    for operation in operations:
        answer = await system.http.request(operation.method, operation.path)
        assert answer.headers["x-content-type-options"] == "nosniff", operation.name
        assert answer.headers["x-frame-options"] == "DENY", operation.name
        assert answer.headers["cache-control"] == "no-store", operation.name
        assert "default-src 'none'" in answer.headers["content-security-policy"], operation.name
        assert "server" not in answer.headers, operation.name


async def test_pages_of_other_sites_may_not_read_answers(system: Whole) -> None:
    token = f"Bearer {system.token(Role.AGENT)}"
    for origin, allowed in (("https://shop.example", True), ("https://evil.example", False)):
        headers = {"Origin": origin, "Authorization": token}
        answer = await system.http.get("/chat_router/v1/conversations", headers=headers)
        assert answer.headers.get("access-control-allow-origin") == (origin if allowed else None)


# -- sockets ---------------------------------------------------------------------------------------


class Refusal(NamedTuple):
    """The HTTP answer to a refused handshake."""

    status_code: int
    headers: httpx.Headers
    body: bytes | bytearray

    def json(self) -> Any:
        return json.loads(self.body)


async def refused(system: Whole, token: str | None, **rest: Any) -> Refusal:
    """The HTTP answer to a handshake that must not succeed."""
    with pytest.raises(InvalidStatus) as refusal:
        async with system.connected(token, **rest):
            pass
    found = refusal.value.response
    return Refusal(found.status_code, httpx.Headers(list(found.headers.raw_items())), found.body)


async def test_a_socket_without_a_token_that_holds_is_refused_before_it_opens(
    system: Whole,
) -> None:
    expired = system.signed(
        {
            "iss": "kefu",
            "aud": "kefu",
            "sub": AGENT,
            "shop_id": SHOP,
            "roles": ["agent"],
            "iat": 1_700_000_000,
            "exp": 1_700_000_600,
        }
    )
    forged = system.token(Role.AGENT)[:-6] + "AAAAAA"
    for token, code in (
        (None, "unauthorized"),
        (forged, "unauthorized"),
        (expired, "token_expired"),
    ):
        answer = await refused(system, token)
        assert (answer.status_code, answer.json()["code"]) == (401, code)
        assert answer.headers["content-type"] == "application/problem+json"


async def test_a_token_in_a_sockets_address_counts_for_nothing(system: Whole) -> None:
    for name in ("token", "access_token", "authorization"):
        answer = await refused(system, None, query=f"?{name}={system.token(Role.AGENT)}")
        assert answer.status_code == 401


async def test_a_role_that_has_no_socket_is_refused(system: Whole) -> None:
    answer = await refused(system, system.token(Role.SYSTEM))
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


async def test_a_page_of_another_site_cannot_use_the_cookie(system: Whole) -> None:
    cookie = {"Cookie": f"kefu_token={system.token(Role.AGENT)}"}
    for origin in ("https://evil.example", "null", "http://127.0.0.1"):
        answer = await refused(system, None, additional_headers=cookie, origin=origin)
        assert (answer.status_code, answer.json()["code"]) == (403, "origin_not_allowed")
    answer = await refused(system, None, additional_headers=cookie)
    assert answer.status_code == 403
    for origin in (system.base_url, "https://shop.example"):
        async with system.connected(None, additional_headers=cookie, origin=origin) as socket:
            await socket.send('{"frame": "hello"}')
            assert json.loads(await socket.recv())["frame"] == "welcome"


async def _all_frames(socket: Any) -> None:
    async with asyncio.timeout(20):
        while True:
            await socket.recv()


async def close_code(socket: Any) -> int:
    """The code that the server closes with, whatever it says before."""
    with pytest.raises(ConnectionClosed) as closed:
        await _all_frames(socket)
    frame = closed.value.rcvd
    assert frame is not None
    return int(frame.code)


@pytest.mark.parametrize(
    "frame, code",
    [
        pytest.param(
            '{"frame": "hello", "topics": ["' + "x" * 70_000 + '"]}', 1009, id="oversized"
        ),
        pytest.param(b"\x00\x01", 1003, id="binary"),
        pytest.param('{"frame": "ping"}', 1003, id="no hello"),
    ],
)
async def test_a_frame_that_breaks_the_rules_closes_the_socket(
    system: Whole, frame: str | bytes, code: int
) -> None:
    async with system.connected(system.token(Role.AGENT)) as socket:
        await socket.send(frame)
        assert await close_code(socket) == code


async def test_a_flood_of_frames_is_closed_and_others_go_on(system: Whole) -> None:
    async with system.listening(Role.AGENT) as other:
        async with system.connected(system.token(Role.BUYER)) as socket:
            await socket.send('{"frame": "hello"}')

            async def flood() -> None:
                while True:
                    await socket.send('{"frame": "ping"}')

            flooding = asyncio.create_task(flood())
            try:
                assert await close_code(socket) == 4429
            finally:
                flooding.cancel()
                await asyncio.gather(flooding, return_exceptions=True)
        await other.pong()


async def test_a_socket_ends_with_its_token(system: Whole) -> None:
    now = int(time.time())
    stated = {"iss": "kefu", "aud": "kefu", "sub": "late", "shop_id": SHOP, "roles": ["buyer"]}
    # Still good by the leeway for clocks that differ, though its time has come.
    token = system.signed(stated | {"iat": now - 600, "exp": now - 5})
    async with system.connected(token) as socket:
        assert await close_code(socket) == 4401


@pytest.mark.parametrize("role", [Role.AGENT, Role.SUPERVISOR, Role.OPERATIONS, Role.BUYER])
async def test_nobody_of_another_shop_is_shown_anything_of_this_one(
    system: Whole, role: Role
) -> None:
    """The same names in both shops, and a cursor that asks for all there ever was."""
    async with system.connected(system.token(role, shop=OTHER_SHOP)) as socket:
        everything = {"frame": "hello", "topics": ["shop"], "cursor": "agent:xiaomei=0,shop=0"}
        await socket.send(
            json.dumps(everything | ({"cursor": "buyer:lihua=0"} if role is Role.BUYER else {}))
        )
        for shop, text in ((SHOP, "只给本店"), (OTHER_SHOP, "最后一句")):
            body = {"client_message_id": f"{role}-{text}", "text": text}
            await system.ok("POST", "/chat_router/v1/messages", Role.BUYER, shop=shop, json=body)
        await _closed_and_told(system, OTHER_SHOP)
        shown = await _until_closed(socket)
    assert {frame["body"]["shop_id"] for frame in shown} == {OTHER_SHOP}
    assert "只给本店" not in json.dumps(shown, ensure_ascii=False)


async def _closed_and_told(system: Whole, shop: str) -> None:
    """Close the buyer's conversation: agent, board and buyer are all told of it."""
    found = await system.ok(
        "GET", "/chat_router/v1/conversations", Role.BUYER, shop=shop, params={"limit": 20}
    )
    for one in found["items"]:
        if one["state"] != "closed":
            place = f"/chat_router/v1/conversations/{one['conversation_id']}/close"
            await system.ok("POST", place, Role.BUYER, shop=shop)


async def _until_closed(socket: Any) -> list[dict[str, Any]]:
    shown: list[dict[str, Any]] = []
    closings = 0
    async with asyncio.timeout(30):
        while True:
            frame = json.loads(await socket.recv())
            if frame["frame"] == "event":
                shown.append(frame)
                closings = frame["type"] == "conversation.closed"
            if closings and frame["body"].get("reason"):
                return shown


async def test_a_complaint_reaches_the_board_of_its_own_shop_live(system: Whole) -> None:
    """And agents, who did not ask for the board, are not told."""
    task = {"product_id": "coat-001", "tag": (await a_tag(system))}
    async with (
        system.listening(Role.OPERATIONS) as board,
        system.listening(Role.OPERATIONS, None, OTHER_SHOP) as elsewhere,
        system.listening(Role.AGENT) as agent,
    ):
        opened = await system.ok("POST", "/feedback/v1/tasks", Role.OPERATIONS, json=task)
        shown = await board.until("event", "board.noticed", subject_id=opened["task_id"])
        assert shown["receiver"] == "shop"
        assert shown["body"]["notice"] == "task_opened"
        closing = {"answer": "已修", "outcome": "fixed"}
        place = f"/feedback/v1/tasks/{opened['task_id']}/closings"
        await system.ok("POST", place, Role.OPERATIONS, json=closing)
        closed = await board.until("event", "board.noticed", notice="task_closed")
        assert closed["body"]["outcome"] == "fixed"
        for other in (elsewhere, agent):
            assert "board.noticed" not in [one.get("type") for one in await other.pong()]


async def a_tag(system: System) -> str:
    found = await system.ok("GET", "/feedback/v1/taxonomies/current", Role.OPERATIONS)
    return str(found["categories"][0]["tags"][0]["tag"])
