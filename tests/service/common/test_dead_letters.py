"""What cannot take effect is kept whole, holds up its own key only, and can be replayed."""

import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from common.bus.embedded import EmbeddedBus, partition_of
from common.clock import utc_now
from common.contracts import Envelope, encode
from common.contracts.envelope import Message
from common.contracts.topics import TOPICS
from common.runtime import Service, dead_letters
from common.runtime.service import LoopEnded
from common.runtime.timers import Timers
from tests.support.harness import MovableClock, idle, make, publish, running, until
from tests.support.tally.reading import count_of, delivered, review, rows, size_of
from tests.support.tally.service import FAILING_TEXT, REFUSED_TEXT, TALLY, Add, ArmExpiry


def message(n: int = 1) -> Message:
    return encode(Envelope.of(review(n), id=f"m{n}", source="test", time=utc_now()))


def with_header(name: str, value: bytes) -> Message:
    good = message()
    return good._replace(headers=[*(h for h in good.headers if h[0] != name), (name, value)])


POISON = {
    "malformed_json": message()._replace(value=b'{"shop_id": \xff'),
    "missing_attribute": message()._replace(headers=[("content-type", b"application/json")]),
    "invalid_attribute": with_header("ce_time", b"yesterday"),
    "invalid_event": message()._replace(value=b'{"shop_id": "s1"}'),
    "unknown_type": with_header("ce_type", b"com.example.order"),
    "future_version": with_header("ce_type", b"kefu.shop.review.v9"),
    "wrong_topic": with_header("ce_type", b"kefu.order.paid.v1"),
    "wrong_shop": with_header("ce_shopid", b"s2"),
    "wrong_key": message()._replace(key=b"elsewhere"),
    "too_large": message()._replace(value=b" " * 300_000),
}


async def states(service: Service) -> list[tuple[Any, ...]]:
    return await rows(service, "SELECT code, state FROM dead_letters ORDER BY letter_id")


async def ids(service: Service) -> list[str]:
    found = await rows(service, "SELECT letter_id FROM dead_letters ORDER BY letter_id")
    return [letter_id for (letter_id,) in found]


async def replay(service: Service, letter_id: str) -> None:
    async with service.database.write() as conn:
        assert await dead_letters.mark(conn, letter_id, "replay")
    service._loops["replays"].wake()


async def drop(service: Service, letter_id: str) -> None:
    async with service.database.write() as conn:
        assert await dead_letters.drop(conn, letter_id, service.clock())
    service._loops["replays"].wake()


def has(service: Service, wanted: list[tuple[str, str]]) -> Callable[[], Awaitable[bool]]:
    async def check() -> bool:
        return await states(service) == wanted

    return check


@pytest.mark.parametrize("code", sorted(POISON))
async def test_poison_is_kept_with_its_bytes_and_reason_and_its_key_goes_on(
    tmp_path: Path, sqlite_database: str, code: str
) -> None:
    poison = POISON[code]
    async with running(TALLY, tmp_path, sqlite_database) as service:
        await service.bus.publish([poison, message(2)])
        await idle(service)
        found = await rows(service, "SELECT code, state, key, value, reason FROM dead_letters")
        assert [row[:4] for row in found] == [(code, "poison", poison.key, poison.value)]
        assert code in found[0][4]
        assert await count_of(service) == 1
        assert isinstance(service.bus, EmbeddedBus)
        copies = await service.bus.reader.execute_fetchall(
            "SELECT key, value, headers FROM log WHERE topic = 'kefu.dead_letters'"
        )
        [(key, value, headers)] = [tuple(copy) for copy in copies]
        assert (key, value) == (poison.key, poison.value)
        assert f'["kefu_dead_letter_code", "{code}"]' in headers


