"""Problem documents (RFC 9457): the only shape in which an error leaves an application.

`type` is a URN of the stable `code`; `detail` and `errors` never repeat what the caller sent;
whatever was not foreseen becomes `internal_error` with nothing but a request id.
"""

import math
import socket
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError, WebSocketRequestValidationError
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.websockets import WebSocket

from common import errors
from common.db.faults import is_outage, is_race
from common.errors import KefuError
from common.telemetry.logs import get_logger, request_id_var

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:kefu:problem:"
MAX_LISTED_ERRORS = 20
MAX_LOCATION_CHARACTERS = 64

log = get_logger(__name__)

_BY_STATUS: dict[int, type[KefuError]] = {
    400: errors.BadRequest,
    401: errors.Unauthorized,
    403: errors.Forbidden,
    404: errors.NotFound,
    405: errors.MethodNotAllowed,
    408: errors.RequestTimeout,
    413: errors.TooLarge,
    415: errors.UnsupportedMediaType,
    422: errors.InvalidInput,
    429: errors.RateLimited,
    503: errors.Unavailable,
}
_DRIVER_OUTAGES = {
    ("asyncpg", "PostgresConnectionError"),
    ("asyncpg", "InterfaceError"),
    ("asyncpg", "InsufficientResourcesError"),
    ("asyncpg", "OperatorInterventionError"),
    ("aiokafka", "KafkaError"),
}
_DETAIL_BY_STATUS = {
    404: "There is nothing at this path.",
    405: "The path has other methods.",
    408: "The body did not arrive in time.",
    413: "The body is larger than this API takes.",
}


def problem_of(error: KefuError) -> dict[str, Any]:
    """The members of the problem document for this error."""
    problem: dict[str, Any] = {
        "type": TYPE_PREFIX + error.code,
        "title": error.title,
        "status": error.status,
        "code": error.code,
    }
    if error.detail:
        problem["detail"] = error.detail
    if error.next_step:
        problem["hint"] = error.next_step
    if error.retry_after is not None:
        problem["retry_after"] = whole_seconds(error.retry_after)
    if request_id := request_id_var.get():
        problem["request_id"] = request_id
    return {**error.extra, **problem}


def whole_seconds(seconds: float) -> int:
    """Seconds as the Retry-After header wants them: whole, at least 1."""
    return max(1, math.ceil(seconds))


def problem_headers(error: KefuError) -> dict[str, str]:
    """The headers that go with the problem document."""
    headers = dict(error.headers)
    if error.retry_after is not None:
        headers["Retry-After"] = str(whole_seconds(error.retry_after))
    if error.status == 401:
        headers.setdefault("WWW-Authenticate", 'Bearer realm="kefu"')
    return headers


def problem_response(error: KefuError) -> Response:
    """The answer for this error."""
    return Response(
        msgspec.json.encode(problem_of(error)),
        status_code=error.status,
        headers=problem_headers(error),
        media_type=MEDIA_TYPE,
    )


def from_http(error: HTTPException) -> KefuError:
    """Our error for one that Starlette or FastAPI raised by itself."""
    kind = _BY_STATUS.get(error.status_code)
    if isinstance(error.__cause__, UnicodeError | RecursionError):
        # What FastAPI says of a body that is no UTF-8, or is nested without end.
        return errors.MalformedJson("The body is not one JSON value.")
    if kind is None:
        kind = errors.BadRequest if error.status_code < 500 else KefuError
    return kind(_DETAIL_BY_STATUS.get(error.status_code, ""), headers=error.headers)


def from_validation(found: Sequence[Mapping[str, Any]], *, json_body: bool = True) -> KefuError:
    """Our error for what pydantic found, without the values that it found wrong."""
    if any(one["type"] == "json_invalid" for one in found):
        return errors.MalformedJson("The body is not one JSON value.")
    if not json_body and any(one["loc"][:1] == ("body",) for one in found):
        return errors.UnsupportedMediaType("The body is not declared as JSON.")
    listed = [_described(one) for one in found[:MAX_LISTED_ERRORS]]
    return errors.InvalidInput(
        "The request does not fit its description.", extra={"errors": listed}
    )


