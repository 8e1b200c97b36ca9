"""Where a token may stand: the Authorization header, and for sockets a cookie or a subprotocol.

Never in a URL: addresses end up in logs, histories and referrers.
"""

from collections.abc import Iterable

from starlette.requests import HTTPConnection

from common.errors import OriginNotAllowed, Unauthorized

COOKIE = "kefu_token"
PROTOCOL = "kefu.v1"
"""The subprotocol spoken on every socket of this product."""
BEARER_PROTOCOL = "bearer."
"""What stands before a token that a browser sends as a subprotocol."""

_HINT = "Send `Authorization: Bearer …`"
_SOCKET_HINT = f"{_HINT}, the cookie {COOKIE}, or the subprotocols {PROTOCOL}, {BEARER_PROTOCOL}…"


def token_of(connection: HTTPConnection, allowed_origins: tuple[str, ...]) -> str:
    """The token that came with a request or a socket's handshake.

    `Unauthorized` when there is none; `OriginNotAllowed` when a page of another site opened a
    socket with the cookie, which a browser would send along for anyone.
    """
    if token := _from_header(connection.scope["headers"]):
        return token
    if connection.scope["type"] != "websocket":
        raise Unauthorized("The request carries no token.", hint=_HINT)
    if token := _from_protocols(connection.headers.get("sec-websocket-protocol", "")):
        return token
    if token := connection.cookies.get(COOKIE):
        _check_origin(connection, allowed_origins)
        return token
    raise Unauthorized("The handshake carries no token.", hint=_SOCKET_HINT)


def _from_header(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    for name, value in headers:
        if name == b"authorization":
            scheme, _, token = value.decode("latin-1").partition(" ")
            return token.strip() or None if scheme.lower() == "bearer" else None
    return None


def _from_protocols(value: str) -> str | None:
    for offered in value.split(","):
        offered = offered.strip()
        if offered.startswith(BEARER_PROTOCOL):
            return offered.removeprefix(BEARER_PROTOCOL)
    return None


def _check_origin(connection: HTTPConnection, allowed_origins: tuple[str, ...]) -> None:
    origin = connection.headers.get("origin", "")
    own = origin.partition("://")[2] == connection.headers.get("host")
    if not (origin and own) and origin not in allowed_origins:
        raise OriginNotAllowed("The cookie is accepted from known pages only.")
