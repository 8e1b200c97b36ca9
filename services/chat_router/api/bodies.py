"""What chat_router takes over HTTP."""

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from common.contracts import MessageKind, OrderState, Platform, Presence, RefundKind
from common.contracts.content import CONTENT_FIELD
from common.web.types import (
    AwareDatetime,
    Body,
    Day,
    ExternalId,
    Fen,
    Line,
    ShopId,
    Text,
    Uuid,
    is_time_zone,
)

Url = Annotated[
    str,
    StringConstraints(max_length=2000, pattern=r"^https?://[^\s\x00-\x20\x7f-\x9f<>\"]+$"),
    Field(description="An absolute http or https address."),
]
# What a person words and may leave empty: notes, reasons, greetings.
ShortText = Annotated[
    str, StringConstraints(max_length=1000, pattern=r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]*$")
]
Tag = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]+$")]
Seconds = Annotated[int, Field(ge=1, le=86_400)]
TimeOfDay = Annotated[str, StringConstraints(pattern=r"^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$")]


class NewMessage(Body):
    """A message. Its identity is the writer's own `client_message_id`, or the platform's
    `message_id`: the same id again is the same message."""

    shop_id: ShopId | None = None
    client_message_id: ExternalId | None = None
    message_id: ExternalId | None = Field(None, description="The platform's id (role system).")
    kind: MessageKind = "text"
    text: Text | None = None
    media_url: Url | None = None
    product_id: ExternalId | None = None
    order_id: ExternalId | None = None
    sent_at: AwareDatetime | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if not (self.client_message_id or self.message_id):
            raise ValueError("client_message_id is missing")
        if not getattr(self, CONTENT_FIELD[self.kind]):
            raise ValueError(f"a message of kind {self.kind} needs {CONTENT_FIELD[self.kind]}")
        return self

    @property
    def client_id(self) -> str:
        """The id that makes it the same message."""
        return self.client_message_id or self.message_id or ""


class AddressedMessage(NewMessage):
    """A message that says where it goes: an agent names the conversation, a shop system the
    buyer, a buyer nothing (or the conversation)."""

    conversation_id: Uuid | None = None
    buyer_id: ExternalId | None = Field(None, description="Role system: whose chat it is.")
    platform: Platform = "own"
    sender: Literal["buyer", "shop"] = Field("buyer", description="Role system: who wrote.")
    agent_id: ExternalId | None = Field(None, description="Role system: which agent wrote.")


class Transfer(Body):
    """To an agent, to a group, or both."""

    to_agent_id: ExternalId | None = None
    to_group_id: ExternalId | None = None
    note: ShortText = ""

    @model_validator(mode="after")
    def _somewhere(self) -> Self:
        if self.to_agent_id is None and self.to_group_id is None:
            raise ValueError("name to_agent_id or to_group_id")
        return self


class ReadMark(Body):
    """Everything up to and including this message is read."""

    up_to_seq: Annotated[int, Field(ge=1, le=2**53 - 1)]


class Rating(Body):
    """5 is very satisfied, 1 very dissatisfied."""

    rating: Annotated[int, Field(ge=1, le=5)]
    reason: ShortText | None = None


class NewPresence(Body):
    """`suspended` (挂起) keeps the buyers there are and gets no new ones."""

    presence: Presence


class AgentSetup(Body):
    """No `groups` means every group. `weight` 2 takes twice the buyers of 1."""

    name: Annotated[str, StringConstraints(max_length=64, pattern=r"^[^\x00-\x1f\x7f-\x9f]*$")] = ""
    groups: list[ExternalId] = Field(default=[], max_length=50)
    capacity: Annotated[int, Field(ge=0, le=100)]
    weight: Annotated[float, Field(ge=0.1, le=10)] = 1.0


class GroupSetup(Body):
    """A skill group, bound to buyers whose order situation is one of `order_states`."""

    name: Line
    order_states: list[OrderState] = Field(default=[], max_length=6)
    priority: Annotated[int, Field(ge=0, le=9)] = 0
    place: Annotated[int, Field(ge=0, le=1000)] = 0


class Profile(Body):
    """A buyer's profile as staff edit it, as a whole."""

    name: Annotated[str, StringConstraints(max_length=64, pattern=r"^[^\x00-\x1f\x7f-\x9f]*$")] = ""
    tags: list[Tag] = Field(default=[], max_length=100)
    attributes: dict[Tag, Line] = Field(default={}, max_length=100)
    note: ShortText = ""
    priority: Annotated[int, Field(ge=0, le=9)] = 0
    dedicated_agent_id: ExternalId | None = None


class Hours(Body):
    """One span of one weekday, 0 = Monday; `closes` may be 24:00."""

    weekday: Annotated[int, Field(ge=0, le=6)]
    opens: TimeOfDay
    closes: TimeOfDay

    @model_validator(mode="after")
    def _forward(self) -> Self:
        if not self.opens < self.closes:
            raise ValueError("opens must be before closes; a span over midnight is two spans")
        return self


class ShopRules(Body):
    """A shop's rules. No `hours` means always open."""

    timezone: Annotated[str, StringConstraints(min_length=1, max_length=64)] = "Asia/Shanghai"
    hours: list[Hours] = Field(default=[], max_length=50)
    # A holiday that is mistyped would be a day on which the shop is open: `Day` refuses it.
    closed_dates: list[Day] = Field(default=[], max_length=400)
    greeting_zh: ShortText = ""
    greeting_en: ShortText = ""
    closed_greeting_zh: ShortText = ""
    closed_greeting_en: ShortText = ""
    heartbeat_timeout_seconds: Seconds = 60
    grace_seconds: Seconds = 60
    near_hours: Annotated[int, Field(ge=0, le=720)] = 24
    far_hours: Annotated[int, Field(ge=0, le=720)] = 72
    warning_seconds: Seconds = 100
    transfer_wait_seconds: Seconds = 120
    idle_close_seconds: Seconds = 1800
    default_capacity: Annotated[int, Field(ge=0, le=100)] = 5
    bot_replies_count: bool = False

    @model_validator(mode="after")
    def _known_zone(self) -> Self:
        if not is_time_zone(self.timezone):
            raise ValueError("timezone is not a name of the IANA database, such as Asia/Shanghai")
        return self


class NewReturn(Body):
    """A request to give goods back or be refunded. Without `amount_fen`: all that was paid for
    the line, or for the order if no line is named."""

    shop_id: ShopId | None = None
    order_id: ExternalId
    line_id: ExternalId | None = None
    kind: RefundKind
    amount_fen: Annotated[Fen, Field(ge=1)] | None = None
    reason: Line
    description: ShortText = ""
    goods_received: bool
