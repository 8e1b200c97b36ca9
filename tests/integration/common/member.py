"""A member of a group that reads, prints what it read, and never commits: made to be killed.

python -m tests.integration.common.member ADDRESS TOPIC GROUP MARK
"""

import asyncio
import sys
from pathlib import Path

from common.bus import Bus
from common.bus.embedded import EmbeddedBus
from tests.integration.common.test_bus_contract import kafka_bus


async def read(address: str, topic: str, group: str, mark: str) -> None:
    """Print the values of this mark's keys as they come, until killed."""
    bus = _bus(address)
    await bus.start()
    subscription = await bus.subscribe([topic], group)
    while True:
        for record in await subscription.poll(100, 0.2):
            if record.key.startswith(mark.encode()):
                print(record.value.decode(), flush=True)


def _bus(address: str) -> Bus:
    kafka = address.removeprefix("kafka://")
    return EmbeddedBus(Path(address)) if kafka == address else kafka_bus(kafka)


if __name__ == "__main__":
    asyncio.run(read(*sys.argv[1:5]))
