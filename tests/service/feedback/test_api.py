"""The HTTP edge: who may do what, bad input, repeats, pages and corrections."""

import asyncio
from pathlib import Path
from typing import Any

from common.auth.principal import Role
from common.contracts import FeedbackTagged
from feedback.tasks import MOST_ANSWERS
from tests.service.feedback.shop import (
    client,
    events_of,
    feedback,
    key,
    paid,
    query,
    review,
    settled,
)
from tests.support.harness import publish

BODY: dict[str, Any] = {
    "review_id": "rv-1",
    "order_id": "o-1",
    "product_id": "coat",
    "buyer_id": "b-1",
    "rating": 1,
    "text": "第一次洗就掉色",
    "created_at": "2026-03-02T10:00:00+08:00",
}
CORRECTION = {"tags": ["quality.odour"], "sentiment": "negative"}


async def test_a_review_over_http_is_the_review_from_the_bus(
    tmp_path: Path, database_url: str
) -> None:
    async with feedback(tmp_path, database_url) as service, client(service, Role.SYSTEM) as system:
        answers = await asyncio.gather(
            *(system.post("/v1/reviews", json=BODY, headers=key()) for _ in range(8))
        )
        assert {answer.status_code for answer in answers} == {202}
        assert sum(answer.json()["created"] for answer in answers) == 1
        await publish(service.bus, review(1, "第一次洗就掉色", rating=1))
        await settled(service)
        assert len(await events_of(service, FeedbackTagged)) == 1
        assert await query(service, "SELECT tag, hits FROM daily_hits") == [("quality.fading", 1)]


async def test_the_same_key_with_another_body_is_refused(tmp_path: Path, database_url: str) -> None:
    async with feedback(tmp_path, database_url) as service, client(service, Role.SYSTEM) as system:
        once = key()
        first = await system.post("/v1/reviews", json=BODY, headers=once)
        other = await system.post("/v1/reviews", json=BODY | {"rating": 5}, headers=once)
        assert (first.status_code, other.status_code) == (202, 422)
        assert other.json()["code"] == "idempotency_mismatch"
        assert await query(service, "SELECT rating FROM items") == [(1,)]


async def test_an_answer_is_signed_with_the_highest_role_of_who_gives_it(
    tmp_path: Path, database_url: str
) -> None:
    async with (
        feedback(tmp_path, database_url) as service,
        client(service, Role.AGENT, Role.OPERATIONS) as both,
    ):
        body = {"product_id": "coat", "tag": "quality.fading"}
        opened = await both.post("/v1/tasks", json=body, headers=key())
        path = f"/v1/tasks/{opened.json()['task_id']}"
        await both.post(f"{path}/answers", json={"text": "已联系工厂"}, headers=key())
        (answer,) = (await both.get(path)).json()["answers"]
        assert (answer["by"], answer["role"]) == ("wang", "operations")


async def test_one_answer_more_than_a_task_takes_is_refused_and_the_task_can_be_closed(
    tmp_path: Path, database_url: str
) -> None:
    async with (
        feedback(tmp_path, database_url) as service,
        client(service, Role.OPERATIONS) as desk,
    ):
        body = {"product_id": "coat", "tag": "quality.fading"}
        opened = await desk.post("/v1/tasks", json=body, headers=key())
        path = f"/v1/tasks/{opened.json()['task_id']}"
        for n in range(MOST_ANSWERS):
            said = await desk.post(f"{path}/answers", json={"text": f"第 {n} 次"}, headers=key())
            assert said.status_code == 201, said.text
        refused = await desk.post(f"{path}/answers", json={"text": "再来"}, headers=key())
        assert (refused.status_code, refused.json()["code"]) == (409, "too_many_answers")
        assert refused.json()["most"] == MOST_ANSWERS
        closing = {"answer": "换了面料", "outcome": "fixed"}
        closed = await desk.post(f"{path}/closings", json=closing, headers=key())
        assert closed.status_code == 201
        assert len((await desk.get(path)).json()["answers"]) == MOST_ANSWERS + 1


BAD_REVIEWS: list[tuple[dict[str, Any], int]] = [
    ({"rating": 0}, 422),
    ({"rating": 6}, 422),
    ({"rating": "5"}, 422),
    ({"created_at": "2026-03-02T10:00:00"}, 422),
    ({"text": "x" * 4001}, 422),
    ({"text": "a\x00b"}, 422),
    ({"product_id": ""}, 422),
    ({"platform": "nowhere"}, 422),
    ({"extra": 1}, 422),
    ({"shop_id": "other"}, 403),
]


async def test_bad_reviews_are_refused_and_leave_nothing(
    tmp_path: Path, sqlite_database: str
) -> None:
    async with (
        feedback(tmp_path, sqlite_database) as service,
        client(service, Role.SYSTEM) as system,
    ):
        for change, status in BAD_REVIEWS:
            answer = await system.post("/v1/reviews", json=BODY | change, headers=key())
            assert answer.status_code == status, change
            assert answer.headers["content-type"].startswith("application/problem+json")
        unkeyed = await system.post("/v1/reviews", json=BODY)
        assert unkeyed.status_code == 400
        assert await query(service, "SELECT item_id FROM items") == []


