"""Puts the demo shop into a running system, through the services' own APIs, once.

What is there already stays as somebody may have changed it: groups, agents and rules are made
only where the system has none (`If-Match: "0"`).
"""

from typing import Any

from httpx import AsyncBaseTransport

from kefu.replay.http import Http, RefusedByApi, Urls
from kefu.seed import people, seed_file
from kefu.tokens import Issuer

NEW = '"0"'
PATIENCE_SECONDS = 30.0
TAKEN = 412


async def apply_seed(
    urls: Urls, issuer: Issuer, transport: AsyncBaseTransport | None = None
) -> list[str]:
    """Makes what is missing; says what it made. `transport` leads to a system in this process."""
    http = Http(urls, patience=PATIENCE_SECONDS, transport=transport)
    token = issuer.token(people("supervisor")[0]["id"], "supervisor")
    try:
        made = [await _put(http, service, path, token, body) for service, path, body in _wanted()]
    finally:
        await http.close()
    return [path for path in made if path]


async def _put(http: Http, service: str, path: str, token: str, body: Any) -> str:
    try:
        await http.put(service, path, token, body, if_match=NEW)
    except RefusedByApi as refusal:
        if refusal.status != TAKEN:
            raise
        return ""
    return f"made {service}{path}"


def _wanted() -> list[tuple[str, str, Any]]:
    """(service, path, body) of everything that the services keep of the demo shop."""
    groups = [
        ("chat_router", f"/v1/groups/{group['group_id']}", _group(group, place))
        for place, group in enumerate(seed_file("staff")["groups"])
    ]
    agents = [
        ("chat_router", f"/v1/agents/{agent['id']}", _agent(agent))
        for agent in people("agent", "senior_agent")
    ]
    policies = seed_file("policies")
    return [
        ("chat_router", "/v1/shop_settings", _rules()),
        *groups,
        *agents,
        ("order_ops", "/v1/reminder_policies/current", policies["reminders"]),
    ]


def _group(group: dict[str, Any], place: int) -> dict[str, Any]:
    return {
        "name": _both(group["name"]),
        "order_states": group["order_states"],
        "place": place,
    }


def _agent(agent: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": _both(agent["name"]),
        "groups": agent["groups"],
        "capacity": agent["capacity"],
    }


def _rules() -> dict[str, Any]:
    shop = seed_file("shop")
    rules: dict[str, Any] = seed_file("policies")["shop_settings"]
    return rules | {
        "timezone": shop["timezone"],
        "greeting_zh": shop["greeting"]["zh"],
        "greeting_en": shop["greeting"]["en"],
        "closed_greeting_zh": shop["away"]["zh"],
        "closed_greeting_en": shop["away"]["en"],
    }


def _both(text: dict[str, str]) -> str:
    return f"{text['zh']} {text['en']}"
