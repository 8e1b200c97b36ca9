"""Whatever is sent to an operation, it answers as its description says, and never with a 5xx.

The requests are made from the combined OpenAPI document: most fit it, some do not. Ids of things
that exist are put in often enough for requests to get past "not found". `KEFU_TEST_FUZZ_EXAMPLES`
asks for more than the few dozen requests per operation that every run of the suite can afford.
"""

import asyncio
import copy
import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.core.result import Ok
from schemathesis.core.transport import Response
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
)

from common.auth.principal import INCLUDES, Role
from common.settings import Settings
from tests.support.cluster import Cluster, embedded_cluster
from tests.support.whole import NO_LIMITS, SHOP, Scene, System, set_scene

EXAMPLES = int(os.environ.get("KEFU_TEST_FUZZ_EXAMPLES", "15"))
SERVICES = ("chat_router", "order_ops", "aftersales", "feedback")
ROLES = (Role.ADMIN, Role.SUPERVISOR, Role.SYSTEM, Role.AGENT, Role.BUYER, Role.OPERATIONS)
CHECKS = [content_type_conformance, response_headers_conformance, response_schema_conformance]
PROBLEM = "application/problem+json"


class Target:
    """A system that runs as a process, with a shop in it, on one of the databases."""

    def __init__(self, cluster: Cluster, scene: Scene, tokens: dict[Role, str]) -> None:
        self.cluster = cluster
        self.base_url = cluster.processes[0].url
        self.scene = scene
        self.tokens = tokens
        self.session = requests.Session()
        self.session.trust_env = False
        document = self.session.get(f"{self.base_url}/openapi.json", timeout=30).json()
        self.document: dict[str, Any] = document
        self.schema = schemathesis.openapi.from_dict(document)

    def operations(self, service: str) -> Iterator[Any]:
        """The operations of a service, its probes left out."""
        for result in self.schema.get_all_operations():
            assert isinstance(result, Ok), result
            operation = result.ok()
            if operation.path.startswith(f"/{service}/v1/"):
                yield operation


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def target(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Target]:
    home = tmp_path_factory.mktemp(f"fuzz-{request.param}")
    environment = {f"KEFU_{name.upper()}": str(value) for name, value in NO_LIMITS.items()}
    if request.param == "sqlite":
        with _target(home, environment) as running:
            yield running
        return
    node = request.getfixturevalue("postgres_node")
    url = node.create_database()
    try:
        with _target(home, environment | {"KEFU_DATABASE_URL": url}) as running:
            yield running
    finally:
        node.drop_database(url)


class _target:  # noqa: N801 - a context manager that is used like a function
    def __init__(self, home: Path, environment: dict[str, str]) -> None:
        self._home = home
        self._cluster = embedded_cluster(home, **environment)

    def __enter__(self) -> Target:
        cluster = self._cluster.__enter__()
        try:
            scene, tokens = asyncio.run(self._prepared(cluster.processes[0].url))
            return Target(cluster, scene, tokens)
        except BaseException:
            self._cluster.__exit__(None, None, None)
            raise

    def __exit__(self, *failure: Any) -> None:
        self._cluster.__exit__(None, None, None)

    async def _prepared(self, base_url: str) -> tuple[Scene, dict[Role, str]]:
        system = System(base_url, Settings(home=self._home))
        try:
            scene = await set_scene(system)
            return scene, {role: system.token(role) for role in ROLES}
        finally:
            await system.http.aclose()


@pytest.mark.parametrize("service", SERVICES)
def test_no_request_gets_an_answer_that_is_not_documented(target: Target, service: str) -> None:
    found: dict[str, str] = {}
    accepted: dict[str, int] = {}
    for operation in target.operations(service):
        statuses: list[int] = []
        for case, role in _requests(target, operation):
            answer = _sent(target, case, role)
            statuses.append(answer.status_code)
            if complaint := _complaint(operation, case, answer):
                found.setdefault(f"{complaint} {operation.label}", _told(answer, role, case))
        accepted[operation.label] = sum(status < 400 for status in statuses)
    assert not found, "\n".join(f"{what}\n    {how}" for what, how in found.items()) + "\n".join(
        ["", target.cluster.processes[0].log_tail()]
    )
    # A fuzzer that is always turned away at the door tests the door only.
    closed = [label for label, times in accepted.items() if not times]
    assert len(closed) <= len(accepted) // 3, f"never accepted: {closed}"


