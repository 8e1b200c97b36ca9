"""Deadlines on real timers, with a clock that is moved by hand."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from common.bus.embedded import EmbeddedBus
from common.contracts import CaseDeadlineNear, CommandRequested
from tests.support.harness import MovableClock, until

from .conftest import Shop, open_shop


async def state_becomes(shop: Shop, state: str) -> Any:
    async def there() -> Any:
        case = await shop.case()
        return case if case["state"] == state else None

    return await until(there)


async def warned(shop: Shop, times: int) -> None:
    async def enough() -> bool:
        return len(await shop.events(CaseDeadlineNear)) >= times

    await until(enough)


@pytest.mark.parametrize(
    "phase, action, state",
    [
        ("onsale", "auto_agree", "wait_buyer_return_goods"),
        ("aftersale", "auto_reject", "seller_refuse_buyer"),
    ],
)
async def test_silence_ends_by_the_policy_of_the_phase_after_a_warning(
    shop: Shop, clock: MovableClock, phase: str, action: str, state: str
) -> None:
    await shop.tell(shop.order(), shop.refund(kind="return_and_refund", phase=phase))
    assert (await shop.case())["deadline_action"] == action
    clock.advance(days=4)
    await warned(shop, 1)
    clock.advance(days=1)
    await state_becomes(shop, state)
    assert len(await shop.events(CaseDeadlineNear)) == 1


async def test_a_deadline_that_passed_while_the_service_was_down_is_paid_after_restart(
    tmp_path: Path, database_url: str, clock: MovableClock
) -> None:
    bus = EmbeddedBus(tmp_path / "bus.db")
    async with open_shop(tmp_path, database_url, clock, bus) as shop:
        await shop.tell(shop.order(), shop.refund())
    clock.advance(days=3)
    async with open_shop(tmp_path, database_url, clock, bus) as shop:
        await state_becomes(shop, "refunding")
        assert await shop.carry_out() == 1
        await state_becomes(shop, "success")
        assert len(await shop.events(CommandRequested)) == 1
    await bus.close()


async def test_a_deadline_that_moved_fires_at_its_new_time(shop: Shop, clock: MovableClock) -> None:
    start = clock.now
    await shop.tell(shop.order(), shop.refund(deadline_at=start + timedelta(hours=30)))
    await shop.tell(shop.refund(minute=1, deadline_at=start + timedelta(days=4)))
    clock.advance(days=3, hours=1)
    await warned(shop, 1)
    assert (await shop.case())["state"] == "wait_seller_agree"
    clock.advance(days=1)
    await state_becomes(shop, "refunding")


async def test_a_hundred_deadlines_of_one_moment_each_fire_once(
    shop: Shop, clock: MovableClock
) -> None:
    orders = [shop.order(f"o{n}") for n in range(100)]
    refunds = [shop.refund(f"rf{n}", order_id=f"o{n}") for n in range(100)]
    await shop.tell(*orders, *refunds)
    clock.advance(days=2)

    async def all_paid() -> bool:
        return len(await shop.cases(state="refunding")) == 100

    await until(all_paid)
    commands = await shop.events(CommandRequested)
    assert len(commands) == len({command.target_id for command in commands}) == 100


async def test_an_agreement_at_the_moment_of_the_deadline_pays_once(
    shop: Shop, clock: MovableClock
) -> None:
    await shop.tell(shop.order(), shop.refund())
    path = f"/v1/cases/{(await shop.case())['case_id']}/agreements"
    clock.advance(days=2)
    answers = await asyncio.gather(
        *(shop.post(path, {"amount_fen": 10_000, "refund_version": 1}) for _ in range(5))
    )
    assert {answer.status_code for answer in answers} <= {200, 409}
    await state_becomes(shop, "refunding")
    assert await shop.carry_out() == 1
