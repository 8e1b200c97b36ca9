"""The promises of timers, on both databases, with a clock that the tests move."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from common.bus.embedded import EmbeddedBus
from common.runtime import Service
from common.runtime.items import CommandItem, TimerItem
from common.runtime.timers import MAX_ATTEMPTS, Timers, page
from tests.support.harness import MovableClock, make
from tests.support.tally.reading import count_of, rows, size_of
from tests.support.tally.service import TALLY, Add, ArmExpiry, CancelExpiry, Expire

Rig = tuple[Service, Timers, MovableClock]


@pytest.fixture
async def rig(tmp_path: Path, database_url: str) -> AsyncIterator[Rig]:
    """A service whose timers fire when the test says so."""
    clock = MovableClock()
    service = await make(TALLY, tmp_path, database_url, clock=clock)
    timers = service._loops["timers"]
    assert isinstance(timers, Timers)
    yield service, timers, clock
    await service.stop()
    await service.bus.close()


async def expired(service: Service, product: str) -> int:
    """How often a product's timer has fired."""
    found = await rows(service, "SELECT texts FROM tallies WHERE product_id = :p", p=product)
    return str(found[0][0]).count("expired") if found else 0


async def due_of(service: Service, product: str) -> tuple[datetime, int]:
    async with service.database.read() as conn:
        [timer] = [t for t in await page(conn) if t.key == f"expire/{product}"]
    return timer.run_at, timer.attempts


async def break_timer(service: Service, **values: str) -> None:
    """Change what is stored of every timer, as another version of the code would have left it."""
    sets = ", ".join(f"{name} = :{name}" for name in values)
    async with service.database.write() as conn:
        await conn.execute(text(f"UPDATE timers SET {sets}"), values)


async def test_a_timer_fires_when_it_is_due_and_not_before(rig: Rig) -> None:
    service, timers, clock = rig
    await service.submit(Add("s1", "p1", 7))
    await service.submit(ArmExpiry("s1", "p1", 60))
    clock.advance(seconds=59)
    assert await timers.fire_due() == (0, clock() + timedelta(seconds=1))
    clock.advance(seconds=1)
    assert (await timers.fire_due())[0] == 1
    assert await expired(service, "p1") == 1
    assert await timers.fire_due() == (0, None)


async def test_a_timer_armed_again_fires_at_its_new_time_only(rig: Rig) -> None:
    service, timers, clock = rig
    await service.submit(Add("s1", "p1", 7))
    await service.submit(ArmExpiry("s1", "p1", 60))
    await service.submit(ArmExpiry("s1", "p1", 600))
    clock.advance(seconds=599)
    assert (await timers.fire_due())[0] == 0
    clock.advance(seconds=1)
    assert (await timers.fire_due())[0] == 1
    assert await expired(service, "p1") == 1


async def test_a_cancelled_timer_never_fires(rig: Rig) -> None:
    service, timers, clock = rig
    await service.submit(Add("s1", "p1", 7))
    await service.submit(ArmExpiry("s1", "p1", 60))
    await service.submit(CancelExpiry("s1", "p1"))
    clock.advance(seconds=61)
    assert await timers.fire_due() == (0, None)
    assert await count_of(service) == 7


async def test_a_timer_may_arm_itself_anew(rig: Rig) -> None:
    service, timers, clock = rig
    await service.submit(Add("s1", "p1", 7))
    await service.submit(ArmExpiry("s1", "p1", 60, again_after=30))
    for fired in (1, 2, 3):
        clock.advance(seconds=60)
        await timers.fire_due()
        assert await expired(service, "p1") == fired
        assert await due_of(service, "p1") == (clock() + timedelta(seconds=30), 0)


async def test_a_timer_that_was_moved_after_it_was_read_is_stale(rig: Rig) -> None:
    service, _, clock = rig
    await service.submit(Add("s1", "p1", 7))
    await service.submit(ArmExpiry("s1", "p1", 60))
    clock.advance(seconds=60)
    due, _ = await due_of(service, "p1")
    read = TimerItem(Expire("s1", "p1"), "expire/p1", due, due, 0)
    await service.submit(ArmExpiry("s1", "p1", 500))
    outcomes, _ = await service.runner.run([read])
    assert outcomes[0].status == "stale"
    assert await count_of(service) == 7
    assert (await due_of(service, "p1"))[0] == clock() + timedelta(seconds=500)


async def test_a_timer_fires_once_though_two_leaders_read_it(rig: Rig) -> None:
    service, _, _ = rig
    await service.submit(Add("s1", "p1", 7))
    await service.submit(ArmExpiry("s1", "p1", 60))
    due, _ = await due_of(service, "p1")
    read = TimerItem(Expire("s1", "p1"), "expire/p1", due, due, 0)
    statuses = [(await service.runner.run([read]))[0][0].status for _ in range(2)]
    assert statuses == ["done", "stale"]
    assert await expired(service, "p1") == 1


