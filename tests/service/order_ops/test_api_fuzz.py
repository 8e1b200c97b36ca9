"""Whatever is sent to the API, it answers as documented and never with a 5xx."""

from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.core.result import Ok

from common.auth.principal import Role
from tests.support.order_examples import snapshot
from tests.support.order_shop import Shop

ROLES = (Role.SYSTEM, Role.AGENT, Role.SUPERVISOR, Role.BUYER)


async def test_no_request_makes_the_service_fail(shop: Shop) -> None:
    await shop.tell(snapshot())
    document = (await shop.http.get("/openapi.json")).json()
    schema = schemathesis.openapi.from_dict(document)
    for result in schema.get_all_operations():
        assert isinstance(result, Ok)
        operation = result.ok()
        if not operation.path.startswith("/v1/"):
            continue
        for number, case in enumerate(drawn(operation.as_strategy())):
            for role in ROLES:
                answer = await shop.call(
                    operation.method.upper(),
                    case.formatted_path,
                    role=role,
                    subject="b1" if role == Role.BUYER else f"x{number}",
                    headers=printable(case.headers),
                    params=case.query,
                    json=None if case.body is schemathesis.core.NOT_SET else case.body,
                )
                assert answer.status_code < 500, (operation.label, answer.text)


def drawn(strategy: st.SearchStrategy[Any]) -> list[Any]:
    """Some examples of a strategy: the requests are sent where the service's loop runs."""
    found: list[Any] = []

    @settings(
        max_examples=12,
        database=None,
        derandomize=True,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def draw(case: Any) -> None:
        found.append(case)

    draw()
    return found


def printable(headers: Any) -> dict[str, str]:
    """The generated headers that HTTP can carry at all; a token is the test's own."""
    given_headers = dict(headers or {})
    given_headers.pop("Authorization", None)
    return {
        name: value
        for name, value in given_headers.items()
        if isinstance(value, str) and value.isascii() and value.isprintable()
    }