async def test_poison_is_the_same_on_both_databases(tmp_path: Path, database_url: str) -> None:
    """Foreign bytes in key, value and headers, NUL included, must not break the letter itself."""
    foreign = Message(
        "shop.reviews", b"\x00\xff", b"\x00\xfe", [("x\x00", b"\x00\xfd"), ("y", b"")]
    )
    async with running(TALLY, tmp_path, database_url) as service:
        await service.bus.publish([foreign, message(2)])
        await idle(service)
        assert await rows(service, "SELECT key, value FROM dead_letters") == [
            (foreign.key, foreign.value)
        ]
        assert await count_of(service) == 1


async def test_replay_runs_a_parked_key_in_order_once_the_cause_is_mended(
    tmp_path: Path, database_url: str, faults: set[str]
) -> None:
    async with running(TALLY, tmp_path, database_url) as service:
        bodies = ["0", FAILING_TEXT, "2", "3"]
        await publish(service.bus, *(review(n, body=body) for n, body in enumerate(bodies)))
        await idle(service)
        assert await count_of(service) == 1
        faults.clear()
        await replay(service, (await ids(service))[0])
        await until(has(service, []))
        [(texts,)] = await rows(service, "SELECT texts FROM tallies")
        assert [text for text in bodies if text in str(texts)] == bodies
        assert await count_of(service) == 4
        await publish(service.bus, review(4))
        await idle(service)
        assert await count_of(service) == 5
        assert await size_of(service, "parked_keys") == 0


async def test_an_unmended_replay_leaves_everything_parked(
    tmp_path: Path, database_url: str
) -> None:
    async with running(TALLY, tmp_path, database_url) as service:
        await publish(service.bus, review(1, body=FAILING_TEXT), review(2))
        await idle(service)
        parked = [("handler_failed", "parked"), ("parked_behind", "behind")]
        assert await states(service) == parked
        await replay(service, (await ids(service))[1])
        await until(has(service, parked))
        assert await count_of(service) is None
        assert await size_of(service, "parked_keys") == 1


async def test_a_letter_that_is_refused_on_replay_is_set_aside_and_its_key_goes_on(
    tmp_path: Path, database_url: str, faults: set[str]
) -> None:
    async with running(TALLY, tmp_path, database_url) as service:
        bodies = [FAILING_TEXT, REFUSED_TEXT, "2"]
        await publish(service.bus, *(review(n, body=body) for n, body in enumerate(bodies)))
        await idle(service)
        faults.clear()
        await replay(service, (await ids(service))[0])
        await until(has(service, [("conflict", "poison")]))
        assert await count_of(service) == 2
        assert await size_of(service, "parked_keys") == 0


async def test_events_that_arrive_for_a_parked_key_wait_in_order(
    tmp_path: Path, database_url: str, faults: set[str]
) -> None:
    async with running(TALLY, tmp_path, database_url) as service:
        await publish(service.bus, review(1, body=FAILING_TEXT))
        await idle(service)
        await publish(service.bus, review(2), review(3, product="p2"))
        await idle(service)
        assert await states(service) == [("handler_failed", "parked"), ("parked_behind", "behind")]
        assert await count_of(service, "p2") == 1


async def test_dropping_the_first_of_a_parked_key_lets_those_behind_go_on(
    tmp_path: Path, database_url: str
) -> None:
    async with running(TALLY, tmp_path, database_url) as service:
        await publish(service.bus, review(1, body=FAILING_TEXT), review(2), review(3))
        await idle(service)
        await drop(service, (await ids(service))[0])
        await until(has(service, []))
        assert await count_of(service) == 2
        assert await size_of(service, "parked_keys") == 0


async def test_dropping_one_behind_leaves_the_first_parked(
    tmp_path: Path, database_url: str
) -> None:
    async with running(TALLY, tmp_path, database_url) as service:
        await publish(service.bus, review(1, body=FAILING_TEXT), review(2), review(3))
        await idle(service)
        await drop(service, (await ids(service))[1])
        assert await states(service) == [("handler_failed", "parked"), ("parked_behind", "behind")]
        assert await size_of(service, "parked_keys") == 1


