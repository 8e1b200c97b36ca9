"""Bad input to the whole system, over HTTP and on every topic.

Each kind is answered with its documented code, changes nothing, and shows nothing of the inside.
"""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx
import msgspec
import pytest
import pytest_asyncio

from common.auth.principal import Role
from common.contracts import Event, ShopMessage, ShopOrder, ShopRefund, ShopReview, registry
from tests.support.operations import Operation, bodies, body_of, operations_of
from tests.support.whole import (
    BUYER,
    OTHER_SHOP,
    SHOP,
    STAFF,
    Scene,
    Whole,
    a_review,
    refund,
    set_scene,
    snapshot,
    whole,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

PROBLEM = "application/problem+json"
INSIDES = ("Traceback", 'File "', ".py", "sqlalchemy", "sqlite", "asyncpg", "SELECT ", "INSERT ")


class Ground(Whole):
    """A system in which one of everything exists, and all that can be asked of it."""

    scene: Scene
    operations: list[Operation]

    async def sent(
        self, operation: Operation, role: Role | None, *, shop: str = SHOP, **changed: Any
    ) -> httpx.Response:
        """A request that would be taken, but for what is `changed`."""
        headers = {"If-Match": "*"} if "If-Match" in operation.headers else {}
        headers |= changed.pop("headers", {})
        request: dict[str, Any] = {"headers": headers}
        if operation.takes_body and not {"content", "json"} & set(changed):
            request["json"] = body_of(operation, self.scene)
        place = operation.place(self.scene.ids)
        return await self.call(operation.method, place, role, shop=shop, **request, **changed)

    async def settled(self) -> dict[str, int]:
        """How many rows there are, once nothing is on its way any more."""
        await self.idle()
        return await self.rows()

    async def picture(self) -> dict[str, Any]:
        """What every reading operation shows of the shop, times of asking left out."""
        shown: dict[str, Any] = {}
        for operation in self.operations:
            if operation.method == "GET" and not operation.path.endswith("/queue"):
                day: dict[str, Any] = {"params": {"day": "2026-03-01"}}
                answer = await self.sent(
                    operation, operation.caller, **(day if "day" in operation.required else {})
                )
                assert answer.status_code == 200, f"{operation.name}: {answer.text}"
                shown[operation.name] = lasting(answer.json())
        return shown


MOMENTARY = ("server_now", "request_id", "last_seen_at", "expected_wait_seconds")


def lasting(body: Any) -> Any:
    if isinstance(body, dict):
        return {name: lasting(one) for name, one in body.items() if name not in MOMENTARY}
    return [lasting(one) for one in body] if isinstance(body, list) else body


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["sqlite", "postgres"])
async def ground(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Ground]:
    home = tmp_path_factory.mktemp("bad-input")
    node = request.getfixturevalue("postgres_node") if request.param == "postgres" else None
    url = node.create_database() if node else None
    try:
        async with whole(home, url) as system:
            system.__class__ = Ground
            assert isinstance(system, Ground)
            system.scene = await set_scene(system)
            system.operations = operations_of(await system.document())
            await system.idle()
            yield system
    finally:
        if node is not None and url is not None:
            node.drop_database(url)


def assert_problem(answer: httpx.Response, status: int, code: str, operation: Operation) -> None:
    told = f"{operation.name}: {answer.status_code} {answer.text[:400]}"
    assert answer.status_code == status, told
    assert answer.headers["content-type"] == PROBLEM, told
    assert answer.json()["code"] == code, told
    assert_nothing_of_the_inside(answer.text)


def assert_nothing_of_the_inside(text: str) -> None:
    assert not [sign for sign in INSIDES if sign in text], text[:600]


# -- over HTTP --------------------------------------------------------------------------------


async def test_every_operation_that_takes_a_body_is_in_the_table_of_bodies(ground: Ground) -> None:
    with_body = {one.name for one in ground.operations if one.takes_body}
    assert with_body == set(bodies(ground.scene))


