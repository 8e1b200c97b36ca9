"""The file format: one JSON object per line (docs/replay.md describes every kind).

A *bare* line is a dialogue and nothing else, `{"turns": [{"from": "buyer", "text": …}, …]}`;
fields it has besides are left aside. A *rich* line names who does what and when, and a field that
is not known there is a mistake worth telling.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

Name = Annotated[str, Meta(min_length=1, max_length=80, pattern=r"^[^\s/\\\"'<>`]+$")]
Label = Annotated[str, Meta(min_length=1, max_length=64)]
Words = Annotated[str, Meta(min_length=1, max_length=4000)]
Fen = Annotated[int, Meta(ge=0, le=1_000_000_000_000)]
Seconds = Annotated[float, Meta(ge=0, le=86_400 * 400)]
Side = Literal["buyer", "shop"]


class ScriptError(Exception):
    """A line that cannot be played; says which and why."""


class Turn(Struct, frozen=True, kw_only=True):
    """One message of a dialogue: a text, a picture, or a card of a product or of an order.

    `after` is a pause before it, in seconds of the file's time.
    """

    sender: Side = msgspec.field(name="from")
    text: Words | None = None
    image: Words | None = None
    product: Name | None = None
    order: Name | None = None
    after: Seconds = 0.0


class Item(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A line of an order. What is left out comes from the demo shop's catalogue."""

    product: Name
    sku: Name | None = None
    title: Words | None = None
    quantity: Annotated[int, Meta(ge=1, le=10_000)] = 1
    price_fen: Fen | None = None


class OrderMade(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A buyer's new order, unpaid unless `status` says it is one of the past.

    `days_ago` puts it into the past; `closes_in` is how long it may stay unpaid, in seconds of
    the file's time.
    """

    id: Name
    items: Annotated[tuple[Item, ...], Meta(min_length=1, max_length=100)]
    platform: Literal["taobao", "tmall", "doudian", "jd", "pinduoduo", "own"] = "taobao"
    postage_fen: Fen = 0
    discount_fen: Fen = 0
    days_ago: Annotated[float, Meta(ge=0, le=365)] = 0.0
    closes_in: Seconds = 86_400.0
    status: Literal["unpaid", "paid", "signed", "finished"] = "unpaid"
    region: Words | None = None


class Shipment(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A parcel handed to a courier."""

    order: Name
    courier: Label = "ZTO"
    tracking_no: Name


class Cancellation(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An order closed by the platform or the buyer."""

    order: Name
    reason: Words = "买家取消"


class PlatformRefund(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A refund asked for on the platform's own page.

    `deadline_in` is the platform's own deadline for the shop, in seconds of the file's time.
    """

    id: Name
    order: Name
    item: Annotated[int, Meta(ge=1)] | None = None
    kind: Literal["refund_only", "return_and_refund"] = "refund_only"
    amount_fen: Fen | None = None
    reason: Words
    description: str = ""
    received: bool = False
    deadline_in: Seconds | None = None


class ChatReturn(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A refund or return asked for in the chat. Without an amount: all that was paid."""

    order: Name
    item: Annotated[int, Meta(ge=1)] | None = None
    kind: Literal["refund_only", "return_and_refund"] = "return_and_refund"
    amount_fen: Fen | None = None
    reason: Words
    description: str = ""
    received: bool = True


class CaseMove(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Somebody moves the newest case of an order on."""

    order: Name
    do: Literal["agree", "refuse", "ship_back", "receive", "withdraw"]
    note: str = ""
    courier: Label = "ZTO"
    tracking_no: Name | None = None


class Reviewed(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A review of a product, of today or of the past."""

    id: Name
    product: Name
    order: Name | None = None
    rating: Annotated[int, Meta(ge=1, le=5)]
    text: Words
    days_ago: Annotated[float, Meta(ge=0, le=365)] = 0.0


class Rated(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The buyer's rating of their last conversation."""

    rating: Annotated[int, Meta(ge=1, le=5)]
    reason: str = ""


class Transfer(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The agent hands the conversation on."""

    group: Name | None = None
    agent: Name | None = None
    note: str = ""


class Memo(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The agent's memo and flag on an order."""

    order: Name
    text: Words
    flag: Annotated[int, Meta(ge=0, le=5)] | None = None


class Wait(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The buyer's next lines wait until something has happened, at most `seconds` (real ones).

    reminder: the buyer's client was shown a payment reminder for `order`.
    hint: the agent of the live chat was hinted at the unpaid order instead.
    case: the newest case of `order` is in `state`.
    """

    what: Literal["reminder", "hint", "case"] = msgspec.field(name="for")
    order: Name
    state: Name | None = None
    seconds: Seconds = 60.0


class Line(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A rich line: who, when, and exactly one thing that happens.

    `at` is the earliest moment, in seconds of the file's time. What one buyer does happens in the
    file's order, whatever `at` says; nothing after a `barrier` begins before all before it ended.

    `jumbled` is an order whose payment the shop's system tells before the order itself, and then
    again; `again` names an order of which it tells everything a second time, newest first.
    """

    at: Seconds = 0.0
    note: str = ""
    buyer: Name | None = None
    agent: Name | None = None
    via: Literal["socket", "http"] | None = None
    keep_open: bool = False
    turns: Annotated[tuple[Turn, ...], Meta(min_length=1)] | None = None
    order: OrderMade | None = None
    pay: Name | None = None
    ship: Shipment | None = None
    sign: Name | None = None
    finish: Name | None = None
    cancel: Cancellation | None = None
    jumbled: OrderMade | None = None
    again: Name | None = None
    refund: PlatformRefund | None = None
    returned: ChatReturn | None = msgspec.field(name="return", default=None)
    case: CaseMove | None = None
    review: Reviewed | None = None
    rate: Rated | None = None
    transfer: Transfer | None = None
    tags: tuple[Label, ...] | None = None
    memo: Memo | None = None
    close: bool | None = None
    presence: Literal["online", "suspended", "away", "offline", "dropped"] | None = None
    wait: Wait | None = None
    policy: dict[str, Any] | None = None
    barrier: bool | None = None


ACTIONS = (
    "turns", "order", "pay", "ship", "sign", "finish", "cancel", "jumbled", "again", "refund",
    "returned", "case", "review", "rate", "transfer", "tags", "memo", "close", "presence",
    "wait", "policy", "barrier",
)  # fmt: skip


class Numbered(Struct, frozen=True):
    """A line with its number in the file, counted from 1."""

    number: int
    line: Line

    @property
    def action(self) -> str:
        """Which of the kinds of `ACTIONS` this line is."""
        return next(name for name in ACTIONS if getattr(self.line, name) is not None)


class Script(Struct, frozen=True):
    """A file that can be played: its lines, and a digest that says which file it was."""

    digest: str
    lines: tuple[Numbered, ...]
