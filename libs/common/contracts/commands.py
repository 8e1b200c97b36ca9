"""Commands to shop platforms and what became of them.

A command is written with its unique `command_id` in the same transaction as the decision; the
platform adapter carries it out at most once per id and answers with one of the two outcomes.
Nothing is told to a buyer before the outcome is there.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from .base import Event, contract
from .vocabulary import Id, Note, Platform, Service, Text, Time, Word

Action = Literal[
    "memo_update",
    "flag_update",
    "refund_agree",
    "refund_refuse",
    "price_change",
    "postage_change",
    "message_send",
    "address_change",
]
TargetKind = Literal["order", "refund", "buyer"]
Whole = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Arguments = Annotated[dict[Word, Text | Whole | bool | None], Meta(max_length=32)]


@contract(
    name="command.requested",
    topic="kefu.commands",
    key=("shop_id", "target_id"),
    producers=("order_ops", "aftersales"),
    consumers=("shop_system",),
    summary="A service asks a shop platform to do something.",
    examples=[
        {
            "shop_id": "demo",
            "command_id": "01977c3e-0000-7000-8000-000000000091",
            "platform": "tmall",
            "action": "refund_agree",
            "target_kind": "refund",
            "target_id": "rf-7001",
            "arguments": {"refund_version": 1, "amount_fen": 37900, "phase": "onsale"},
            "requested_by": "ahmei",
            "requested_service": "aftersales",
            "requested_at": "2025-06-08T05:59:58Z",
        },
        {
            "shop_id": "demo",
            "command_id": "01977c3e-0000-7000-8000-000000000092",
            "platform": "taobao",
            "action": "memo_update",
            "target_kind": "order",
            "target_id": "260100001",
            "arguments": {"memo": "送礼,请附贺卡", "flag": 1},
            "requested_by": "xiaomei",
            "requested_service": "order_ops",
            "requested_at": "2025-06-01T03:00:00Z",
        },
    ],
)
class CommandRequested(Event, frozen=True, kw_only=True, omit_defaults=True):
    """Carry out one `command_id` once, however often it arrives; answer it every time."""

    command_id: Id
    platform: Platform
    action: Action
    target_kind: TargetKind
    target_id: Id
    arguments: Arguments
    requested_by: Id
    requested_service: Service
    requested_at: Time


@contract(
    name="command.succeeded",
    topic="kefu.commands",
    key=("shop_id", "target_id"),
    producers=("shop_system",),
    consumers=("order_ops", "aftersales"),
    summary="The platform acknowledged a command.",
    examples=[
        {
            "shop_id": "demo",
            "command_id": "01977c3e-0000-7000-8000-000000000091",
            "action": "refund_agree",
            "target_id": "rf-7001",
            "requested_service": "aftersales",
            "result": {"refunded_fen": 37900},
            "at": "2025-06-08T06:00:00Z",
        }
    ],
)
class CommandSucceeded(Event, frozen=True, kw_only=True, omit_defaults=True):
    """`result` is what the platform answered, as far as a service needs it."""

    command_id: Id
    action: Action
    target_id: Id
    requested_service: Service
    result: Arguments = msgspec.field(default_factory=dict)
    at: Time


@contract(
    name="command.failed",
    topic="kefu.commands",
    key=("shop_id", "target_id"),
    producers=("shop_system",),
    consumers=("order_ops", "aftersales"),
    summary="The platform refused a command, or could not be reached in time.",
    examples=[
        {
            "shop_id": "demo",
            "command_id": "01977c3e-0000-7000-8000-000000000091",
            "action": "refund_agree",
            "target_id": "rf-7001",
            "requested_service": "aftersales",
            "code": "stale_refund_version",
            "message": "The buyer changed the request; read it again.",
            "retryable": False,
            "at": "2025-06-08T06:00:00Z",
        }
    ],
)
class CommandFailed(Event, frozen=True, kw_only=True, omit_defaults=True):
    """`retryable`: the same command, with a new id, may succeed later."""

    command_id: Id
    action: Action
    target_id: Id
    requested_service: Service
    code: Word
    message: Note
    retryable: bool
    at: Time
