"""A batch costs a handful of statements, whatever its size; bad events cost nobody else."""

from pathlib import Path

from common.bus.embedded import EmbeddedBus
from common.contracts import Envelope, Message, ShopOrder, encode
from common.ids import new_id
from common.runtime.items import CommandItem
from order_ops.app import SERVICE
from order_ops.bookkeeping import RecordOrder
from tests.support.harness import MovableClock, idle, make
from tests.support.order_examples import TEN, snapshot
from tests.support.order_shop import Shop
from tests.support.statements import statements


async def test_a_batch_of_orders_takes_the_same_statements_whatever_its_size(
    tmp_path: Path, database_url: str
) -> None:
    service = await make(SERVICE, tmp_path, database_url, clock=MovableClock(TEN))
    counts = []
    for batch, size in enumerate((1, 60, 200)):
        told = [snapshot(order_id=f"o{batch}-{n}", buyer_id=f"b{batch}-{n}") for n in range(size)]
        with statements(service.database) as seen:
            outcomes, _ = await service.runner.run(
                [CommandItem(RecordOrder(snapshot=one)) for one in told]
            )
        assert {outcome.status for outcome in outcomes} == {"done"}
        counts.append(len(seen))
    await service.stop()
    await service.bus.close()
    assert counts[0] <= counts[1] == counts[2] <= 16


def broken(event: ShopOrder, old: bytes, new: bytes) -> Message:
    message = encode(Envelope.of(event, id=new_id(), source="erp", time=TEN))
    assert old in message.value
    return message._replace(value=message.value.replace(old, new))


async def test_bad_events_are_dead_lettered_with_their_reason_and_other_keys_go_on(
    shop: Shop,
) -> None:
    bad = [
        broken(snapshot(buyer_id="b1"), b'"total_fen":38500', b'"total_fen":-1'),
        broken(snapshot(buyer_id="b2"), b'"status":"unpaid"', b'"status":"lost"'),
        broken(snapshot(buyer_id="b3"), b"2026-03-02T02:00:00Z", b"2026-03-02T02:00:00"),
    ]
    assert isinstance(shop.service.bus, EmbeddedBus)
    await shop.service.bus.publish(bad)
    await shop.tell(snapshot(order_id="good", buyer_id="b4"))
    await idle(shop.service)
    listed = (await shop.call("GET", "/v1/orders")).json()["items"]
    assert [order["order_id"] for order in listed] == ["good"]
    async with shop.service.database.read() as conn:
        found = await conn.exec_driver_sql("SELECT code, reason FROM dead_letters")
        letters = [tuple(letter) for letter in found]
    assert [code for code, _ in letters] == ["invalid_event"] * 3
    assert any("total_fen" in reason for _, reason in letters)
