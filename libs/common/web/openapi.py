"""The OpenAPI document: FastAPI's, completed with what the edge adds to every operation.

Security, `x-roles`, required headers, the problem responses that an operation can give, and
operation ids that are unique across services (`chat_router_post_message`), since one client is
generated from all four.
"""

from collections import Counter
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute, RouteContext

from common.auth.guards import guarded_routes
from common.auth.principal import Role
from common.errors import error_kinds
from common.web.problems import MEDIA_TYPE, TYPE_PREFIX

SECURITY_SCHEME = "bearer"
# Their functions take None, to refuse a missing header with a code of its own.
REQUIRED_HEADERS: dict[str, dict[str, Any]] = {
    "Idempotency-Key": {
        "type": "string",
        "minLength": 1,
        "maxLength": 200,
        "pattern": "^[!-~]+$",
        "examples": ["7f0c2c5e-order-17"],
    },
    "If-Match": {
        "type": "string",
        "maxLength": 500,
        "pattern": r'^(\*|(W/)?"[!#-~]*"( *, *(W/)?"[!#-~]*")*)$',
        "examples": ['"7"'],
    },
}

_NAMES = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    408: "RequestTimeout",
    409: "Conflict",
    412: "PreconditionFailed",
    413: "TooLarge",
    415: "UnsupportedMediaType",
    422: "InvalidInput",
    428: "PreconditionRequired",
    429: "RateLimited",
    503: "Unavailable",
}
_HEADERS_BY_STATUS: dict[int, dict[str, Any]] = {
    401: {"WWW-Authenticate": {"schema": {"type": "string"}}},
    429: {"Retry-After": {"schema": {"type": "integer", "minimum": 1}}},
    503: {"Retry-After": {"schema": {"type": "integer", "minimum": 1}}},
}


def operation_id(service: str, route: RouteContext) -> str:
    """The id of a route's operation: service and function name."""
    return f"{service}_{route.name}"


def duplicate_operation_ids(app: FastAPI, service: str) -> list[str]:
    """Operation ids that more than one route has."""
    ids = Counter(operation_id(service, route) for route, _ in guarded_routes(app))
    return [known for known, times in ids.items() if times > 1]


def describe_api(app: FastAPI, service: str) -> dict[str, Any]:
    """The completed document of an application."""
    document = get_openapi(
        title=app.title,
        version=app.version,
        description=app.description,
        routes=app.routes,
        tags=app.openapi_tags,
    )
    for route, roles in guarded_routes(app):
        if isinstance(route.original_route, APIRoute) and route.include_in_schema:
            for method in route.methods or ():
                operation = document["paths"][route.path_format][method.lower()]
                operation["operationId"] = operation_id(service, route)
                _complete(operation, roles or ())
    _add_components(document)
    return document


def _complete(operation: dict[str, Any], roles: tuple[Role, ...]) -> None:
    operation["x-roles"] = sorted(roles)
    operation["security"] = [{SECURITY_SCHEME: []}] if roles else []
    for parameter in operation.get("parameters", ()):
        if schema := REQUIRED_HEADERS.get(parameter["name"]):
            parameter.update(required=True, schema=schema)
    responses = operation["responses"]
    if _is_framework_422(responses.get("422")):
        del responses["422"]
    # A route says `responses={404: {}}` where a refusal does not follow from its declaration.
    stated = {status for status in _NAMES if str(status) in responses}
    for status in stated | set(_possible(operation, bool(roles))):
        if "content" not in responses.get(str(status), {}):
            responses[str(status)] = {"$ref": f"#/components/responses/{_NAMES[status]}"}
    responses.setdefault("default", {"$ref": "#/components/responses/Problem"})


def _is_framework_422(response: dict[str, Any] | None) -> bool:
    return response is not None and "HTTPValidationError" in str(response.get("content"))


def _possible(operation: dict[str, Any], guarded: bool) -> list[int]:
    """The refusals that follow from how the operation is declared."""
    parameters = operation.get("parameters", ())
    headers = {one["name"] for one in parameters if one["in"] == "header"}
    possible = [429, 503]
    if guarded:
        possible += [401, 403]
    if parameters:
        possible += [422]
    if any(one["in"] == "path" for one in parameters):
        possible += [404]
    if any(one["name"] == "cursor" for one in parameters):
        possible += [400]
    if "requestBody" in operation:
        possible += [400, 408, 413, 415, 422]
    if "Idempotency-Key" in headers:
        possible += [400, 409]
    if "If-Match" in headers:
        possible += [412, 428]
    return sorted(set(possible))


def _add_components(document: dict[str, Any]) -> None:
    components = document.setdefault("components", {})
    components.setdefault("securitySchemes", {})[SECURITY_SCHEME] = {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
    }
    schemas = components.setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas["Problem"] = _problem_schema()
    responses = components.setdefault("responses", {})
    responses["Problem"] = _response("Any other refusal or failure", {})
    for status, name in _NAMES.items():
        codes = [kind.code for kind in error_kinds() if kind.status == status]
        headers = _HEADERS_BY_STATUS.get(status, {})
        responses[name] = _response("Codes: " + ", ".join(f"`{code}`" for code in codes), headers)


def _response(description: str, headers: dict[str, Any]) -> dict[str, Any]:
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    response: dict[str, Any] = {"description": description, "content": content}
    return {**response, "headers": headers} if headers else response


def _problem_schema() -> dict[str, Any]:
    text = {"type": "string"}
    found = {
        "type": "object",
        "properties": {"in": text, "pointer": text, "type": text, "detail": text},
        "required": ["in", "pointer", "type", "detail"],
    }
    return {
        "type": "object",
        "description": "A problem document (RFC 9457).",
        "properties": {
            "type": {"type": "string", "examples": [f"{TYPE_PREFIX}not_found"]},
            "title": {"type": "string", "description": "For people, Chinese first."},
            "status": {"type": "integer"},
            "code": {"type": "string", "description": "Stable; docs/api.md lists all codes."},
            "detail": text,
            "hint": {"type": "string", "description": "What to do next."},
            "request_id": text,
            "retry_after": {"type": "integer", "description": "Seconds."},
            "errors": {"type": "array", "items": found},
        },
        "required": ["type", "title", "status", "code"],
    }