BROKEN = b'{"text": "\xe4\xb8'
BODIES: dict[str, tuple[dict[str, Any], int]] = {
    "malformed JSON": ({"content": BROKEN, "headers": {"Content-Type": "application/json"}}, 400),
    "no JSON": ({"content": b"text=hi", "headers": {"Content-Type": "text/plain"}}, 415),
    "another shape": ({"json": ["a", "list"]}, 422),
    "an unknown member": ({"json": {"surprise": 1}}, 422),
    "too large": ({"json": {"text": "长" * 350_000}}, 413),
}
CODES = {
    400: "malformed_json",
    415: "unsupported_media_type",
    422: "invalid_input",
    413: "too_large",
}


@pytest.mark.parametrize("kind", BODIES)
async def test_a_body_that_is_no_good_is_refused_by_every_operation(
    ground: Ground, kind: str
) -> None:
    changed, status = BODIES[kind]
    before = await ground.settled()
    for operation in ground.operations:
        if operation.takes_body:
            answer = await ground.sent(operation, operation.caller, **changed)
            assert_problem(answer, status, CODES[status], operation)
    assert await ground.settled() == before


async def test_a_post_without_its_key_is_refused_by_every_operation(ground: Ground) -> None:
    before = await ground.settled()
    asking = [one for one in ground.operations if "Idempotency-Key" in one.headers]
    assert {one.name for one in asking} >= {
        one.name for one in ground.operations if one.method == "POST"
    }
    for operation in asking:
        for key in ("", "with space", "x" * 201):
            answer = await ground.sent(
                operation, operation.caller, headers={"Idempotency-Key": key}
            )
            assert_problem(answer, 400, "idempotency_key_missing", operation)
    assert await ground.settled() == before


async def test_a_put_without_its_version_is_refused_by_every_operation(ground: Ground) -> None:
    before = await ground.settled()
    for operation in ground.operations:
        if "If-Match" in operation.headers:
            for match, status, code in (
                ('"9007199254740991"', 412, "precondition_failed"),
                ("7", 400, "bad_request"),
            ):
                answer = await ground.sent(operation, operation.caller, headers={"If-Match": match})
                assert_problem(answer, status, code, operation)
    assert await ground.settled() == before


TOKENS = {
    "none": ("unauthorized", None),
    "no JWT": ("unauthorized", lambda ground: "sesame"),
    "unsigned": ("unauthorized", lambda ground: unsigned(claims())),
    "signed with the public key": ("unauthorized", lambda ground: keyed(claims(), "public")),
    "forged": ("unauthorized", lambda ground: ground.token(Role.ADMIN)[:-8] + "AAAAAAAA"),
    "expired": ("token_expired", lambda ground: ground.signed(claims(exp=1_700_000_000))),
    "from another issuer": ("unauthorized", lambda ground: ground.signed(claims(iss="else"))),
    "for another product": ("unauthorized", lambda ground: ground.signed(claims(aud="else"))),
    "without a shop": ("unauthorized", lambda ground: ground.signed(claims(shop_id=None))),
}


def claims(**changed: Any) -> dict[str, Any]:
    now = int(time.time())
    stated = {
        "iss": "kefu",
        "aud": "kefu",
        "sub": "admin",
        "shop_id": SHOP,
        "roles": [role.value for role in Role],
        "iat": now - 10,
        "exp": now + 600,
    }
    return {name: value for name, value in (stated | changed).items() if value is not None}


def unsigned(stated: Mapping[str, Any]) -> str:
    return f"{part({'alg': 'none', 'typ': 'JWT'})}.{part(stated)}."


def keyed(stated: Mapping[str, Any], secret: str) -> str:
    """HS256 with a string that anybody may know: a public key taken for a secret."""
    head = f"{part({'alg': 'HS256', 'typ': 'JWT'})}.{part(stated)}"
    return f"{head}.{coded(hmac.new(secret.encode(), head.encode(), hashlib.sha256).digest())}"


