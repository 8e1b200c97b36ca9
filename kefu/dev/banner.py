"""What `kefu dev` prints once it is up: where things are, tokens, lines to paste."""

import json
import shlex
import sys
from pathlib import Path

from kefu.seed import people
from kefu.tokens import Issuer

DEMO_BUYER = "lihua"
DEMO_AGENT = "xiaomei"
SYSTEM = "shop-system"


def demo_tokens(issuer: Issuer) -> dict[str, tuple[str, str]]:
    """Role → (subject, token), one of each role."""
    subjects = {"buyer": DEMO_BUYER}
    for role in ("agent", "senior_agent", "supervisor", "operations", "admin"):
        subjects[role] = people(role)[0]["id"]
    subjects["system"] = SYSTEM
    return {role: (who, issuer.token(who, role)) for role, who in subjects.items()}


def banner(base_url: str, issuer: Issuer) -> str:
    """The whole text."""
    tokens = demo_tokens(issuer)
    parts = [
        f"Kefu is up at {base_url}   (data: {issuer.settings.home}, shop: {issuer.shop_id})",
        f"  API docs   {base_url}/docs   ({base_url}/openapi.json)",
        f"  health     {base_url}/healthz",
        "",
        "Tokens, good for 12 hours (kefu token makes more):",
        *(f"  {role:13} {who:12} {token}" for role, (who, token) in tokens.items()),
        "",
        "Try it (paste into another terminal):",
        "",
        *(f"# {title}\n{line}\n" for title, line in lines_to_try(base_url, tokens)),
        "Ctrl-C stops. Started again, it has all its data.",
    ]
    return "\n".join(parts)


def lines_to_try(base_url: str, tokens: dict[str, tuple[str, str]]) -> list[tuple[str, str]]:
    """(what it does, the line): each works as it stands."""
    buyer, agent = tokens["buyer"][1], tokens["agent"][1]
    return [
        ("a buyer writes: 买家发一条消息", _write(base_url, buyer)),
        ("what the agents have: 客服看会话列表", _inbox(base_url, agent)),
        ("the agent's live socket: 客服的实时连接", _socket(base_url, agent)),
    ]


def _write(base_url: str, token: str) -> str:
    message = {"client_message_id": "try-1", "kind": "text", "text": "在吗?这件外套有 XL 码吗"}
    return (
        f"curl -sS {base_url}/chat_router/v1/messages -H 'Authorization: Bearer {token}' "
        f"-H 'Idempotency-Key: try-1' -H 'Content-Type: application/json' "
        f"-d '{json.dumps(message, ensure_ascii=False)}'"
    )


def _inbox(base_url: str, token: str) -> str:
    return (
        f"curl -sS '{base_url}/chat_router/v1/conversations?limit=5' "
        f"-H 'Authorization: Bearer {token}'"
    )


def _socket(base_url: str, token: str) -> str:
    address = "ws" + base_url.removeprefix("http") + "/chat_router/v1/socket"
    kefu = shlex.quote(str(Path(sys.argv[0]).absolute()))
    hello = json.dumps({"frame": "hello"})
    return (
        f"echo '{hello}' | websocat -n -H 'Authorization: Bearer {token}' {address}\n"
        f"# the same without websocat: 没有 websocat 就用这一行\n"
        f"{kefu} listen --base-url {base_url} --token {token}"
    )
