"""Idempotency keys, cursors, ETags, shops and bodies, as a caller meets them."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.auth.principal import Role
from common.errors import BadRequest, InvalidCursor, PreconditionFailed
from common.web.etags import ExpectedVersion, etag, not_modified, parse_if_match
from common.web.pages import Moment, Number, pack_cursor, page_of, unpack_cursor

from .demo import MOMENTS
from .test_edge import assert_problem

Bearer = Callable[..., dict[str, str]]
NOTE = {"title": "问", "text": "有货吗?\n谢谢"}


def posting(bearer: Bearer, key: str = "k1", **rest: Any) -> dict[str, str]:
    return bearer(Role.BUYER, subject="b1", **rest) | {"Idempotency-Key": key}


# ---------------------------------------------------------------- bodies


async def test_malformed_json_is_named_as_such(client: httpx.AsyncClient, bearer: Bearer) -> None:
    headers = posting(bearer) | {"Content-Type": "application/json"}
    for body in (b"{", b"", b'{"title": "a"} x', b"\xff\xfe", b"[" * 100_000):
        answer = await client.post("/v1/notes", content=body, headers=headers)
        assert answer.status_code in (400, 422), answer.text
        assert answer.headers["content-type"] == "application/problem+json"
    answer = await client.post("/v1/notes", content=b"{", headers=headers)
    assert_problem(answer, 400, "malformed_json")


async def test_a_body_of_another_type_is_refused_as_such(
    client: httpx.AsyncClient, bearer: Bearer
) -> None:
    headers = posting(bearer) | {"Content-Type": "text/plain"}
    answer = await client.post("/v1/notes", content=b'{"title":"a","text":"b"}', headers=headers)
    assert_problem(answer, 415, "unsupported_media_type")


@pytest.mark.parametrize(
    "changed, pointer",
    [
        ({"price": -1}, "/price"),
        ({"price": 1.5}, "/price"),
        ({"price": "100"}, "/price"),
        ({"price": 10**18}, "/price"),
        ({"title": ""}, "/title"),
        ({"title": "a\x00b"}, "/title"),
        ({"title": "a\nb"}, "/title"),
        ({"text": "a\x1b[31mb"}, "/text"),
        ({"text": "x" * 4001}, "/text"),
        ({"text": "\ud800"}, "/text"),
        ({"due_at": "2026-03-08T10:10:15"}, "/due_at"),
        ({"due_at": "2026-03-08"}, "/due_at"),
        ({"due_at": "1772964615"}, "/due_at"),
        ({"due_at": 1772964615}, "/due_at"),
        ({"due_at": "0001-01-01T00:00:00+14:00"}, "/due_at"),
        ({"due_at": "2026-02-30T00:00:00Z"}, "/due_at"),
        ({"unknown": 1}, "/unknown"),
        ({"x/y~" * 100: 1}, "/" + "x~1y~0" * 16),
        ({"\ud800" * 100: 1}, ""),
        ({"shop_id": "a b"}, "/shop_id"),
        ({"shop_id": "demo\n"}, "/shop_id"),
    ],
)
async def test_what_does_not_fit_is_pointed_at_and_not_repeated(
    client: httpx.AsyncClient, bearer: Bearer, changed: dict[str, Any], pointer: str
) -> None:
    answer = await client.post(
        "/v1/notes",
        content=_json(NOTE | changed),
        headers=posting(bearer) | {"Content-Type": "application/json"},
    )
    problem = assert_problem(answer, 422, "invalid_input")
    assert [(one["in"], one["pointer"]) for one in problem["errors"]] == [("body", pointer)]
    assert "input" not in problem["errors"][0]


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()  # escapes half surrogates, which msgspec refuses


async def test_a_flood_of_errors_is_cut(client: httpx.AsyncClient, bearer: Bearer) -> None:
    body = NOTE | {f"x{n}": n for n in range(500)}
    answer = await client.post("/v1/notes", json=body, headers=posting(bearer))
    assert len(assert_problem(answer, 422, "invalid_input")["errors"]) == 20


async def test_times_are_taken_with_any_offset_and_given_in_utc(
    client: httpx.AsyncClient, bearer: Bearer
) -> None:
    body = NOTE | {"due_at": "2026-03-08T18:10:15.5+08:00"}
    answer = await client.post("/v1/notes", json=body, headers=posting(bearer))
    assert answer.status_code == 201
    assert answer.json()["due_at"] == "2026-03-08T10:10:15.500000Z"


@pytest.mark.parametrize(
    "path", ["/v1/notes/a%00b", "/v1/notes/a%0Ab", "/v1/notes/%20", "/v1/notes/%FF%FE%C3"]
)
async def test_odd_characters_in_a_path_are_no_identifier(
    client: httpx.AsyncClient, bearer: Bearer, path: str
) -> None:
    answer = await client.get(path, headers=bearer(Role.AGENT))
    assert answer.status_code in (404, 422, 200)
    if "FF" not in path:
        assert_problem(answer, 422, "invalid_input")


async def test_identifiers_of_platforms_may_be_chinese(
    client: httpx.AsyncClient, bearer: Bearer
) -> None:
    answer = await client.get("/v1/notes/小可爱88", headers=bearer(Role.AGENT))
    assert answer.status_code == 200


# ---------------------------------------------------------------- idempotency


async def test_a_change_without_a_key_is_refused(client: httpx.AsyncClient, bearer: Bearer) -> None:
    answer = await client.post("/v1/notes", json=NOTE, headers=bearer(Role.BUYER))
    assert_problem(answer, 400, "idempotency_key_missing")


@pytest.mark.parametrize("sent", [b"", b"a b", b"x" * 201, b"\xe5\xae\xa2", b"a\tb"])
async def test_a_key_is_one_to_two_hundred_visible_characters(
    client: httpx.AsyncClient, bearer: Bearer, sent: bytes
) -> None:
    headers = {name.encode(): value.encode() for name, value in bearer(Role.BUYER).items()}
    answer = await client.post("/v1/notes", json=NOTE, headers=headers | {b"Idempotency-Key": sent})
    assert_problem(answer, 400, "idempotency_key_missing")


async def test_the_hash_of_a_body_tells_two_requests_apart(
    client: httpx.AsyncClient, bearer: Bearer
) -> None:
    async def hash_of(body: dict[str, Any], **rest: Any) -> str:
        answer = await client.post("/v1/notes", json=body, headers=posting(bearer), **rest)
        return str(answer.json()["id"])

    first = await hash_of(NOTE)
    assert await hash_of(NOTE) == first
    assert await hash_of(NOTE | {"price": 1}) != first
    assert await hash_of(NOTE, params={"x": "1"}) != first


# ---------------------------------------------------------------- pages


async def test_pages_follow_one_another_without_gap_or_repeat(
    client: httpx.AsyncClient, bearer: Bearer
) -> None:
    seen: list[str] = []
    cursor: str | None = None
    for _ in range(4):
        params = {"limit": "3"} | ({"cursor": cursor} if cursor else {})
        page = (await client.get("/v1/notes", params=params, headers=bearer(Role.AGENT))).json()
        seen += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == [f"n{n}" for n in range(7)]
    assert cursor is None


@pytest.mark.parametrize(
    "cursor",
    [
        "!", "a", "客", "AAAA", "W10", "bnVsbA", "e30", pack_cursor(["x", "y"]),
        pack_cursor([1]), pack_cursor(["2026-03-08T10:00:00", "a"]),
        pack_cursor([MOMENTS[0], "a\x00"]), pack_cursor([MOMENTS[0], "a", "b"]),
    ],
)  # fmt: skip
async def test_a_cursor_that_was_not_handed_out_is_refused(
    client: httpx.AsyncClient, bearer: Bearer, cursor: str
) -> None:
    answer = await client.get("/v1/notes", params={"cursor": cursor}, headers=bearer(Role.AGENT))
    assert_problem(answer, 400, "invalid_cursor")


@pytest.mark.parametrize("limit", ["0", "201", "-1", "x", "1e2"])
async def test_a_page_holds_one_to_two_hundred(
    client: httpx.AsyncClient, bearer: Bearer, limit: str
) -> None:
    answer = await client.get("/v1/notes", params={"limit": limit}, headers=bearer(Role.AGENT))
    assert_problem(answer, 422, "invalid_input")


@given(st.text(max_size=700))
def test_any_text_is_a_cursor_or_refused(text: str) -> None:
    try:
        unpack_cursor(text, tuple[Moment, str])
    except InvalidCursor:
        return


@given(
    st.datetimes().map(lambda moment: moment.astimezone()),
    st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=40),
    st.integers(-(2**63), 2**63 - 1),
)
def test_a_cursor_brings_back_the_key_it_was_made_of(moment: Any, word: str, number: int) -> None:
    packed = pack_cursor([moment, word, number])
    assert unpack_cursor(packed, tuple[Moment, str, Number]) == (moment, word, number)


def test_the_last_page_has_no_cursor() -> None:
    assert page_of([1, 2], 2, lambda n: [n]).next_cursor is None
    assert page_of([], 2, lambda n: [n]).next_cursor is None
    assert page_of([1, 2, 3], 2, lambda n: [n]).next_cursor == pack_cursor([2])


# ---------------------------------------------------------------- ETags


async def test_an_update_says_which_version_it_changes(
    client: httpx.AsyncClient, bearer: Bearer
) -> None:
    chief = bearer(Role.SUPERVISOR)
    path, body = "/v1/notes/n1", {"title": "新"}
    tag = (await client.get(path, headers=chief)).headers["etag"]
    assert tag == '"3"'
    assert_problem(await client.put(path, json=body, headers=chief), 428, "precondition_required")
    stale = await client.put(path, json=body, headers=chief | {"If-Match": '"2"'})
    assert_problem(stale, 412, "precondition_failed")
    assert stale.headers["etag"] == tag
    fresh = await client.put(path, json=body, headers=chief | {"If-Match": tag})
    assert fresh.status_code == 200


@pytest.mark.parametrize(
    "value, versions",
    [
        ("*", None),
        (' "7" ', {7}),
        ('"7", "8"', {7, 8}),
        ('W/"7"', set()),
        ('"foreign"', set()),
        ('W/"7", "8"', {8}),
    ],
)
def test_if_match_names_versions(value: str, versions: set[int] | None) -> None:
    assert parse_if_match(value).versions == versions


@pytest.mark.parametrize("value", ["", "7", '"7', '"7" "8"', "x" * 600, '"7",', "\xe9"])
def test_a_broken_if_match_is_refused(value: str) -> None:
    with pytest.raises(BadRequest):
        parse_if_match(value)


def test_a_weak_or_foreign_etag_matches_no_version() -> None:
    with pytest.raises(PreconditionFailed):
        parse_if_match('W/"7"').check(7)
    ExpectedVersion(None).check(7)


def test_a_read_is_spared_when_the_caller_has_this_version() -> None:
    assert not_modified('"6", W/"7"', 7)
    assert not_modified("*", 7)
    assert not not_modified('"6"', 7)
    assert not not_modified(None, 7)
    assert etag(7) == '"7"'


# ---------------------------------------------------------------- roles and shops


async def test_a_role_too_low_is_refused_with_the_roles_that_would_do(
    client: httpx.AsyncClient, bearer: Bearer
) -> None:
    headers = bearer(Role.AGENT) | {"If-Match": "*"}
    answer = await client.put("/v1/notes/n1", json={"title": "a"}, headers=headers)
    assert assert_problem(answer, 403, "forbidden")["roles"] == "supervisor"


@pytest.mark.parametrize("shop", ["other", "no-such-shop"])
async def test_another_shop_is_refused_whether_or_not_it_exists(
    client: httpx.AsyncClient, bearer: Bearer, shop: str
) -> None:
    answer = await client.get(f"/v1/shops/{shop}/notes", headers=bearer(Role.ADMIN))
    assert_problem(answer, 403, "other_shop")
    posted = await client.post("/v1/notes", json=NOTE | {"shop_id": shop}, headers=posting(bearer))
    assert_problem(posted, 403, "other_shop")
    own = await client.get("/v1/shops/demo/notes", headers=bearer(Role.ADMIN))
    assert own.status_code == 200


async def test_a_missing_token_is_told_before_anything_else(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/notes", json={"nonsense": 1})
    assert_problem(answer, 401, "unauthorized")
    assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    "value",
    ["Basic YTpi", "Bearer", "Bearer ", "bearer x.y.z", "Bearer \xe9\xe9", "Bearer " + "a" * 9000],
)
async def test_garbage_for_a_token_is_no_token(client: httpx.AsyncClient, value: str) -> None:
    answer = await client.get("/v1/notes", headers={b"Authorization": value.encode("latin-1")})
    assert_problem(answer, 401, "unauthorized")


async def test_a_token_in_the_address_is_not_looked_at(
    client: httpx.AsyncClient, token: Callable[..., str]
) -> None:
    for name in ("token", "access_token", "kefu_token"):
        answer = await client.get("/v1/notes", params={name: token(Role.AGENT)})
        assert_problem(answer, 401, "unauthorized")


async def test_the_cookie_opens_sockets_only(
    client: httpx.AsyncClient, token: Callable[..., str]
) -> None:
    # A page of another site could send it along with a form.
    answer = await client.get("/v1/notes", headers={"Cookie": f"kefu_token={token(Role.AGENT)}"})
    assert_problem(answer, 401, "unauthorized")
