"""The one port: taken before anything else starts, so that a taken one costs nothing."""

import errno
import socket

from kefu.cli.failures import UNAVAILABLE, CommandFailed


def listen(host: str, port: int) -> socket.socket:
    """A bound socket; `CommandFailed` says what is wrong with the address."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise CommandFailed(_sentence(host, port, error), UNAVAILABLE) from None
    bound.listen(2048)
    bound.setblocking(False)
    return bound


def _sentence(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} is in use: stop what listens there, or choose one with KEFU_PORT"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"port {port} is not allowed for this user: choose one above 1023 with KEFU_PORT"
    return f"cannot listen on {host}:{port}: {error.strerror or error} (KEFU_HOST, KEFU_PORT)"


def address_of(bound: socket.socket) -> str:
    """The base address of a bound socket, as a client on this machine writes it."""
    host, port = bound.getsockname()[:2]
    if host in ("0.0.0.0", "::"):  # noqa: S104 - a comparison
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
