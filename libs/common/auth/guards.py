"""Who may call a route: declared on every one, checked before the route runs.

    Staff = Annotated[Principal, requires(Role.AGENT)]

    @router.get("/conversations")
    async def conversations(caller: Staff) -> ...:

    @router.get("/greeting", dependencies=[public()])
    async def greeting() -> ...:

The same declaration works for WebSockets and appears in OpenAPI as `x-roles`. An application with
a route that declares nothing does not start.
"""

from collections.abc import Iterator
from typing import Any

from fastapi import Depends, FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, APIWebSocketRoute, RouteContext, iter_route_contexts
from starlette.requests import HTTPConnection
from starlette.routing import Route

from common.auth.gate import gate_of
from common.auth.principal import Principal, Role


class RoleGuard:
    """The dependency that lets in callers who may act as one of `roles`."""

    def __init__(self, roles: tuple[Role, ...]) -> None:
        self.roles = roles

    async def __call__(self, connection: HTTPConnection) -> Principal:
        principal = await gate_of(connection).authenticate(connection)
        principal.require(*self.roles)
        return principal


class OpenDoor:
    """The dependency that lets everybody in, and says so."""

    roles: tuple[Role, ...] = ()

    async def __call__(self) -> None:
        return None


def requires(*roles: Role) -> Any:
    """Only callers who may act as one of `roles`. Use as `Annotated[Principal, requires(…)]`."""
    if not roles:
        raise TypeError("requires() names at least one role; public() is for everybody")
    return Depends(RoleGuard(roles))


def public() -> Any:
    """Everybody, without a token."""
    return Depends(OpenDoor())


def anyone_signed_in() -> Any:
    """Every role there is, with a valid token."""
    return requires(*Role)


def declared_roles(dependant: Dependant) -> tuple[Role, ...] | None:
    """The roles that a route declares: none for a public one, None when it declares nothing.

    Of several declarations, such as a router's and its route's, all must be met; the narrowest
    one is the last.
    """
    guards = [call for call in _calls(dependant) if isinstance(call, RoleGuard | OpenDoor)]
    strict = [guard for guard in guards if guard.roles]
    if not guards:
        return None
    return strict[-1].roles if strict else ()


def _calls(dependant: Dependant) -> Iterator[Any]:
    for dependency in dependant.dependencies:
        yield dependency.call
        yield from _calls(dependency)


def guarded_routes(app: FastAPI) -> Iterator[tuple[RouteContext, tuple[Role, ...] | None]]:
    """Every HTTP and WebSocket route of the application with the roles it declares."""
    for route in iter_route_contexts(app.routes):
        if isinstance(route.original_route, APIRoute | APIWebSocketRoute):
            yield route, declared_roles(route.dependant)


def undeclared_routes(app: FastAPI) -> list[str]:
    """The paths that would serve anybody without having said so.

    Plain Starlette routes and mounts count too, except FastAPI's own documentation pages.
    """
    own = {app.openapi_url, app.docs_url, app.redoc_url, app.swagger_ui_oauth2_redirect_url}
    missing = [str(route.path) for route, roles in guarded_routes(app) if roles is None]
    for route in iter_route_contexts(app.routes):
        original = route.original_route
        if isinstance(original, APIRoute | APIWebSocketRoute):
            continue
        if not (isinstance(original, Route) and original.path in own):
            missing.append(str(route.path))
    return missing


def assert_every_route_declares_roles(app: FastAPI) -> None:
    """Raise `AssertionError` that names each route without `requires(…)` or `public()`."""
    missing = undeclared_routes(app)
    if missing:
        raise AssertionError(f"routes that do not declare who may call them: {missing}")