def part(value: Mapping[str, Any]) -> str:
    return coded(json.dumps(value).encode())


def coded(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode().rstrip("=")


@pytest.mark.parametrize("kind", TOKENS)
async def test_a_token_that_does_not_hold_opens_nothing(ground: Ground, kind: str) -> None:
    code, made = TOKENS[kind]
    headers = {"Authorization": f"Bearer {made(ground)}"} if made else {}
    before = await ground.settled()
    for operation in ground.operations:
        answer = await ground.sent(operation, None, headers=headers)
        assert_problem(answer, 401, code, operation)
        assert answer.headers["www-authenticate"].startswith("Bearer")
    assert await ground.settled() == before


async def test_a_token_in_the_address_or_in_a_cookie_counts_for_nothing(ground: Ground) -> None:
    token = ground.token(Role.ADMIN)
    for operation in ground.operations:
        given: dict[str, Any] = {"params": {"token": token, "access_token": token}}
        answer = await ground.sent(
            operation, None, headers={"Cookie": f"kefu_token={token}"}, **given
        )
        assert_problem(answer, 401, "unauthorized", operation)


async def test_every_operation_lets_in_the_roles_it_names_and_no_others(ground: Ground) -> None:
    before = await ground.settled()
    for operation in ground.operations:
        for role in STAFF:
            if not operation.may(role):
                answer = await ground.sent(operation, role)
                assert_problem(answer, 403, "forbidden", operation)
    assert await ground.settled() == before


async def test_every_role_that_an_operation_names_gets_past_the_door(ground: Ground) -> None:
    """The other half of it: with a body that is no good nothing happens, but nobody is kept out."""
    for operation in ground.operations:
        for role in operation.roles:
            no_good: dict[str, Any] = {"json": ["a", "list"]} if operation.takes_body else {}
            if operation.method == "POST" and not operation.takes_body:
                no_good["headers"] = {"Idempotency-Key": "with space"}
            answer = await ground.sent(operation, role, **no_good)
            kept_out = answer.status_code == 403 and answer.json()["code"] == "forbidden"
            assert not kept_out or "roles" not in answer.json(), f"{operation.name} {role}"


async def test_a_token_of_another_shop_reaches_nothing_of_this_one(ground: Ground) -> None:
    before = await ground.picture()
    # Reading first: later on the other shop has what it made itself.
    for operation in sorted(ground.operations, key=lambda one: one.method != "GET"):
        for role in sorted(operation.roles):
            answer = await ground.sent(operation, role, shop=OTHER_SHOP)
            told = f"{operation.name} as {role}: {answer.status_code} {answer.text[:400]}"
            assert answer.status_code < 500, told
            made = operation.method != "GET" and answer.is_success  # shows what was just sent
            assert made or f"-{SHOP}" not in answer.text, told
            assert f" {SHOP}" not in answer.text, told
            if operation.names_something and operation.method == "GET":
                assert answer.status_code == 404 or not found_anything(answer.json()), told
            if "conversation_id" in operation.path or "_id}" in operation.path.split("v1/")[1]:
                assert answer.status_code in ALONE.get(operation.name, (403, 404)), told
    await ground.idle()
    assert await ground.picture() == before


# Ids that every shop gives for itself: the other shop's own of that name is made, or is empty.
ALONE = {
    "PUT /chat_router/v1/agents/{agent_id}": (200,),
    "PUT /chat_router/v1/agents/{agent_id}/presence": (200, 403, 404),
    "GET /chat_router/v1/agents/{agent_id}": (200, 404),
    "PUT /chat_router/v1/groups/{group_id}": (200,),
    "GET /chat_router/v1/groups/{group_id}": (200, 404),
    "PUT /chat_router/v1/buyers/{buyer_id}": (200,),
    "GET /chat_router/v1/buyers/{buyer_id}": (200, 404),
    "PUT /order_ops/v1/reminder_blocklist/{buyer_id}": (200,),
    "GET /order_ops/v1/reminder_blocklist/{buyer_id}": (200, 404),
    "GET /feedback/v1/products/{product_id}/tags": (200,),
}


def found_anything(body: Any) -> bool:
    """Whether a list in the answer holds something."""
    lists = [value for value in body.values() if isinstance(value, list)]
    return any(lists)


async def test_another_shop_in_the_body_is_refused(ground: Ground) -> None:
    document = await ground.document()
    naming = [one for one in ground.operations if one.takes_body and names_shop(document, one)]
    assert len(naming) >= 6
    before = await ground.settled()
    for operation in naming:
        for shop in (OTHER_SHOP, "nowhere"):
            body = body_of(operation, ground.scene) | {"shop_id": shop}
            answer = await ground.sent(operation, operation.caller, json=body)
            assert_problem(answer, 403, "other_shop", operation)
    assert await ground.settled() == before


def names_shop(document: Mapping[str, Any], operation: Operation) -> bool:
    stated = document["paths"][operation.path][operation.method.lower()]["requestBody"]
    reference = stated["content"]["application/json"]["schema"].get("$ref", "")
    schema = document["components"]["schemas"][reference.rpartition("/")[2]]
    return "shop_id" in schema["properties"]


async def test_a_buyer_sees_and_moves_nothing_of_another_buyer(ground: Ground) -> None:
    before = await ground.picture()
    for operation in ground.operations:
        if operation.may(Role.BUYER) and operation.names_something:
            answer = await ground.call(
                operation.method,
                operation.place(ground.scene.ids),
                Role.BUYER,
                subject="mallory",
                json=body_of(operation, ground.scene),
                headers={"If-Match": "*"},
            )
            assert answer.status_code in (403, 404), f"{operation.name}: {answer.text}"
    assert await ground.picture() == before


ONCE = {
    "POST /chat_router/v1/messages": {"text": "还在吗"},
    "POST /order_ops/v1/orders": {"region": "杭州"},
    "POST /aftersales/v1/refunds": {"reason": "不想要了"},
    "POST /feedback/v1/reviews": {"text": "还行"},
    "POST /feedback/v1/tasks": {"note": "再看看"},
    "POST /order_ops/v1/orders/{order_id}/memos": {"text": "加急"},
    "POST /feedback/v1/tasks/{task_id}/answers": {"text": "查到了"},
    "POST /aftersales/v1/cases": {"reason": "不想要了"},
}


async def test_a_key_stands_for_one_body_and_a_repeat_changes_nothing(ground: Ground) -> None:
    for operation in ground.operations:
        if operation.name in ONCE:
            key = {"Idempotency-Key": f"once-{operation.name.replace(' ', '')}"}
            body = body_of(operation, ground.scene)
            first = await ground.sent(operation, operation.caller, json=body, headers=key)
            assert first.is_success, f"{operation.name}: {first.text}"
            before = await ground.settled()
            again = await ground.sent(operation, operation.caller, json=body, headers=key)
            assert (again.status_code, again.json()) == (first.status_code, first.json())
            other = body | ONCE[operation.name]
            refused = await ground.sent(operation, operation.caller, json=other, headers=key)
            assert_problem(refused, 422, "idempotency_mismatch", operation)
            assert await ground.settled() == before, operation.name


WRONG = [
    ("POST /order_ops/v1/orders", {"paid_fen": -1}),
    ("POST /order_ops/v1/orders", {"paid_fen": 1.5}),
    ("POST /order_ops/v1/orders", {"paid_fen": "100"}),
    ("POST /order_ops/v1/orders", {"total_fen": 10**30}),
    ("POST /order_ops/v1/orders", {"modified_at": "2026-03-01T02:00:00"}),
    ("POST /order_ops/v1/orders", {"modified_at": 1_772_330_400}),
    ("POST /order_ops/v1/orders", {"modified_at": "9999-12-31T23:59:59-23:59"}),
    ("POST /order_ops/v1/orders", {"status": "teleported"}),
    ("POST /order_ops/v1/orders", {"order_id": "a\u0000b"}),
    ("POST /order_ops/v1/orders", {"order_id": "'; DROP TABLE orders; --"}),
    ("POST /order_ops/v1/orders", {"version": -1}),
    ("POST /aftersales/v1/refunds", {"amount_fen": -1}),
    ("POST /aftersales/v1/refunds", {"modified_at": "2026-03-01T02:00:00"}),
    ("POST /aftersales/v1/refunds", {"reason": "x\u0000"}),
    ("POST /aftersales/v1/cases", {"amount_fen": -1}),
    ("POST /feedback/v1/reviews", {"rating": 6}),
    ("POST /feedback/v1/reviews", {"rating": "5"}),
    ("POST /feedback/v1/reviews", {"created_at": "yesterday"}),
    ("POST /feedback/v1/tasks", {"deadline_at": "2027-03-01T02:00:00"}),
    ("POST /feedback/v1/tasks", {"tag": "no.such_tag"}),
    ("POST /chat_router/v1/messages", {"sent_at": "2026-03-01T02:00:00"}),
    ("POST /chat_router/v1/messages", {"kind": "image", "media_url": "javascript:alert(1)"}),
    ("POST /chat_router/v1/messages", {"text": ""}),
    ("POST /chat_router/v1/messages", {"text": "长" * 4001}),
    ("POST /chat_router/v1/messages", {"conversation_id": "1 OR 1=1"}),
    ("PUT /chat_router/v1/shop_settings", {"timezone": "../../etc/passwd"}),
]


@pytest.mark.parametrize("name, changed", WRONG, ids=lambda value: str(value)[:60])
async def test_a_wrong_value_is_refused_and_leaves_nothing(
    ground: Ground, name: str, changed: dict[str, Any]
) -> None:
    (operation,) = [one for one in ground.operations if one.name == name]
    before = await ground.settled()
    answer = await ground.sent(
        operation, operation.caller, json=body_of(operation, ground.scene) | changed
    )
    assert_problem(answer, 422, "invalid_input", operation)
    wrong = str(next(iter(changed.values())))
    assert len(wrong) < 4 or wrong not in answer.text, "the answer repeats what was sent"
    assert await ground.settled() == before


async def test_an_order_never_goes_back_whatever_is_posted(ground: Ground) -> None:
    paid = {"status": "paid", "paid_fen": 20_600, "paid_at": "2026-03-01T02:05:00Z", "version": 5}
    posts = "POST", "/order_ops/v1/orders", Role.SYSTEM
    await ground.ok(*posts, json=snapshot("forward", **paid))
    for late in ({"version": 4}, {"version": 5, "status": "unpaid"}, {"version": 1}):
        await ground.ok(*posts, json=snapshot("forward", **late))
    found = await ground.ok("GET", "/order_ops/v1/orders/forward", Role.SYSTEM)
    assert (found["status"], found["paid_fen"]) == ("paid", 20_600)


@pytest.mark.parametrize("size", [20_000, 200_000])
async def test_a_huge_header_is_refused_and_the_server_goes_on(ground: Ground, size: int) -> None:
    try:
        answer = await ground.http.get(
            "/order_ops/v1/orders", headers={"Authorization": "Bearer " + "x" * size}
        )
        assert 400 <= answer.status_code < 500
    except httpx.TransportError:
        pass  # cut off before it was read to its end
    assert (await ground.http.get("/healthz")).status_code == 200


async def test_a_path_that_leads_nowhere_is_a_problem_too(ground: Ground) -> None:
    for path in ("/order_ops/v2/orders", "/order_ops/v1/nothing", "/order_ops/../../etc/passwd"):
        answer = await ground.call("GET", path, Role.ADMIN)
        assert answer.status_code == 404
        assert_nothing_of_the_inside(answer.text)
    answer = await ground.call("DELETE", "/order_ops/v1/orders", Role.ADMIN)
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")


# -- on the topics ------------------------------------------------------------------------------


def of(kind: type[Event], body: Mapping[str, Any]) -> Event:
    return msgspec.convert({"shop_id": SHOP, **body}, kind)


def a_message(number: str) -> Event:
    body = {
        "platform": "taobao",
        "buyer_id": "topical",
        "message_id": number,
        "sender": "buyer",
        "kind": "text",
        "text": "这件有 XL 吗",
        "sent_at": "2026-03-01T02:00:00Z",
    }
    return of(ShopMessage, body)


ORDER = snapshot("topical", buyer_id="topical")
INTAKES: dict[str, tuple[str, Any]] = {
    "shop.messages": ("chat_router", a_message),
    "shop.orders": (
        "order_ops",
        lambda n: of(ShopOrder, snapshot(f"topical-{n}", buyer_id="topical")),
    ),
    "shop.aftersales": ("aftersales", lambda n: of(ShopRefund, refund(f"topical-{n}", ORDER))),
    "shop.reviews": (
        "feedback",
        lambda n: of(ShopReview, a_review(f"topical-{n}", buyer_id="topical")),
    ),
}
TIME_FIELDS = {
    "shop.messages": "sent_at",
    "shop.orders": "modified_at",
    "shop.aftersales": "modified_at",
    "shop.reviews": "created_at",
}
SECRET = "13800138000"


def spoiled(topic: str, event: Event) -> dict[str, dict[str, Any]]:
    """What can be wrong with a record of this topic → how `Whole.put` is told; by letter code."""
    body = msgspec.to_builtins(event)
    type_ = registry.of(type(event)).ce_type.removesuffix(".v1")

    def value(**changed: Any) -> dict[str, Any]:
        kept = {name: one for name, one in (body | changed).items() if one is not ...}
        return {"value": json.dumps(kept, ensure_ascii=False).encode()}

    amount = {"shop.orders": "paid_fen", "shop.aftersales": "amount_fen", "shop.reviews": "rating"}
    return {
        "malformed_json: cut off": {"value": b'{"shop_id": "demo", "text": "' + SECRET.encode()},
        "malformed_json: empty": {"value": b""},
        "malformed_json: nested": {"value": b'{"x": ' + b"[" * 5_000},
        "missing_attribute: no id": {"headers": {"ce_id": None}},
        "missing_attribute: no type": {"headers": {"ce_type": None}},
        "invalid_attribute: naive time": {"headers": {"ce_time": "2026-03-01T02:00:00"}},
        "invalid_attribute: line break": {"headers": {"ce_source": f"erp\n{SECRET}"}},
        "invalid_attribute: XML": {"headers": {"content-type": "application/xml"}},
        "unknown_type: unheard of": {"headers": {"ce_type": "kefu.shop.wish.v1"}},
        "unknown_type: old style": {"headers": {"ce_type": "OrderPaid"}},
        "future_version: 2": {"headers": {"ce_type": f"{type_}.v2"}},
        "invalid_event: naive time": value(**{TIME_FIELDS[topic]: "2026-03-01T02:00:00"}),
        "invalid_event: negative": value(**{amount.get(topic, "sent_at"): -1}),
        "invalid_event: buyer missing": value(buyer_id=...),
        "invalid_event: NUL": value(buyer_id="a\0b"),
        "invalid_event: too long": value(buyer_id="x" * 129),
        "too_large: 1 MB": value(text="长" * 330_000),
        "wrong_topic: of another": {"headers": {"ce_type": "kefu.message.sent.v1"}},
        "wrong_shop: in the header": {"headers": {"ce_shopid": OTHER_SHOP}},
        "wrong_shop: in the body": value(shop_id=OTHER_SHOP),
        "wrong_key: none": {"key": b""},
        "wrong_key: of another": {"key": f"{SHOP}:somebody".encode()},
    }


@pytest.mark.parametrize("topic", INTAKES)
async def test_each_bad_record_is_a_letter_and_good_ones_around_it_take_effect(
    ground: Ground, topic: str
) -> None:
    service, make = INTAKES[topic]
    known = {letter.letter_id for letter in await ground.letters(service)}
    bad = spoiled(topic, make("bad"))
    for number, changed in enumerate(bad.values()):
        await ground.publish(make(str(number)))
        await ground.put(make("bad"), **changed)
    await ground.publish(make("last"))
    await ground.idle()
    letters = [x for x in await ground.letters(service) if x.letter_id not in known]
    assert sorted(letter.code for letter in letters) == sorted(kind.split(":")[0] for kind in bad)
    assert {letter.state for letter in letters} == {"poison"}
    for letter in letters:
        assert_nothing_of_the_inside(letter.reason)
        assert SECRET not in letter.reason, letter.reason
        assert "\n" not in letter.reason
        assert len(letter.reason) < 600
    assert await taken_in(ground, topic) == len(bad) + 1


async def taken_in(ground: Ground, topic: str) -> int:
    """How many of the good events show over the API."""
    places = {
        "shop.orders": "/order_ops/v1/orders?buyer_id=topical&limit=200",
        "shop.aftersales": "/aftersales/v1/cases?order_id=topical&limit=200",
        "shop.reviews": "/feedback/v1/items?source=review&product_id=coat-001&limit=200",
    }
    if topic == "shop.messages":
        found = await ground.ok("GET", "/chat_router/v1/conversations?buyer_id=topical", Role.ADMIN)
        (conversation,) = found["items"]
        place = f"/chat_router/v1/conversations/{conversation['conversation_id']}/messages"
        messages = await ground.ok("GET", f"{place}?limit=200", Role.ADMIN)
        return sum(one["sender_kind"] == "buyer" for one in messages["items"])
    found = await ground.ok("GET", places[topic], Role.ADMIN)
    texts = [json.dumps(one) for one in found["items"]]
    return sum("topical" in text for text in texts)


async def test_repeated_and_late_events_of_an_order_leave_it_where_it_was(ground: Ground) -> None:
    paid = snapshot(
        "onward", status="paid", paid_fen=20_600, paid_at="2026-03-01T02:05:00Z", version=7
    )
    late = snapshot("onward", version=3)
    known = await ground.letters("order_ops")
    for body in (paid, late, paid, late):
        await ground.publish(of(ShopOrder, body))
    await ground.publish(of(ShopOrder, paid), of(ShopOrder, paid), ids=("same", "same"))
    await ground.idle()
    found = await ground.ok("GET", "/order_ops/v1/orders/onward", Role.SYSTEM)
    assert (found["status"], found["buyer_id"]) == ("paid", BUYER)
    assert await ground.letters("order_ops") == known


async def test_the_same_ids_in_another_shop_are_another_order(ground: Ground) -> None:
    before = await ground.ok("GET", "/order_ops/v1/orders/o1-demo", Role.SYSTEM)
    body = snapshot("o1-demo", buyer_id="somebody", version=99)
    await ground.publish(msgspec.convert({"shop_id": OTHER_SHOP, **body}, ShopOrder))
    await ground.idle()
    assert await ground.ok("GET", "/order_ops/v1/orders/o1-demo", Role.SYSTEM) == before
    theirs = await ground.ok("GET", "/order_ops/v1/orders/o1-demo", Role.SYSTEM, shop=OTHER_SHOP)
    assert theirs["buyer_id"] == "somebody"
