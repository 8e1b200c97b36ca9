"""Two replicas on one database: the order's lock holds between processes too."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from common.bus.embedded import EmbeddedBus
from common.contracts import CaseClosed, CaseOpened
from tests.support.harness import MovableClock

from .conftest import Shop, open_shop


@pytest.fixture
async def replicas(
    tmp_path: Path, pg_database: str, clock: MovableClock
) -> AsyncIterator[tuple[Shop, Shop]]:
    bus = EmbeddedBus(tmp_path / "bus.db")
    async with (
        open_shop(tmp_path, pg_database, clock, bus) as one,
        open_shop(tmp_path, pg_database, clock, bus) as other,
    ):
        yield one, other
    await bus.close()


async def test_agreements_racing_on_two_replicas_refund_exactly_what_was_paid(
    replicas: tuple[Shop, Shop],
) -> None:
    one, _ = replicas
    await one.tell(one.order())
    await one.tell(*[one.refund(f"rf{n}", amount_fen=1_000) for n in range(20)])
    cases = await one.cases()
    body = {"amount_fen": 1_000, "refund_version": 1}
    answers = await asyncio.gather(
        *(
            replicas[n % 2].post(f"/v1/cases/{case['case_id']}/agreements", body)
            for n, case in enumerate(cases)
        )
    )
    assert sorted(answer.status_code for answer in answers) == [200] * 10 + [409] * 10
    assert await one.carry_out() == 10
    assert sum(case["refunded_fen"] for case in await one.cases()) == 10_000
    assert len(await one.events(CaseClosed)) == 10


async def test_one_snapshot_taken_by_two_replicas_opens_one_case(
    replicas: tuple[Shop, Shop],
) -> None:
    one, _ = replicas
    body = {
        "platform": "taobao",
        "refund_id": "rf1",
        "order_id": "o1",
        "buyer_id": "b1",
        "kind": "refund_only",
        "phase": "onsale",
        "status": "wait_seller_agree",
        "refund_version": 1,
        "amount_fen": 100,
        "reason": "质量问题",
        "created_at": "2026-03-02T10:00:00+08:00",
        "modified_at": "2026-03-02T10:00:00+08:00",
    }
    answers = await asyncio.gather(
        *(replicas[n % 2].post("/v1/refunds", body, "system") for n in range(20))
    )
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["case_id"] for answer in answers}) == 1
    assert len(await one.events(CaseOpened)) == 1