ITEM_PATHS = {"/v1/items", "/v1/taxonomies/current"}
ALL_PATHS = ITEM_PATHS | {"/v1/tasks", "/v1/spikes", "/v1/products/coat/tags"}
MAY_READ: dict[Role, set[str]] = {
    Role.BUYER: set(),
    Role.SYSTEM: set(),
    Role.AGENT: ITEM_PATHS,
    Role.SUPERVISOR: ALL_PATHS,
    Role.OPERATIONS: ALL_PATHS,
    Role.ADMIN: ALL_PATHS,
}


async def test_each_role_does_what_it_may(tmp_path: Path, sqlite_database: str) -> None:
    async with feedback(tmp_path, sqlite_database) as service:
        for role, allowed in MAY_READ.items():
            async with client(service, role) as caller:
                found = {path: (await caller.get(path)).status_code for path in ALL_PATHS}
                posted = await caller.post("/v1/reviews", json=BODY, headers=key())
            assert found == {path: 200 if path in allowed else 403 for path in ALL_PATHS}, role
            assert posted.status_code == (202 if role is Role.SYSTEM else 403), role


async def test_another_shops_token_sees_nothing(tmp_path: Path, database_url: str) -> None:
    async with feedback(tmp_path, database_url) as service:
        await publish(service.bus, review(1))
        await settled(service)
        async with client(service, Role.ADMIN, shop_id="other") as stranger:
            assert (await stranger.get("/v1/items")).json()["items"] == []
            assert (await stranger.get("/v1/items/review:rv-1")).status_code == 404
            path = "/v1/items/review:rv-1/corrections"
            refused = await stranger.post(path, json=CORRECTION, headers=key())
            assert refused.status_code == 404
        assert await query(service, "SELECT correction_id FROM corrections") == []


async def test_a_correction_moves_the_count_and_survives_the_next_delivery(
    tmp_path: Path, database_url: str
) -> None:
    async with feedback(tmp_path, database_url) as service:
        await publish(service.bus, review(1))
        await settled(service)
        async with client(service, Role.OPERATIONS) as desk:
            path = "/v1/items/review:rv-1"
            done = await desk.post(f"{path}/corrections", json=CORRECTION, headers=key())
            assert done.status_code == 201
            await publish(service.bus, review(1))
            await settled(service)
            item = (await desk.get(path)).json()
            assert item["corrected"] is True
            assert [tag["tag"] for tag in item["tags"]] == ["quality.odour"]
            tags = (await desk.get("/v1/products/coat/tags")).json()["tags"]
            assert [(tag["tag"], tag["hits"]) for tag in tags] == [("quality.odour", 1)]
            by_old = (await desk.get("/v1/items", params={"tag": "quality.pilling"})).json()
            by_new = (await desk.get("/v1/items", params={"tag": "quality.odour"})).json()
            assert (len(by_old["items"]), len(by_new["items"])) == (0, 1)


async def test_a_correction_with_an_unknown_tag_is_refused(
    tmp_path: Path, sqlite_database: str
) -> None:
    async with feedback(tmp_path, sqlite_database) as service:
        await publish(service.bus, review(1))
        await settled(service)
        async with client(service, Role.OPERATIONS) as desk:
            body = {"tags": ["quality.unheard_of"], "sentiment": "negative"}
            answer = await desk.post("/v1/items/review:rv-1/corrections", json=body, headers=key())
            assert answer.status_code == 422
            assert answer.json()["unknown_tags"] == ["quality.unheard_of"]


async def test_pages_show_every_item_once_newest_first(tmp_path: Path, database_url: str) -> None:
    async with feedback(tmp_path, database_url) as service:
        # Five share a moment, so that the cursor must look at more than the time.
        await publish(service.bus, *[review(n, days=-(n // 5)) for n in range(23)])
        await settled(service)
        async with client(service, Role.AGENT) as agent:
            seen: list[dict[str, Any]] = []
            cursor: str | None = None
            while True:
                params = {"limit": 4} | ({"cursor": cursor} if cursor else {})
                page = (await agent.get("/v1/items", params=params)).json()
                seen.extend(page["items"])
                cursor = page["next_cursor"]
                if cursor is None:
                    break
            days = (await agent.get("/v1/items", params={"day": "2026-03-01"})).json()["items"]
        assert len(seen) == len({item["item_id"] for item in seen}) == 23
        assert [item["occurred_at"] for item in seen] == sorted(
            (item["occurred_at"] for item in seen), reverse=True
        )
        assert len(days) == 5


async def test_product_tags_are_rates_per_hundred_orders(tmp_path: Path, database_url: str) -> None:
    async with feedback(tmp_path, database_url) as service:
        await publish(service.bus, *[paid(n) for n in range(50)], *[review(n) for n in range(4)])
        await settled(service)
        async with client(service, Role.SUPERVISOR) as desk:
            found = (await desk.get("/v1/products/coat/tags")).json()
            assert found["orders"] == 50
            assert found["tags"] == [{"tag": "quality.pilling", "hits": 4, "per_100_orders": 8.0}]
            span = {"from": "2026-03-03", "to": "2026-03-01"}
            wrong = await desk.get("/v1/products/coat/tags", params=span)
            none = await desk.get("/v1/products/coat/tags", params={"from": "2026-02-30"})
            first = await desk.get("/v1/products/coat/tags", params={"to": "0001-01-01"})
            assert [wrong.status_code, none.status_code, first.status_code] == [422, 422, 422]
