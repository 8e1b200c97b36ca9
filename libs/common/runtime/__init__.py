"""The runtime: batches of events, commands and timers, each batch one transaction."""

from common.runtime.handlers import Handlers
from common.runtime.items import Idempotency
from common.runtime.needs import Need, row, rows
from common.runtime.service import BackgroundLoop, Service, ServiceDefinition
from common.runtime.work import NotLoaded, Work

__all__ = [
    "BackgroundLoop",
    "Handlers",
    "Idempotency",
    "Need",
    "NotLoaded",
    "Service",
    "ServiceDefinition",
    "Work",
    "row",
    "rows",
]
