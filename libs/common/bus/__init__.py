"""The event bus: one port, two engines (Kafka and embedded) that keep the same promises."""

from common.bus.port import Bus, GroupInUse, Lag, Oversize, Record, Subscription
from common.settings import Settings

__all__ = ["Bus", "GroupInUse", "Lag", "Oversize", "Record", "Subscription", "open_bus"]


def open_bus(settings: Settings, service: str) -> Bus:
    """The bus that the settings name: `kafka://host:port,…` or `embedded`.

    Engines are imported here, so that a process pays only for the one it uses.
    """
    if settings.bus == "embedded":
        from common.bus.embedded import EmbeddedBus

        return EmbeddedBus(settings.home / "bus.db")
    from common.bus.kafka import KafkaBus

    return KafkaBus.of(settings, service)
