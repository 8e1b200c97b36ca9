"""The patient client: the same request again until answered, and never after a final refusal."""

from collections.abc import AsyncIterator

import httpx
import pytest
import respx

from kefu.replay import http as client_module
from kefu.replay.http import GaveUp, Http, RefusedByApi, Urls

BASE = "http://system.test"
PROBLEM = {"code": "conflict", "detail": "not now", "status": 409}


@pytest.fixture
async def http(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Http]:
    monkeypatch.setattr(client_module, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(client_module, "LONGEST_PAUSE", 0.002)
    client = Http(Urls(BASE), patience=5.0)
    yield client
    await client.close()


@respx.mock
async def test_a_lost_connection_is_waited_out_with_the_same_key_and_body(http: Http) -> None:
    route = respx.post(f"{BASE}/order_ops/v1/orders").mock(
        side_effect=[
            httpx.ConnectError("refused"),
            httpx.ReadError("reset"),
            httpx.Response(503, headers={"retry-after": "0"}),
            httpx.Response(429),
            httpx.Response(200, json={"order_id": "o1"}, headers={"etag": '"3"'}),
        ]
    )
    answer = await http.post("order_ops", "/v1/orders", "token", "key-1", {"order_id": "o1"})
    assert answer.body == {"order_id": "o1"}
    assert answer.etag == '"3"'
    sent = [(c.request.headers["idempotency-key"], c.request.content) for c in route.calls]
    assert len(sent) == 5
    assert len(set(sent)) == 1


@respx.mock
async def test_an_outage_begins_with_the_first_failure_and_ends_with_the_first_answer(
    http: Http,
) -> None:
    seen: list[bool] = []

    def answer(_: httpx.Request) -> httpx.Response:
        seen.append(http.outage.since is not None)
        if len(seen) < 3:
            raise httpx.ConnectError("refused")
        return httpx.Response(200, json={})

    respx.get(f"{BASE}/feedback/v1/spikes").mock(side_effect=answer)
    await http.get("feedback", "/v1/spikes", "token")
    assert seen == [False, True, True]
    assert http.outage.since is None
    assert http.outage.count == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 412, 422, 500])
@respx.mock
async def test_a_final_refusal_is_raised_at_once_with_its_code(http: Http, status: int) -> None:
    route = respx.get(f"{BASE}/feedback/v1/items").respond(status, json=PROBLEM)
    with pytest.raises(RefusedByApi) as refused:
        await http.get("feedback", "/v1/items", "token")
    assert (refused.value.status, refused.value.code) == (status, "conflict")
    assert route.call_count == 1


@respx.mock
async def test_a_refusal_without_a_problem_document_is_still_a_refusal(http: Http) -> None:
    respx.get(f"{BASE}/feedback/v1/items").respond(500, text="<html>oops</html>")
    with pytest.raises(RefusedByApi, match="not_a_problem_document"):
        await http.get("feedback", "/v1/items", "token")


@respx.mock
async def test_patience_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "FIRST_PAUSE", 0.001)
    respx.get(f"{BASE}/feedback/v1/items").mock(side_effect=httpx.ConnectError("refused"))
    http = Http(Urls(BASE), patience=0.02)
    with pytest.raises(GaveUp, match="refused"):
        await http.get("feedback", "/v1/items", "token")
    await http.close()


@respx.mock
async def test_pages_are_read_to_the_last(http: Http) -> None:
    respx.get(f"{BASE}/feedback/v1/items", params={"cursor": "next"}).respond(
        json={"items": [3], "next_cursor": None}
    )
    respx.get(f"{BASE}/feedback/v1/items").respond(json={"items": [1, 2], "next_cursor": "next"})
    assert await http.pages("feedback", "/v1/items", "token") == [1, 2, 3]


def test_one_service_may_be_elsewhere() -> None:
    urls = Urls("http://a:1/", {"feedback": "http://b:2"})
    assert urls.of("order_ops") == "http://a:1/order_ops"
    assert urls.of("feedback") == "http://b:2"
    assert urls.socket_of("chat_router", "/v1/socket") == "ws://a:1/chat_router/v1/socket"