def _requests(target: Target, operation: Any) -> Iterator[tuple[Any, Role]]:
    """Requests for an operation, each with the role of its sender, the same in every run."""
    allowed = {Role(name) for name in operation.definition.raw["x-roles"]}
    turn = itertools.cycle([role for role in ROLES if INCLUDES[role] & allowed])
    for number, (case, parts) in enumerate(_drawn(operation)):
        # A case is changed on its way; the other database gets it as it was drawn.
        for name, part in copy.deepcopy(parts).items():
            setattr(case, name, part)
        yield _anchored(target, case, number), next(turn)


_CASES: dict[str, list[tuple[Any, dict[str, Any]]]] = {}


def _drawn(operation: Any) -> list[tuple[Any, dict[str, Any]]]:
    """What hypothesis made for this operation, drawn once for both databases."""
    if operation.label not in _CASES:
        fitting = operation.as_strategy(generation_mode=GenerationMode.POSITIVE)
        cases = [*_examples(fitting, EXAMPLES), *_examples(_unfit(operation), EXAMPLES // 3)]
        parts = ("path_parameters", "headers", "body")
        _CASES[operation.label] = [
            (case, copy.deepcopy({name: getattr(case, name) for name in parts})) for case in cases
        ]
    return _CASES[operation.label]


def _unfit(operation: Any) -> "st.SearchStrategy[Any]":
    takes_anything = not operation.body and not list(operation.iter_parameters())
    mode = GenerationMode.POSITIVE if takes_anything else GenerationMode.NEGATIVE
    strategy: st.SearchStrategy[Any] = operation.as_strategy(generation_mode=mode)
    return strategy


def _examples(strategy: "st.SearchStrategy[Any]", count: int) -> list[Any]:
    cases: list[Any] = []

    @seed(1)
    @settings(
        max_examples=max(count, 1),
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def draw(case: Any) -> None:
        cases.append(case)

    draw()
    return cases


def _anchored(target: Target, case: Any, number: int) -> Any:
    """The request, two times in three about things that exist."""
    if number % 3 == 0:
        return case
    ids = target.scene.ids
    for name in case.path_parameters or {}:
        case.path_parameters[name] = ids.get(name, case.path_parameters[name])
    if "If-Match" in (case.headers or {}):
        case.headers["If-Match"] = "*"
    if isinstance(case.body, dict):
        for name, value in case.body.items():
            if name == "shop_id" and isinstance(value, str):
                case.body[name] = SHOP
            elif number % 3 == 1 and name in ids and isinstance(value, str):
                case.body[name] = ids[name]
    return case


def _sent(target: Target, case: Any, role: Role) -> Response:
    case.headers = {
        name: value for name, value in (case.headers or {}).items() if _can_be_sent(name, value)
    }
    headers = {"Authorization": f"Bearer {target.tokens[role]}"}
    answer = case.call(base_url=target.base_url, session=target.session, headers=headers)
    assert isinstance(answer, Response)
    return answer


def _can_be_sent(name: str, value: Any) -> bool:
    """What HTTP can carry as a header at all; the token is the test's own."""
    return (
        name.lower() != "authorization"
        and isinstance(value, str)
        and value.isascii()
        and value.isprintable()
    )


def _complaint(operation: Any, case: Any, answer: Response) -> str | None:
    """What is wrong with an answer, if anything is."""
    status = answer.status_code
    if status >= 500:
        return f"{status}"
    if str(status) not in operation.definition.raw["responses"]:
        return f"undocumented {status}"
    kind = answer.headers.get("content-type", [""])[0]
    if status >= 400 and kind != PROBLEM:
        return f"{status} as {kind}"
    try:
        case.validate_response(answer, checks=CHECKS)
    except (Failure, FailureGroup) as error:
        return f"{status} unlike its description ({_first_line(error)})"
    return None


def _first_line(error: BaseException) -> str:
    inner = error.exceptions[0] if isinstance(error, FailureGroup) else error
    return " / ".join(str(inner).splitlines()[:4])


def _told(answer: Response, role: Role, case: Any) -> str:
    """How to see it again, without the token."""
    request = answer.request
    body = request.body if isinstance(request.body, str | bytes | None) else "…"
    headers = {
        n: v for n, v in request.headers.items() if n.lower() in ("content-type", "if-match")
    }
    text = answer.content[:600].decode("utf-8", "replace")
    return f"{role} {request.method} {request.url} {headers} {body!r:.600} -> {text}"
