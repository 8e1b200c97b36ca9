"""The port that everything above the bus is written against.

Promises of every engine, held by one contract test suite:

* a published message is durable before `publish` returns, in order per key;
* each group gets every message at least once, in order per partition;
* what was not committed is delivered again after a crash or a rebalance;
* partitions of a topic are shared out among a group's members;
* a tail sees every message published after it was opened, in every replica;
* a message that its topic cannot take is refused before any of its batch is published.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from common.contracts.envelope import Message
from common.contracts.topics import TOPICS


class Oversize(ValueError):
    """A message larger than its topic takes: it can never be published as it is."""


class GroupInUse(RuntimeError):
    """Positions of a group cannot be set while it has members."""


Position = tuple[str, int]
"""A topic and a partition."""

OnRevoked = Callable[[], Awaitable[None]]


# What a record costs besides its key, value and headers: lengths, times, checksums.
RECORD_OVERHEAD = 128


def require_fit(messages: Iterable[Message]) -> None:
    """Refuse messages that their topics cannot take (`Oversize`)."""
    for message in messages:
        headers = sum(len(name.encode()) + len(value) + 10 for name, value in message.headers)
        size = RECORD_OVERHEAD + len(message.key) + len(message.value) + headers
        limit = TOPICS[message.topic].max_message_bytes
        if size > limit:
            raise Oversize(f"{size} bytes; {message.topic} takes {limit}")


class Record(NamedTuple):
    """A message as the bus has it."""

    topic: str
    partition: int
    offset: int
    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]


class Lag(NamedTuple):
    """How far a group is behind on one partition."""

    group: str
    topic: str
    partition: int
    committed: int
    end: int

    @property
    def behind(self) -> int:
        """Messages that the group has not finished."""
        return max(0, self.end - self.committed)


class Subscription(Protocol):
    """A reader of topics: a member of a group, or a tail."""

    async def poll(self, max_records: int, timeout: float) -> list[Record]:
        """Records in order per partition; empty after `timeout` seconds without any."""

    async def commit(self, offsets: Mapping[Position, int]) -> None:
        """Store, per partition, the offset to go on from."""

    async def idle(self) -> None:
        """Keep membership without taking records, while the consumer cannot work."""

    async def close(self) -> None:
        """Leave the group and free everything."""


class Bus(Protocol):
    """Where events are published and read."""

    async def start(self) -> None:
        """Connect."""

    async def close(self) -> None:
        """Disconnect."""

    async def publish(self, messages: Sequence[Message]) -> None:
        """Publish in order; all durable when it returns. Raises when any is not.

        `Oversize` when a message is too large for its topic: then none was published.
        """

    async def subscribe(
        self, topics: Iterable[str], group: str, *, on_revoked: OnRevoked | None = None
    ) -> Subscription:
        """Join a group, starting at its committed positions or at the beginning."""

    async def tail(self, topics: Iterable[str]) -> Subscription:
        """Read everything published from now on, without a group."""

    async def ensure_topics(self) -> list[str]:
        """Create the topics of the registry that are missing; their names."""

    async def lag(self, group: str) -> list[Lag]:
        """How far a group is behind, on each partition of the topics that it has read from."""

    async def rewind(self, group: str, offsets: Mapping[Position, int]) -> None:
        """Set the committed positions of a group without members; else `GroupInUse`."""

    async def ping(self) -> None:
        """Raises when the bus does not answer."""
