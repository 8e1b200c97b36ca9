"""The shop's system on the bus: order snapshots on the topic, besides those over HTTP."""

import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

import msgspec

from kefu.replay.shop_system import Announce

SOURCE = "load/shop"


@contextlib.asynccontextmanager
async def announcer(bus_address: str) -> AsyncIterator[Announce]:
    """Publishes on a Kafka cluster, `kafka://host:port`, while the block lasts."""
    from common.bus import open_bus
    from common.clock import utc_now
    from common.contracts import Envelope, ShopOrder, encode
    from common.settings import load_settings

    bus = open_bus(load_settings(bus=bus_address), "kefu-load")
    await bus.start()

    async def announce(snapshot: Mapping[str, Any], copy: int) -> None:
        """The same copy of the same snapshot has the same id, as a platform that repeats does."""
        order = msgspec.convert(dict(snapshot), ShopOrder)
        id_ = f"{order.order_id}:{order.version}:{copy}"
        envelope = Envelope.of(order, id=id_, source=SOURCE, time=utc_now())
        await bus.publish([encode(envelope)])

    try:
        yield announce
    finally:
        await bus.close()
