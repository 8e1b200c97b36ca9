"""The gate of an application: from a connection to the principal behind it."""

from collections.abc import Callable

from starlette.requests import HTTPConnection

from common.auth.credentials import token_of
from common.auth.principal import Principal
from common.auth.verifiers import Verifier

PRINCIPAL = "kefu.principal"
"""Where the verified caller stands in the ASGI scope."""


def _admit_all(_principal: Principal) -> None:
    """No limit."""


class Gate:
    """Verifies callers, once per request. An application keeps its gate in `app.state.gate`."""

    def __init__(
        self,
        verifier: Verifier,
        *,
        origins: tuple[str, ...] = (),
        admit: Callable[[Principal], None] = _admit_all,
    ) -> None:
        self._verifier = verifier
        self._origins = origins
        self._admit = admit
        """Called with each verified caller; raises `RateLimited` when that was too often."""

    async def authenticate(self, connection: HTTPConnection) -> Principal:
        """The caller of this connection; `Unauthorized` when there is no valid token."""
        known: Principal | None = connection.scope.get(PRINCIPAL)
        if known is None:
            known = await self._verifier.verify(token_of(connection, self._origins))
            self._admit(known)
            connection.scope[PRINCIPAL] = known
        return known


def gate_of(connection: HTTPConnection) -> Gate:
    """The gate of the application that serves this connection."""
    gate: Gate = connection.app.state.gate
    return gate