def _described(found: Mapping[str, Any]) -> dict[str, str]:
    place, *path = found["loc"] or ("body",)
    return {
        "in": _printable(place),
        "pointer": "".join(f"/{_escaped(_printable(step))}" for step in path),
        "type": str(found["type"]),
        "detail": _printable(found["msg"], limit=300),
    }


def _escaped(step: str) -> str:
    return step.replace("~", "~0").replace("/", "~1")  # RFC 6901


def _printable(value: object, limit: int = MAX_LOCATION_CHARACTERS) -> str:
    # Names of unknown members come from the caller: cut them, and half a surrogate pair out.
    return str(value)[:limit].encode("utf-8", "replace").decode()


def from_unforeseen(
    error: Exception, unavailable_on: tuple[type[Exception], ...] = ()
) -> KefuError:
    """`Unavailable` if a part that we need is down or busy; else `internal_error`, without detail.

    `unavailable_on` lists further exception classes that mean "a part is down".
    """
    if isinstance(error, unavailable_on) or part_is_down(error):
        return errors.Unavailable("A part that this needs does not answer.")
    return KefuError()


def part_is_down(error: Exception) -> bool:
    """Whether this means that the database or the bus cannot be used at present."""
    if isinstance(error, SQLAlchemyError):
        return is_outage(error) or is_race(error)
    if isinstance(error, ConnectionError | TimeoutError | socket.gaierror):
        return True
    # Known by name, so that a driver which is not in use need not be loaded.
    names = {(kind.__module__.partition(".")[0], kind.__name__) for kind in type(error).__mro__}
    return not names.isdisjoint(_DRIVER_OUTAGES)


async def refuse(connection: HTTPConnection, error: KefuError) -> Response | None:
    """Answer a request, or turn down the handshake of a socket, with this error."""
    _note(connection, error)
    response = problem_response(error)
    if not isinstance(connection, WebSocket):
        return response
    await deny(connection, response)
    return None


async def deny(websocket: WebSocket, response: Response) -> None:
    """Answer a handshake with an HTTP response; without that extension the server says 403."""
    if "websocket.http.response" in websocket.scope.get("extensions", {}):
        await websocket.send_denial_response(response)
    else:
        await websocket.close()


def _note(connection: HTTPConnection, error: KefuError) -> None:
    """Refusals for want of rights are security events; outages are for the operator."""
    if error.status in (401, 403):
        log.warning(
            "request_refused",
            code=error.code,
            path=connection.scope["path"],
            client=connection.client.host if connection.client else None,
            subject=getattr(connection.scope.get("kefu.principal"), "subject", None),
        )


def install_problem_handlers(app: FastAPI) -> None:
    """Make every error that the framework or a use case raises a problem document."""

    async def on_kefu_error(connection: HTTPConnection, error: Any) -> Response | None:
        return await refuse(connection, error)

    async def on_http_error(connection: HTTPConnection, error: Any) -> Response | None:
        return await refuse(connection, from_http(error))

    async def on_invalid_request(request: Request, error: Any) -> Response | None:
        content_type = request.headers.get("content-type", "application/json")
        is_json = "json" in content_type.partition(";")[0].lower()
        return await refuse(request, from_validation(error.errors(), json_body=is_json))

    async def on_invalid_handshake(websocket: WebSocket, error: Any) -> Response | None:
        return await refuse(websocket, from_validation(error.errors()))

    handlers: dict[Any, Any] = {
        KefuError: on_kefu_error,
        HTTPException: on_http_error,
        RequestValidationError: on_invalid_request,
        WebSocketRequestValidationError: on_invalid_handshake,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)