async def test_a_dropped_event_never_takes_effect_even_when_it_is_delivered_again(
    tmp_path: Path, database_url: str, faults: set[str]
) -> None:
    async with running(TALLY, tmp_path, database_url) as service:
        await publish(service.bus, review(1, body=FAILING_TEXT), ids=["e1"])
        await idle(service)
        await drop(service, (await ids(service))[0])
        faults.clear()
        await publish(service.bus, review(1, body=FAILING_TEXT), ids=["e1"])
        await publish(service.bus, review(2))
        await idle(service)
        assert await count_of(service) == 1
        async with service.database.write() as conn:
            assert not await dead_letters.drop(conn, "no such letter", service.clock())


async def test_redelivery_makes_no_second_letter(tmp_path: Path, database_url: str) -> None:
    service = await make(TALLY, tmp_path, database_url)
    now = service.clock()
    record = delivered(review(1)).record
    letter = dead_letters.letter_row(
        record, shop_id="s1", code="handler_failed", reason="x", state="parked", now=now
    )
    added = []
    for _ in range(2):
        async with service.database.write() as conn:
            added.append((await dead_letters.store(conn, [letter], now)).added)
    assert added == [1, 0]
    assert await size_of(service, "outbox") == 1
    await service.stop()
    await service.bus.close()


async def test_an_event_does_not_wait_behind_a_key_that_was_freed_meanwhile(
    tmp_path: Path, database_url: str
) -> None:
    """The consumer saw the key parked; before it stored the letter the last one was replayed."""
    service = await make(TALLY, tmp_path, database_url)
    now = service.clock()
    letters = [
        dead_letters.letter_row(
            delivered(review(n), n).record,
            shop_id="s1",
            code=code,
            reason="x",
            state=state,
            now=now,
        )
        for n, code, state in [(1, "handler_failed", "parked"), (2, "parked_behind", "behind")]
    ]
    async with service.database.write() as conn:
        await dead_letters.store(conn, letters[:1], now)
    async with service.database.write() as conn:
        await dead_letters.settle(conn, letters[0]["letter_id"])
    async with service.database.write() as conn:
        stored = await dead_letters.store(conn, letters[1:], now)
    assert stored.added == 0
    assert stored.freed == {letters[1]["letter_id"]}
    assert await size_of(service, "dead_letters") == 0
    await service.stop()
    await service.bus.close()


async def test_the_consumer_runs_what_was_freed_while_it_held_it_back(
    tmp_path: Path, database_url: str, faults: set[str]
) -> None:
    """A consumer whose knowledge is older than the replay handles the event at once, in order."""
    async with running(TALLY, tmp_path, database_url) as service:
        await publish(service.bus, review(1, body=FAILING_TEXT))
        await idle(service)
        consumer: Any = service._loops["consumer"]
        key = next(iter(await _parked(service)))
        faults.clear()
        await replay(service, (await ids(service))[0])
        await until(has(service, []))
        items = [delivered(review(n), n + 100) for n in (2, 3)]
        async with consumer._working:
            consumer._parked, consumer._parked_stale = {key}, False
            letters: list[dict[str, Any]] = []
            assert [consumer._open(item.record, letters) for item in items] == [None, None]
            freed = await consumer._bury(letters)
            assert len(freed) == 2
            await consumer._finish([item.record for item in items])
        assert await count_of(service) == 3
        assert await size_of(service, "dead_letters") == 0


async def _parked(service: Service) -> set[dead_letters.OrderKey]:
    async with service.database.read() as conn:
        return await dead_letters.parked_keys(conn)


async def test_a_member_that_takes_partitions_over_knows_what_its_forerunner_parked(
    tmp_path: Path, database_url: str
) -> None:
    """One replica parks a key and goes; the other has read without parked keys all the time."""
    bus = EmbeddedBus(tmp_path / "bus.db")
    async with contextlib.AsyncExitStack() as stack:
        await bus.start()
        stack.push_async_callback(bus.close)
        stays = await stack.enter_async_context(running(TALLY, tmp_path, database_url, bus=bus))
        goes = await make(TALLY, tmp_path, database_url, bus=bus)
        await goes.start()
        await _both_own_partitions(stays, goes)
        theirs = next(p for p in range(100) if _owner_has(goes, f"p{p}"))
        await publish(bus, *(review(n, product=f"p{n}") for n in range(100) if n != theirs))
        await publish(bus, review(1, product=f"p{theirs}", body=FAILING_TEXT))
        await idle(stays)
        assert await states(stays) == [("handler_failed", "parked")]
        await goes.stop()
        await publish(bus, review(2, product=f"p{theirs}"))
        await idle(stays)
        assert await states(stays) == [("handler_failed", "parked"), ("parked_behind", "behind")]
        assert await count_of(stays, f"p{theirs}") is None


