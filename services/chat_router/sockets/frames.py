"""The frames of the socket. Every frame is a JSON object; `frame` says which.

Up: `hello`, `message`, `typing`, `read`, `ping`. Down: `welcome`, `event`, `accepted`, `refused`,
`resync`, `pong`, `error`.
"""

from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from common.contracts import MessageKind
from common.contracts.deliveries import format_deliveries, parse_deliveries

MAX_CURSOR = 1000

Name = Annotated[str, Meta(min_length=1, max_length=128)]
Uuid = Annotated[
    str, Meta(pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}(?!\n)$")
]


class Up(msgspec.Struct, frozen=True, kw_only=True, tag_field="frame"):
    """A frame from the client."""


class Hello(Up, frozen=True, kw_only=True, tag="hello"):
    """Always the first frame. Without a cursor the socket begins with what comes next.

    `topics: ["shop"]` asks for the shop's board as well; supervisors and operations have it.
    """

    cursor: Annotated[str, Meta(max_length=MAX_CURSOR)] | None = None
    topics: Annotated[tuple[Name, ...], Meta(max_length=10)] = ()


class Message(Up, frozen=True, kw_only=True, tag="message"):
    """A message, as in POST /v1/messages."""

    client_message_id: Name
    conversation_id: Uuid | None = None
    kind: MessageKind = "text"
    text: str | None = None
    media_url: str | None = None
    product_id: str | None = None
    order_id: str | None = None
    sent_at: str | None = None


class Typing(Up, frozen=True, kw_only=True, tag="typing"):
    """The caller is typing; said at most every second."""

    conversation_id: Uuid


class Read(Up, frozen=True, kw_only=True, tag="read"):
    """The caller's side has read everything up to a message."""

    conversation_id: Uuid
    up_to_seq: Annotated[int, Meta(ge=1, le=2**53 - 1)]


class Ping(Up, frozen=True, kw_only=True, tag="ping"):
    """I am here: an agent who says so less often than the shop's heartbeat time is gone."""


UP_FRAMES: msgspec.json.Decoder[Hello | Message | Typing | Read | Ping] = msgspec.json.Decoder(
    Hello | Message | Typing | Read | Ping
)


class Down(msgspec.Struct, frozen=True, kw_only=True, tag_field="frame"):
    """A frame to the client."""


class Welcome(Down, frozen=True, kw_only=True, tag="welcome"):
    """Events after `cursor` follow: first those that were missed, then live ones."""

    cursor: str
    server_now: datetime
    receivers: tuple[str, ...]


class EventFrame(Down, frozen=True, kw_only=True, tag="event"):
    """An event. `cursor` is what to say hello with to go on behind it; `type` is the event's
    name without prefix and version."""

    cursor: str
    receiver: str
    type: str
    body: dict[str, Any]


class Accepted(Down, frozen=True, kw_only=True, tag="accepted"):
    """The message is stored, once."""

    client_message_id: str
    conversation_id: str
    message_id: str
    seq: int
    received_at: datetime
    agent_id: str | None
    repeated: bool


class Refused(Down, frozen=True, kw_only=True, tag="refused"):
    """The message is not stored. `retry_after` in seconds, where the same may succeed later."""

    client_message_id: str
    code: str
    detail: str
    retry_after: float | None = None


class Resync(Down, frozen=True, kw_only=True, tag="resync"):
    """The cursor is no longer any good: load over HTTP, go on with what follows.

    `reason` is `too_old`, `too_far_behind` or `unknown_cursor`.
    """

    reason: str
    cursor: str


class Pong(Down, frozen=True, kw_only=True, tag="pong"):
    """The answer to `ping`."""

    server_now: datetime


class Error(Down, frozen=True, kw_only=True, tag="error"):
    """A frame that could not be done. The socket goes on."""

    code: str
    detail: str


def pack_cursor(seen: dict[str, int]) -> str:
    """The cursor of what was seen of each receiver's feed."""
    return format_deliveries(dict(sorted(seen.items())))


def unpack_cursor(cursor: str) -> dict[str, int] | None:
    """What was seen, None for a cursor that was never handed out."""
    try:
        return parse_deliveries(cursor)
    except ValueError:
        return None
