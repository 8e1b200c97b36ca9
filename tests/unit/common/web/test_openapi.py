"""The OpenAPI document says all that a client must know, and the application keeps to it."""

from collections.abc import Callable
from typing import Annotated, Any

import pytest
import schemathesis
from fastapi import APIRouter, FastAPI, Response
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup, ServerError
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from common.auth.guards import public, undeclared_routes
from common.auth.principal import Principal, Role
from common.auth.verifiers import RefuseAll
from common.settings import Settings
from common.web.app import create_app

Build = Callable[..., FastAPI]
Bearer = Callable[..., dict[str, str]]

OPERATIONS = [
    ("get", "/v1/greeting"),
    ("get", "/v1/notes"),
    ("get", "/v1/notes/{note_id}"),
    ("post", "/v1/notes"),
    ("put", "/v1/notes/{note_id}"),
    ("get", "/v1/shops/{shop_id}/notes"),
    ("get", "/healthz"),
    ("get", "/readyz"),
    ("get", "/metrics"),
]


@pytest.fixture
def document(build: Build) -> dict[str, Any]:
    return build().openapi()


def operation(document: dict[str, Any], method: str, path: str) -> dict[str, Any]:
    found: dict[str, Any] = document["paths"][path][method]
    return found


@pytest.mark.parametrize("method, path", OPERATIONS)
def test_every_operation_says_who_may_call_it(
    document: dict[str, Any], method: str, path: str
) -> None:
    described = operation(document, method, path)
    assert bool(described["x-roles"]) == bool(described["security"])
    if described["x-roles"]:
        assert described["security"] == [{"bearer": []}]
        assert {"401", "403"} <= described["responses"].keys()


def test_the_roles_are_the_declared_ones(document: dict[str, Any]) -> None:
    assert operation(document, "put", "/v1/notes/{note_id}")["x-roles"] == ["supervisor"]
    assert operation(document, "post", "/v1/notes")["x-roles"] == ["buyer"]
    assert operation(document, "get", "/v1/greeting")["x-roles"] == []
    scheme = document["components"]["securitySchemes"]["bearer"]
    assert scheme == {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}


@pytest.mark.parametrize("method, path", OPERATIONS)
def test_every_operation_documents_its_problems(
    document: dict[str, Any], method: str, path: str
) -> None:
    for status, response in operation(document, method, path)["responses"].items():
        if status.startswith("2") or "$ref" not in response:
            continue
        name = response["$ref"].rpartition("/")[2]
        described = document["components"]["responses"][name]
        schema = described["content"]["application/problem+json"]["schema"]
        assert schema == {"$ref": "#/components/schemas/Problem"}
    assert "HTTPValidationError" not in str(document)


def test_required_headers_are_required(document: dict[str, Any]) -> None:
    def header(method: str, path: str) -> dict[str, Any]:
        (found,) = operation(document, method, path)["parameters"][-1:]
        assert found["in"] == "header"
        return dict(found)

    key = header("post", "/v1/notes")
    assert key["name"] == "Idempotency-Key"
    assert key["required"]
    match = header("put", "/v1/notes/{note_id}")
    assert match["name"] == "If-Match"
    assert match["required"]
    responses = operation(document, "put", "/v1/notes/{note_id}")["responses"]
    assert {"412", "428"} <= responses.keys()


def test_operation_ids_are_unique_and_carry_the_service(document: dict[str, Any]) -> None:
    ids = [operation(document, method, path)["operationId"] for method, path in OPERATIONS]
    assert len(set(ids)) == len(ids)
    assert "demo_post_note" in ids


def test_two_routes_of_one_name_do_not_start() -> None:
    router = APIRouter(dependencies=[public()])

    async def same() -> None:
        return None

    router.get("/a")(same)
    router.get("/b")(same)
    with pytest.raises(AssertionError, match="demo_same"):
        create_app("Demo", "demo", Settings(), routers=[router], verifier=RefuseAll())


def test_a_route_that_declares_nobody_does_not_start() -> None:
    router = APIRouter(prefix="/v1")

    @router.get("/open")
    async def undeclared(caller: Annotated[Principal | None, None] = None) -> None:
        return None

    with pytest.raises(AssertionError, match="/v1/open"):
        create_app("Demo", "demo", Settings(), routers=[router], verifier=RefuseAll())


def test_plain_routes_and_mounts_must_not_slip_in(build: Build) -> None:
    app = build()
    assert undeclared_routes(app) == []
    app.add_route("/plain", lambda _request: Response())
    app.mount("/files", FastAPI())
    assert undeclared_routes(app) == ["/plain", "/files"]


# ---------------------------------------------------------------- fuzzed from the document

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
FUZZED = [one for one in OPERATIONS if one[1] != "/readyz"]  # never ready without its lifespan


def fuzz(app: FastAPI, path: str, method: str, mode: GenerationMode, **call: Any) -> set[int]:
    """The statuses answered to some generated requests, each of which was checked."""
    fuzzed = schemathesis.openapi.from_asgi("/openapi.json", app)[path][method]
    statuses: set[int] = set()

    @settings(
        max_examples=25,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=fuzzed.as_strategy(mode))
    def check(case: Case[Any]) -> None:
        statuses.add(case.call_and_validate(checks=CHECKS, **call).status_code)

    try:
        check()
    except Unsatisfiable:
        assert mode is GenerationMode.NEGATIVE, "an operation without input cannot be misused"
    return statuses


@pytest.mark.parametrize("method, path", FUZZED)
def test_no_input_makes_an_operation_fail(
    unlimited: FastAPI, bearer: Bearer, method: str, path: str
) -> None:
    headers = bearer(Role.ADMIN, Role.BUYER)
    fitting = fuzz(unlimited, path, method, GenerationMode.POSITIVE, headers=headers)
    assert fitting & ({412} if method == "put" else {200, 201}), "no request got through"
    fuzz(unlimited, path, method, GenerationMode.NEGATIVE, headers=headers)


@pytest.mark.parametrize("method, path", [one for one in FUZZED if one[1].startswith("/v1/")])
def test_without_a_token_no_input_gets_through(unlimited: FastAPI, method: str, path: str) -> None:
    statuses = fuzz(unlimited, path, method, GenerationMode.POSITIVE)
    assert statuses <= ({200} if path == "/v1/greeting" else {400, 401, 422})


def test_the_fuzzer_finds_what_fails(unlimited: FastAPI) -> None:
    with pytest.raises((FailureGroup, ServerError)):
        fuzz(unlimited, "/broken/{cause}", "get", GenerationMode.POSITIVE)


def test_a_route_is_served_as_its_router_built_it_and_not_built_again() -> None:
    router = APIRouter(prefix="/v1")

    @router.get("/more", dependencies=[public()])
    async def more() -> Response:
        return Response()

    app = create_app("Demo", "demo", Settings(), routers=[router], verifier=RefuseAll())
    assert any(served is router.routes[0] for served in app.routes)
