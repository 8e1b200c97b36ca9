"""FB3 and FB4: what orders do not explain becomes one spike and one task, which is closed."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from common.auth.principal import Role
from common.contracts import FeedbackSpiked, FeedbackTaskClosed, FeedbackTaskOpened
from common.runtime import Service
from feedback.judging import judge_shop, prove_tasks
from tests.service.feedback.shop import (
    START,
    client,
    events_of,
    feedback,
    key,
    paid,
    query,
    review,
    settled,
)
from tests.support.harness import MovableClock, publish, until


async def sold(service: Service, per_day: int, days: int, *, first: int = 0) -> None:
    """Orders of the coat on each of the last days, today included."""
    events = [
        paid(first + 1000 * day + n, "coat", days=-day)
        for day in range(days)
        for n in range(per_day)
    ]
    await publish(service.bus, *events)


async def complained(service: Service, count: int, *, first: int = 0, days: float = 0) -> None:
    await publish(service.bus, *[review(first + n, days=days) for n in range(count)])
    await settled(service)


async def the_task(desk: httpx.AsyncClient) -> dict[str, Any]:
    async def first() -> dict[str, Any] | None:
        page = (await desk.get("/v1/tasks")).json()
        return page["items"][0] if page["items"] else None

    found = await until(first)
    assert found is not None
    return found


async def test_a_rise_opens_one_spike_and_one_task_by_itself(
    tmp_path: Path, database_url: str
) -> None:
    async with feedback(tmp_path, database_url) as service:
        await sold(service, 10, 35)
        await complained(service, 8)
        async with client(service, Role.OPERATIONS) as desk:
            task = await the_task(desk)
            spikes = (await desk.get("/v1/spikes", params={"state": "open"})).json()["items"]
        assert task["owner_role"] == "product"
        assert task["deadline_at"] == "2026-03-05T02:00:00Z"
        assert len(task["evidence"]) == 8
        assert "起球" in task["evidence"][0]["excerpt"]
        (spike,) = spikes
        assert (spike["count"], spike["exposure_orders"], spike["level"]) == (8, 30, "page")
        assert spike["task_id"] == task["task_id"]
        await settled(service)
        assert len(await events_of(service, FeedbackSpiked)) == 1
        assert len(await events_of(service, FeedbackTaskOpened)) == 1


async def test_more_complaints_do_not_ring_an_open_alarm_again(
    tmp_path: Path, database_url: str
) -> None:
    async with feedback(tmp_path, database_url) as service:
        await sold(service, 10, 35)
        await complained(service, 8)
        await judge_shop(service, "demo")
        await complained(service, 20, first=100)
        for _ in range(3):
            await judge_shop(service, "demo")
        await settled(service)
        assert len(await events_of(service, FeedbackSpiked)) == 1
        assert len(await query(service, "SELECT task_id FROM tasks")) == 1


async def test_the_same_rate_on_a_promotion_day_is_no_spike(
    tmp_path: Path, database_url: str
) -> None:
    async with feedback(tmp_path, database_url) as service:
        await sold(service, 10, 35)
        for day in range(7, 35):
            await complained(service, 1, first=1000 + day, days=-day)
        await sold(service, 60, 1, first=500_000)
        await complained(service, 7)
        await judge_shop(service, "demo")
        assert await query(service, "SELECT spike_id FROM spikes") == []
        ((streams,),) = await query(service, "SELECT streams FROM spike_watches")
        assert streams == 1


async def test_a_product_nobody_complained_of_so_far_is_heard_among_others_that_sell(
    tmp_path: Path, database_url: str
) -> None:
    """The coat pills, which would make four pilling hats look usual if only it were counted."""
    async with feedback(tmp_path, database_url) as service:
        others = [f"p{n}" for n in range(20)]
        for day in range(7, 35):
            coat = paid(day, *["coat"] * 10, days=-day), review(1000 + day, days=-day)
            await publish(service.bus, *coat)
        await publish(service.bus, *[paid(100 + n, *others, days=-20) for n in range(50)])
        await publish(service.bus, paid(200, *["hat"] * 20, days=-8), paid(201, *["hat"] * 10))
        await publish(service.bus, *[review(n, product="hat") for n in range(4)])
        await settled(service)
        await judge_shop(service, "demo")
        spikes = await query(service, "SELECT product_id, level, baseline_orders FROM spikes")
        assert spikes == [("hat", "page", 20)]


async def test_streams_judged_are_all_products_in_all_tags_in_use(
    tmp_path: Path, database_url: str
) -> None:
    async with feedback(tmp_path, database_url) as service:
        await publish(
            service.bus,
            paid(1, "coat", "scarf", days=-20),
            paid(2, "scarf", days=-5),
            paid(3, "sock", days=-5),  # in the guard gap only
            paid(4, "vest", days=-36),  # sold before all the test looks at
            review(1, days=-10),
            review(2, product="mug"),  # its orders are not known
            review(3, "洗了就掉色", days=-5),
            review(4, "太薄了", days=-40),
            review(5, "太酸", product="tea", days=0),
        )
        await settled(service)
        # The buyer of the tea thought better of it: its tag and the tea are in use no more.
        await publish(service.bus, review(5, "挺好喝的", product="tea", rating=5, days=0.01))
        await settled(service)
        assert (0,) in await query(service, "SELECT hits FROM daily_hits")
        await judge_shop(service, "demo")
        ((streams,),) = await query(service, "SELECT streams FROM spike_watches")
        products, tags = {"coat", "scarf", "sock", "mug"}, {"quality.pilling", "quality.fading"}
        assert streams == len(products) * len(tags)


async def test_one_buyer_alone_raises_no_alarm(tmp_path: Path, database_url: str) -> None:
    async with feedback(tmp_path, database_url) as service:
        await sold(service, 10, 35)
        await publish(service.bus, *[review(n, buyer="angry") for n in range(8)])
        await settled(service)
        await judge_shop(service, "demo")
        assert await query(service, "SELECT spike_id FROM spikes") == []


async def test_a_task_is_answered_closed_and_its_effect_proved(
    tmp_path: Path, database_url: str
) -> None:
    clock = MovableClock(START)
    async with feedback(tmp_path, database_url, clock) as service:
        await sold(service, 10, 35)
        await complained(service, 8)
        await judge_shop(service, "demo")
        async with client(service, Role.OPERATIONS) as desk:
            path = f"/v1/tasks/{(await the_task(desk))['task_id']}"
            body = {"text": "已联系工厂"}
            answered = await desk.post(f"{path}/answers", json=body, headers=key())
            assert (answered.status_code, answered.json()["state"]) == (201, "answered")
            closing = {"answer": "换了面料", "outcome": "fixed"}
            repeated = key()
            first = await desk.post(f"{path}/closings", json=closing, headers=repeated)
            again = await desk.post(f"{path}/closings", json=closing, headers=repeated)
            assert (first.status_code, again.status_code) == (201, 201)
            assert again.json() == first.json()
            late = await desk.post(f"{path}/closings", json=closing, headers=key())
            assert (late.status_code, late.json()["code"]) == (409, "task_closed")

            clock.advance(days=8)
            await publish(service.bus, *[paid(900_000 + n, "coat", days=3) for n in range(200)])
            await complained(service, 1, first=900, days=4)
            live = (await desk.get(path)).json()["proof"]
            assert (live["hits_after"], live["orders_after"], live["effect"]) == (1, 200, "fell")
            assert live["final"] is False
            await prove_tasks(service)
            proof = (await desk.get(path)).json()["proof"]
            assert proof["final"] is True
            assert proof["rate_after"] < proof["rate_before"]
        await settled(service)
        (event,) = await events_of(service, FeedbackTaskClosed)
        assert (event.outcome, event.closed_by, event.answer) == ("fixed", "wang", "换了面料")


async def test_after_closing_the_alarm_is_quiet_and_then_armed_again(
    tmp_path: Path, database_url: str
) -> None:
    clock = MovableClock(START)
    async with feedback(tmp_path, database_url, clock) as service:
        await sold(service, 10, 35)
        await complained(service, 8)
        await judge_shop(service, "demo")
        async with client(service, Role.OPERATIONS) as desk:
            task = await the_task(desk)
            closing = {"answer": "无需处理", "outcome": "not_a_problem"}
            await desk.post(f"/v1/tasks/{task['task_id']}/closings", json=closing, headers=key())
        await judge_shop(service, "demo")
        assert await query(service, "SELECT state FROM spikes") == [("quiet",)]
        clock.advance(days=3, hours=1)
        await judge_shop(service, "demo")
        assert await query(service, "SELECT state FROM spikes") == [("past",)]
        await publish(service.bus, *[paid(700_000 + n, "coat", days=3) for n in range(30)])
        await complained(service, 12, first=700, days=3)
        await judge_shop(service, "demo")
        states = await query(service, "SELECT state FROM spikes ORDER BY detected_at")
        assert states == [("past",), ("open",)]


async def test_a_task_nobody_closes_in_time_is_overdue(tmp_path: Path, database_url: str) -> None:
    clock = MovableClock(START)
    async with (
        feedback(tmp_path, database_url, clock) as service,
        client(service, Role.SUPERVISOR) as desk,
    ):
        new = {"product_id": "coat", "tag": "packaging.poor", "note": "请检查"}
        opened = await desk.post("/v1/tasks", json=new, headers=key())
        assert opened.status_code == 201
        assert opened.json()["deadline_at"] == "2026-03-03T02:00:00Z"
        clock.advance(days=1, seconds=1)

        async def overdue() -> list[Any]:
            service.wake([])
            page = await desk.get("/v1/tasks", params={"overdue": True, "owner": "warehouse"})
            return list(page.json()["items"])

        (found,) = await until(overdue)
        assert (found["state"], found["overdue"], found["note"]) == ("open", True, "请检查")


async def test_a_deadline_of_the_shops_own_policy(tmp_path: Path, database_url: str) -> None:
    async with (
        feedback(tmp_path, database_url) as service,
        client(service, Role.OPERATIONS) as desk,
    ):
        before = await desk.get("/v1/policies/current")
        assert before.headers["ETag"] == '"0"'
        policy = {"deadline_hours": {"warehouse": 6}}
        match = {"If-Match": before.headers["ETag"]}
        changed = await desk.put("/v1/policies/current", json=policy, headers=match)
        assert (changed.status_code, changed.headers["ETag"]) == (200, '"1"')
        stale = await desk.put("/v1/policies/current", json=policy, headers=match)
        assert (stale.status_code, stale.headers["ETag"]) == (412, '"1"')
        opened = await desk.post(
            "/v1/tasks", json={"product_id": "coat", "tag": "packaging.poor"}, headers=key()
        )
        deadline = datetime.fromisoformat(opened.json()["deadline_at"])
        assert deadline == datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
        assert deadline - START == timedelta(hours=6)


async def test_of_policies_set_at_once_from_one_version_one_is_kept(
    tmp_path: Path, database_url: str
) -> None:
    """They may come in one batch, whose changes are saved as one."""
    async with (
        feedback(tmp_path, database_url) as service,
        client(service, Role.OPERATIONS) as desk,
    ):

        async def put(days: int) -> httpx.Response:
            match = {"If-Match": tag}
            return await desk.put("/v1/policies/current", json={"proof_days": days}, headers=match)

        for _ in range(2):
            tag = (await desk.get("/v1/policies/current")).headers["ETag"]
            answers = await asyncio.gather(*(put(days) for days in range(1, 7)))
            assert sorted(answer.status_code for answer in answers) == [200] + [412] * 5
            (winner,) = [answer for answer in answers if answer.status_code == 200]
            now = await desk.get("/v1/policies/current")
            assert now.headers["ETag"] == winner.headers["ETag"] != tag
            assert now.json()["proof_days"] == 1 + answers.index(winner)
