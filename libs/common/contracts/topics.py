"""Every topic of the bus: how many partitions, how long it is kept, what it is for."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """One topic. `retention` bounds how far back a group can be replayed."""

    name: str
    description: str
    partitions: int = 12
    retention: timedelta = timedelta(days=14)
    segment: timedelta | None = None
    cleanup: Literal["delete", "compact"] = "delete"
    max_message_bytes: int = MEBIBYTE

    def config(self) -> dict[str, str]:
        """Kafka topic settings, as `kefu topics apply` sets them."""
        settings = {
            "cleanup.policy": self.cleanup,
            "max.message.bytes": str(self.max_message_bytes),
            "retention.ms": str(_milliseconds(self.retention)),
        }
        if self.segment:
            settings["segment.ms"] = str(_milliseconds(self.segment))
        return settings


def _milliseconds(span: timedelta) -> int:
    return span // timedelta(milliseconds=1)


def _by_name(topics: Iterable[Topic]) -> dict[str, Topic]:
    return {topic.name: topic for topic in topics}


DEAD_LETTERS = "kefu.dead_letters"

TOPICS: dict[str, Topic] = _by_name(
    [
        Topic(
            name="shop.messages",
            description="What buyers and shop staff write on the shop's own platforms.",
        ),
        Topic(
            name="shop.orders",
            description="Snapshots of orders, one after every change, from any shop system.",
        ),
        Topic(
            name="shop.aftersales",
            description="Snapshots of refund and return requests made on a platform.",
        ),
        Topic(
            name="shop.reviews",
            description="Reviews that buyers wrote about products.",
        ),
        Topic(
            name="kefu.conversations",
            description="Messages and conversations together, so that all that happens to one "
            "buyer stands in one order.",
        ),
        Topic(
            name="kefu.agents",
            description="Presence of agents, and what the shop's board shows beside conversations.",
        ),
        Topic(
            name="kefu.orders",
            description="The order book: one event per accepted change of an order.",
            retention=timedelta(days=30),
        ),
        Topic(name="kefu.reminders", description="Payment reminders: due, sent, stopped."),
        Topic(
            name="kefu.cases",
            description="Return requests and after-sale cases with their deadlines.",
            retention=timedelta(days=30),
        ),
        Topic(
            name="kefu.feedback",
            description="Tagged feedback, complaint spikes and the tasks that answer them.",
            retention=timedelta(days=30),
        ),
        Topic(
            name="kefu.commands",
            description="Commands to shop platforms and their outcomes.",
        ),
        Topic(
            name="kefu.typing",
            description="Who is typing now: shown or forgotten, never stored.",
            retention=timedelta(minutes=1),
            # Kafka deletes whole closed segments only, so segments must be as short.
            segment=timedelta(minutes=1),
        ),
        Topic(
            name=DEAD_LETTERS,
            description="Records that could not be handled: the raw bytes, the original headers "
            "and the reason.",
            retention=timedelta(days=30),
            # A refused record of the largest size, with its reasons added, must still fit.
            max_message_bytes=2 * MEBIBYTE,
        ),
    ]
)
