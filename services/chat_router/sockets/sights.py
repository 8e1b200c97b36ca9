"""Who sees which feeds, and what of an event."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from common.auth.principal import Principal, Role
from common.contracts.base import TYPE_PREFIX
from common.runtime.feed import FeedItem

from ..marks import Taken

BOARD = "shop"
_BOARD_ROLES = frozenset({Role.SUPERVISOR, Role.OPERATIONS, Role.ADMIN})
_SERVING_ROLES = frozenset({Role.AGENT, Role.SENIOR_AGENT})

NOT_FOR_BUYERS = frozenset(
    {"tags", "hint", "note", "warnings", "previous_agent_id", "actor", "actor_role"}
)
"""Members of events that a buyer's client never gets."""

_MESSAGES = frozenset({"message.received", "message.sent"})


def receivers_of(caller: Principal, topics: Sequence[str]) -> tuple[str, ...]:
    """The feeds of a caller: a buyer's own; an agent's own, with the board if asked for;
    whoever leads has the board anyway."""
    if caller.kind == "buyer":
        return (f"buyer:{caller.subject}",)
    board = BOARD in topics or bool(caller.roles & _BOARD_ROLES)
    return (f"agent:{caller.subject}", *((BOARD,) if board else ()))


def serves_buyers(caller: Principal) -> bool:
    """Whether being connected makes the caller somebody who is given buyers."""
    return bool(caller.roles & _SERVING_ROLES) and not caller.roles & _BOARD_ROLES


def short_type(type_: str) -> str:
    """`kefu.message.sent.v1` → `message.sent`."""
    return type_.removeprefix(TYPE_PREFIX).rpartition(".v")[0]


def body_for(item: FeedItem, now: datetime) -> dict[str, Any]:
    """An event as its receiver is shown it, with the server's time."""
    body: dict[str, Any] = msgspec.json.decode(item.body)
    if item.receiver.startswith("buyer:"):
        body = {name: value for name, value in body.items() if name not in NOT_FOR_BUYERS}
    body["server_now"] = now
    return body


def taken_by(receiver: str, type_: str, body: dict[str, Any]) -> Taken | None:
    """The delivery mark of an event: for messages of the other side only."""
    if type_ not in _MESSAGES or receiver == BOARD:
        return None
    to_buyer = receiver.startswith("buyer:")
    if (body["sender_kind"] == "buyer") == to_buyer:
        return None
    return Taken(
        conversation_id=body["conversation_id"], message_id=body["message_id"], seq=body["seq"]
    )


def happened_at(type_: str, body: dict[str, Any]) -> datetime | None:
    """When a message was stored, for measuring its delivery."""
    return datetime.fromisoformat(body["received_at"]) if type_ in _MESSAGES else None