async def test_a_timer_cancelled_by_an_earlier_one_of_its_batch_does_not_fire(rig: Rig) -> None:
    service, timers, clock = rig
    await service.submit(Add("s1", "p1", 7))
    await service.submit(Add("s1", "p2", 7))
    await service.submit(ArmExpiry("s1", "p1", 59, cancels="p2"))
    await service.submit(ArmExpiry("s1", "p2", 60))
    clock.advance(seconds=61)
    assert (await timers.fire_due())[0] == 2
    assert await expired(service, "p1") == 1
    assert await expired(service, "p2") == 0
    assert await size_of(service, "timers") == 0


async def test_a_failing_timer_backs_off_and_lets_the_others_fire(
    rig: Rig, faults: set[str]
) -> None:
    service, timers, clock = rig
    faults.add("bad")
    await service.submit(Add("s1", "good", 7))
    await service.submit(ArmExpiry("s1", "bad", 59))
    await service.submit(ArmExpiry("s1", "good", 60))
    clock.advance(seconds=61)
    await timers.fire_due()
    assert await expired(service, "good") == 1
    run_at, attempts = await due_of(service, "bad")
    assert attempts == 1
    assert run_at > clock()
    assert (await timers.fire_due())[0] == 0


async def test_a_timer_that_recovers_fires_with_its_effects_once(
    rig: Rig, faults: set[str]
) -> None:
    service, timers, clock = rig
    faults.add("p1")
    await service.submit(Add("s1", "p1", 7))
    await service.submit(ArmExpiry("s1", "p1", 60))
    clock.advance(seconds=60)
    await timers.fire_due()
    faults.discard("p1")
    clock.advance(seconds=60)
    await timers.fire_due()
    assert await expired(service, "p1") == 1
    assert await size_of(service, "timers") == 0


async def test_a_timer_that_never_succeeds_becomes_a_dead_letter(
    rig: Rig, faults: set[str]
) -> None:
    service, timers, clock = rig
    faults.add("p1")
    await service.submit(ArmExpiry("s1", "p1", 60))
    for _ in range(MAX_ATTEMPTS):
        assert await size_of(service, "dead_letters") == 0
        clock.advance(hours=1)
        await timers.fire_due()
    assert await size_of(service, "timers") == 0
    assert await rows(service, "SELECT topic, code, state, shop_id FROM dead_letters") == [
        ("timers", "timer_failed", "poison", "s1")
    ]


@pytest.mark.parametrize(
    "change, reason",
    [({"kind": "Gone"}, "no handler"), ({"payload": '{"shop_id": 1}'}, "cannot be read")],
)
async def test_a_timer_that_the_code_no_longer_knows_is_a_dead_letter_and_stops_no_other(
    rig: Rig, change: dict[str, str], reason: str
) -> None:
    service, timers, clock = rig
    await service.submit(ArmExpiry("s1", "old", 60))
    await break_timer(service, **change)
    await service.submit(Add("s1", "new", 7))
    await service.submit(ArmExpiry("s1", "new", 60))
    clock.advance(seconds=61)
    await timers.fire_due()
    assert await expired(service, "new") == 1
    assert await size_of(service, "timers") == 0
    [(why,)] = await rows(service, "SELECT reason FROM dead_letters")
    assert reason in why


async def test_a_timer_given_up_on_is_kept_when_it_was_armed_anew_meanwhile(rig: Rig) -> None:
    service, timers, _ = rig
    await service.submit(ArmExpiry("s1", "p1", 60))
    async with service.database.read() as conn:
        [stale] = await page(conn)
    await service.submit(ArmExpiry("s1", "p1", 600))
    await timers._bury([(stale, "failed for good")])
    assert await size_of(service, "timers") == 1
    assert await size_of(service, "dead_letters") == 0


async def test_after_downtime_all_that_is_due_fires_oldest_first_in_batches(
    tmp_path: Path, database_url: str
) -> None:
    clock = MovableClock(datetime(2026, 3, 1, tzinfo=UTC))
    service = await make(TALLY, tmp_path, database_url, clock=clock, batch_size=10)
    timers = service._loops["timers"]
    assert isinstance(timers, Timers)
    for n in range(35):
        await service.submit(Add("s1", f"p{n:02}", 1))
        await service.submit(ArmExpiry("s1", f"p{n:02}", 100 - n))
    clock.advance(hours=3)
    fired = [(await timers.fire_due())[0] for _ in range(5)]
    assert fired == [10, 10, 10, 5, 0]
    assert sum([await expired(service, f"p{n:02}") for n in range(35)]) == 35
    await service.stop()
    assert isinstance(service.bus, EmbeddedBus)
    await service.bus.close()


async def test_only_a_timer_that_is_due_before_the_next_look_wakes_the_loop(rig: Rig) -> None:
    """The loop looks twice a second anyway; being woken for each timer was most of its work."""
    service, _, _ = rig
    soon, later = (CommandItem(ArmExpiry("s1", f"p{s}", s)) for s in (0.2, 0.8))
    assert (await service.runner.run([soon]))[1] == ["timers"]
    assert (await service.runner.run([later]))[1] == []
