"""The consumer with a bus that does as the test says: hand-over and outages."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from common.bus import Record
from common.bus.port import OnRevoked, Position
from common.runtime import consumer as consumer_module
from common.runtime.consumer import Consumer
from common.runtime.meters import Meters
from tests.support.harness import running, until
from tests.support.tally.reading import count_of, delivered, review
from tests.support.tally.service import TALLY


class FakeBus:
    """Hands out what the test puts there; notes what is committed."""

    def __init__(self) -> None:
        self.batches: asyncio.Queue[list[Record]] = asyncio.Queue()
        self.committed: list[dict[Position, int]] = []
        self.idled = 0
        self.closed = 0
        self.on_revoked: OnRevoked | None = None

    async def subscribe(
        self, _topics: object, _group: str, *, on_revoked: OnRevoked | None = None
    ) -> "FakeBus":
        self.on_revoked = on_revoked
        return self

    async def poll(self, _max_records: int, timeout: float) -> list[Record]:
        try:
            return await asyncio.wait_for(self.batches.get(), min(timeout, 0.05))
        except TimeoutError:
            return []

    async def commit(self, offsets: Mapping[Position, int]) -> None:
        self.committed.append(dict(offsets))

    async def idle(self) -> None:
        self.idled += 1

    async def close(self) -> None:
        self.closed += 1


class Rig:
    def __init__(self, service: Any) -> None:
        self.service = service
        self.bus = FakeBus()
        self.consumer = Consumer(
            self.bus,  # type: ignore[arg-type]
            service.runner,
            topics=["shop.reviews"],
            group="g",
            clock=service.clock,
            meters=Meters("tally"),
            batch_size=10,
            dead_letter_limit=100,
            wake=lambda _loops: None,
        )

    def deliver(self, *numbers: int) -> None:
        self.bus.batches.put_nowait([delivered(review(n), n).record for n in numbers])


async def test_offsets_are_committed_only_after_the_effects(
    tmp_path: Path, database_url: str
) -> None:
    async with running(TALLY, tmp_path, database_url, start=False) as service:
        rig = Rig(service)
        rig.deliver(0, 1, 2)
        rig.consumer.start()

        async def committed() -> bool:
            if rig.bus.committed:
                assert await count_of(service) == 3
            return bool(rig.bus.committed)

        await until(committed)
        assert rig.bus.committed == [{("shop.reviews", 0): 3}]
        await rig.consumer.stop(10)
        assert rig.bus.closed == 1


async def test_while_the_database_is_out_the_member_stays_and_waits(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(TALLY, tmp_path, database_url, start=False) as service:
        rig = Rig(service)
        run, out = service.runner.run, asyncio.Event()

        async def outage(items: Any) -> Any:
            if not out.is_set():
                raise ConnectionRefusedError("no database")
            return await run(items)

        monkeypatch.setattr(service.runner, "run", outage)
        rig.deliver(0, 1)
        rig.consumer.start()

        async def waiting() -> bool:
            return rig.bus.idled >= 2

        await until(waiting)
        assert rig.bus.committed == []
        assert rig.consumer.silent_seconds < 5
        out.set()

        async def committed() -> bool:
            return bool(rig.bus.committed)

        await until(committed)
        assert await count_of(service) == 2
        assert rig.bus.closed == 0
        await rig.consumer.stop(10)


async def test_giving_partitions_up_waits_for_the_work_in_hand(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(TALLY, tmp_path, database_url, start=False) as service:
        rig = Rig(service)
        run, begun, go_on = service.runner.run, asyncio.Event(), asyncio.Event()

        async def slow(items: Any) -> Any:
            begun.set()
            await go_on.wait()
            return await run(items)

        monkeypatch.setattr(service.runner, "run", slow)
        rig.deliver(0, 1)
        rig.consumer.start()
        await asyncio.wait_for(begun.wait(), 20)
        assert rig.bus.on_revoked is not None
        revoked = asyncio.ensure_future(rig.bus.on_revoked())
        await asyncio.sleep(0)
        assert rig.bus.committed == []
        go_on.set()
        await asyncio.wait_for(revoked, 20)
        assert rig.bus.committed[0] == {("shop.reviews", 0): 2}
        assert await count_of(service) == 2
        await rig.consumer.stop(10)


async def test_giving_partitions_up_during_an_outage_holds_the_group_up_for_a_bounded_time(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The group cannot go on before this returns, and the outage may last for hours."""
    async with running(TALLY, tmp_path, database_url, start=False) as service:
        monkeypatch.setattr(consumer_module, "REVOKE_SECONDS", 0.05)
        rig = Rig(service)

        async def outage(_items: Any) -> Any:
            raise ConnectionRefusedError("no database")

        monkeypatch.setattr(service.runner, "run", outage)
        rig.deliver(0)
        rig.consumer.start()

        async def waiting() -> bool:
            return rig.bus.idled >= 1

        await until(waiting)
        assert rig.bus.on_revoked is not None
        await asyncio.wait_for(rig.bus.on_revoked(), 20)
        assert rig.bus.committed == []
        await rig.consumer.stop(10)
