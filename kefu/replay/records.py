"""What the journal holds: one JSON line per record, told apart by `is`.

`at` is this machine's clock in seconds since 1970. Ids are what clients sent or were told.
"""

from typing import Any, Literal

import msgspec
from msgspec import Struct

Via = Literal["socket", "http"]


class Record(Struct, frozen=True, kw_only=True, tag_field="is", omit_defaults=True):
    """Base of everything in a journal."""

    at: float


class Run(Record, frozen=True, kw_only=True, tag="run"):
    """The first record: which file is played as which run, against which shop."""

    run: str
    shop_id: str
    digest: str
    speed: float


class Planned(Record, frozen=True, kw_only=True, tag="planned"):
    """What is about to be sent, on disk before it is sent: a repeat is byte for byte the same.

    `action` is the client message id of a message, else the Idempotency-Key. `kind` is `message`,
    `order`, `refund`, …; `about` the order, case or conversation it belongs to. `turn` numbers
    the messages of one buyer's thread in the order in which they must be stored.
    """

    action: str
    kind: str
    actor: str
    about: str = ""
    turn: int = 0
    body: dict[str, Any] = {}


class Acknowledged(Record, frozen=True, kw_only=True, tag="acknowledged"):
    """The system accepted an action; what it answered, as far as the check needs it.

    `sent_at` is when it was first sent by the process that got the answer.
    """

    action: str
    sent_at: float = 0.0
    conversation_id: str | None = None
    message_id: str | None = None
    seq: int | None = None
    answer: dict[str, Any] = {}


class Refused(Record, frozen=True, kw_only=True, tag="refused"):
    """The system refused an action for good, with a documented error."""

    action: str
    status: int
    code: str
    detail: str = ""
    kind: str = ""


class Joined(Record, frozen=True, kw_only=True, tag="joined"):
    """A receiver's client saw its feed begin after `cursor`."""

    receiver: str
    cursor: int


class Delivered(Record, frozen=True, kw_only=True, tag="delivered"):
    """A receiver's client got an event: pushed on its socket, or loaded over HTTP.

    `cursor` is the event's number in the receiver's feed, 0 for what was loaded.
    """

    receiver: str
    cursor: int
    type: str
    via: Via = "socket"
    conversation_id: str | None = None
    buyer_id: str | None = None
    message_id: str | None = None
    client_message_id: str | None = None
    seq: int | None = None
    agent_id: str | None = None
    reminder_id: str | None = None
    order_id: str | None = None
    waited_seconds: float | None = None
    hint: bool = False


class Resynced(Record, frozen=True, kw_only=True, tag="resynced"):
    """The system told a receiver that its feed no longer reaches back: it reloads over HTTP."""

    receiver: str


class Loaded(Record, frozen=True, kw_only=True, tag="loaded"):
    """An agent's client has loaded a conversation that was assigned to it."""

    receiver: str
    conversation_id: str


class PolicyBefore(Record, frozen=True, kw_only=True, tag="policy_before"):
    """A policy as it stood before the replay changed it."""

    area: str
    body: dict[str, Any]


class StepDone(Record, frozen=True, kw_only=True, tag="step_done"):
    """A step was played to its end."""

    step: str


class Finished(Record, frozen=True, kw_only=True, tag="finished"):
    """Everything was played; only the check is left."""


AnyRecord = (
    Run
    | Planned
    | Acknowledged
    | Refused
    | Joined
    | Delivered
    | Resynced
    | Loaded
    | PolicyBefore
    | StepDone
    | Finished
)

encoder = msgspec.json.Encoder()
decoder: msgspec.json.Decoder[AnyRecord] = msgspec.json.Decoder(AnyRecord)
