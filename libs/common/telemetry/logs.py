"""Logs: one JSON object per line on standard error, connected to traces, masked.

structlog and the standard library's logging end in the same handler, so a library's line looks
like ours. Use `get_logger(__name__)` and name events with underscores, values as keywords:
`log.warning("batch_failed", topic=topic, attempt=3)`.
"""

import logging
import sys
from collections.abc import MutableMapping
from contextvars import ContextVar
from typing import IO, Any, cast

import msgspec
import structlog
from structlog.typing import Processor

from common.settings import Settings
from common.telemetry.masking import mask_event, mask_text
from common.telemetry.traces import trace_ids

request_id_var: ContextVar[str | None] = ContextVar("kefu_request_id", default=None)
"""The id of the HTTP request that is being answered."""

# Libraries that tell at INFO what nobody asked for; uvicorn the whole address of every socket.
_QUIET = ("aiokafka", "aiosqlite", "alembic", "httpcore", "httpx", "stamina", "uvicorn.error")

# At DEBUG these write out statements with their parameters and records with their values: what
# buyers wrote, which no pattern can mask.
_INDISCREET = ("aiokafka", "aiosqlite")

EventDict = MutableMapping[str, Any]


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger whose lines carry `logger: name`."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger


def setup_logging(settings: Settings, service: str, stream: IO[str] | None = None) -> None:
    """Route all logging of this process to `stream` (standard error); call it again at will."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_formatter(settings, service))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level)
    _silence_libraries(settings.log_level)
    logging.captureWarnings(True)


def _silence_libraries(level: str) -> None:
    for name in _QUIET:
        logging.getLogger(name).setLevel("DEBUG" if level == "DEBUG" else "WARNING")
    for name in _INDISCREET:
        logging.getLogger(name).setLevel("INFO" if level == "DEBUG" else "WARNING")
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
    logging.getLogger("uvicorn.error").addFilter(_is_no_false_alarm)


def _is_no_false_alarm(record: logging.LogRecord) -> bool:
    # uvicorn says this after every handshake that was refused with a proper HTTP answer.
    return record.msg != "ASGI callable returned without completing handshake."


def _add_context(_logger: object, _method: str, event: EventDict) -> EventDict:
    if ids := trace_ids():
        event["trace_id"], event["span_id"] = ids
    if request_id := request_id_var.get():
        event["request_id"] = mask_text(request_id)  # callers may choose it
    return event


_FIRST_STEPS: tuple[Processor, ...] = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
)
_LAST_STEPS: tuple[Processor, ...] = (
    # Before masking: what an exception says is masked like any other text.
    structlog.processors.StackInfoRenderer(),
    structlog.processors.format_exc_info,
    mask_event,
    # After masking: a hexadecimal id may hold eleven digits that look like a phone.
    _add_context,
)

# At import, so that nothing is ever logged unmasked, not even by a tool that sets nothing up.
structlog.configure(
    processors=[
        structlog.stdlib.filter_by_level,
        *_FIRST_STEPS,
        structlog.stdlib.PositionalArgumentsFormatter(),
        *_LAST_STEPS,
        structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
    ],
    logger_factory=structlog.stdlib.LoggerFactory(),
    wrapper_class=structlog.stdlib.BoundLogger,
)


def _formatter(settings: Settings, service: str) -> logging.Formatter:
    def finish(logger: Any, method: str, event: EventDict) -> EventDict:
        ours = event.pop("_from_structlog")
        del event["_record"]
        if not ours:
            for step in _LAST_STEPS:
                event = cast(EventDict, step(logger, method, event))
        event.setdefault("service", service)
        return event

    renderer: Processor = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
        if settings.log_format == "console"
        else structlog.processors.JSONRenderer(serializer=_to_json)
    )
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=list(_FIRST_STEPS), processors=[finish, renderer]
    )


def _to_json(event: EventDict, **_: Any) -> str:
    try:
        return msgspec.json.encode(event).decode()
    except (UnicodeEncodeError, TypeError, ValueError):
        # Half a surrogate pair, which no file can hold.
        return msgspec.json.encode(_encodable(event)).decode()


def _encodable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_encodable(key): _encodable(item) for key, item in value.items()}
    return [_encodable(item) for item in value] if isinstance(value, list) else value