def _owner_has(service: Service, product: str) -> bool:
    key = delivered(review(1, product=product)).record.key
    consumer: Any = service._loops["consumer"]
    partition = partition_of(key, TOPICS["shop.reviews"].partitions)
    return ("shop.reviews", partition) in consumer._subscription._positions


async def _both_own_partitions(*services: Service) -> None:
    async def shared() -> bool:
        members: list[Any] = [service._loops["consumer"] for service in services]
        owned = [set(m._subscription._positions) if m._subscription else set() for m in members]
        return all(owned) and not set.intersection(*owned)

    await until(shared)


async def test_too_many_letters_stop_the_consumer_and_the_service_says_so(
    tmp_path: Path, database_url: str
) -> None:
    async with running(TALLY, tmp_path, database_url, dead_letter_limit=3) as service:
        await service.check_loops()
        poison = [message(n)._replace(value=b"{") for n in range(6)]
        await service.bus.publish(poison)

        async def stopped() -> bool:
            return service._loops["consumer"].failure is not None

        await until(stopped)
        with pytest.raises(LoopEnded, match="the limit is 3"):
            await service.check_loops()
        assert service.stalled() == []  # a restart would not help
        assert await service.submit(Add("s1", "p1", 1))
        bus = service.bus
        assert isinstance(bus, EmbeddedBus)

        async def left() -> bool:
            return await bus.alive(service.group) == []

        await until(left)  # its partitions are free


async def test_a_dead_timer_is_replayed_by_arming_it_again(
    tmp_path: Path, database_url: str, faults: set[str]
) -> None:
    clock = MovableClock()
    async with running(TALLY, tmp_path, database_url, clock=clock) as service:
        timers = service._loops["timers"]
        assert isinstance(timers, Timers)
        faults.add("p1")
        await service.submit(Add("s1", "p1", 5))
        await service.submit(ArmExpiry("s1", "p1", 60))

        async def given_up() -> bool:
            clock.advance(hours=1)
            timers.wake()
            return await states(service) == [("timer_failed", "poison")]

        await until(given_up)
        faults.clear()
        await replay(service, (await ids(service))[0])
        await until(has(service, []))
        clock.advance(seconds=1)

        async def expired() -> bool:
            return await count_of(service) == 0

        await until(expired)
        assert await size_of(service, "timers") == 0


async def test_a_letter_too_large_for_the_topic_is_copied_in_part_and_kept_whole(
    tmp_path: Path, database_url: str
) -> None:
    service = await make(TALLY, tmp_path, database_url)
    record = delivered(review(1)).record._replace(value=b"x" * 3_000_000)
    now = service.clock()
    letter = dead_letters.letter_row(
        record, shop_id="", code="too_large", reason="r" * 9_000, state="poison", now=now
    )
    async with service.database.write() as conn:
        await dead_letters.store(conn, [letter], now)
    await service.start()
    await idle(service)
    assert isinstance(service.bus, EmbeddedBus)
    [copy] = await service.bus.reader.execute_fetchall(
        "SELECT value, headers FROM log WHERE topic = 'kefu.dead_letters'"
    )
    assert len(copy[0]) == dead_letters.MAX_COPIED_BYTES
    assert "kefu_dead_letter_cut_from" in copy[1]
    [(value,)] = await rows(service, "SELECT value FROM dead_letters")
    assert len(value) == 3_000_000
    await service.stop()
    await service.bus.close()
