"""The sandbox platform: each command once, the same answer every time, also after a restart."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from common.bus.embedded import EmbeddedBus
from common.contracts import (
    CommandFailed,
    CommandRequested,
    CommandSucceeded,
    Envelope,
    decode,
    encode,
)
from kefu.sandbox import Outcome, Sandbox, carry_out

NOW = datetime(2026, 3, 1, 2, 0, tzinfo=UTC)


def _command(**changes: Any) -> CommandRequested:
    fields: dict[str, Any] = {
        "shop_id": "demo",
        "command_id": "c1",
        "platform": "taobao",
        "action": "refund_agree",
        "target_kind": "refund",
        "target_id": "rf1",
        "arguments": {"amount_fen": 500},
        "requested_by": "ahmei",
        "requested_service": "aftersales",
        "requested_at": NOW,
    }
    return CommandRequested(**(fields | changes))


def test_a_refund_is_paid_as_asked() -> None:
    assert carry_out(_command()) == Outcome({"refunded_fen": 500})


@pytest.mark.parametrize("amount", [None, -1, True, "500"])
def test_a_refund_without_a_sane_amount_is_refused(amount: Any) -> None:
    outcome = carry_out(_command(arguments={"amount_fen": amount}))
    assert outcome.failure.startswith("invalid_amount: ")


def test_a_memo_that_the_platform_has_no_room_for_is_refused() -> None:
    assert not carry_out(_command(action="memo_update", arguments={"memo": "好" * 500})).failure
    too_long = carry_out(_command(action="memo_update", arguments={"memo": "好" * 501}))
    assert too_long.failure.startswith("memo_too_long: ")


async def test_a_repeated_command_is_carried_out_once_and_answered_again(tmp_path: Path) -> None:
    moments = iter([NOW, NOW.replace(hour=9)])
    bus = EmbeddedBus(tmp_path / "bus.db")
    await bus.start()
    tail = await bus.tail(["kefu.commands"])
    for delivery in ("first", "again"):
        # A new sandbox each time: what it did is in its file, not in its memory.
        sandbox = Sandbox(bus, tmp_path / "sandbox.db", clock=lambda: next(moments))
        async with sandbox.running():
            await _publish(bus, _command(), delivery)
            answer = await _answer(tail)
        assert isinstance(answer.event, CommandSucceeded)
        assert answer.event.at == NOW
        assert answer.id == "sandbox:c1"
        assert answer.event.result == {"refunded_fen": 500}
    await bus.close()


async def test_a_refused_command_fails_with_its_code(tmp_path: Path) -> None:
    bus = EmbeddedBus(tmp_path / "bus.db")
    await bus.start()
    tail = await bus.tail(["kefu.commands"])
    async with Sandbox(bus, tmp_path / "sandbox.db", clock=lambda: NOW).running():
        await _publish(bus, _command(arguments={}), "first")
        answer = await _answer(tail)
    assert isinstance(answer.event, CommandFailed)
    assert answer.event.code == "invalid_amount"
    await bus.close()


async def _publish(bus: EmbeddedBus, command: CommandRequested, delivery: str) -> None:
    envelope = Envelope.of(command, id=delivery, source="test", time=NOW)
    await bus.publish([encode(envelope)])


async def _answer(tail: Any) -> Envelope:
    async with asyncio.timeout(20):
        while True:
            for record in await tail.poll(10, 0.2):
                envelope = decode(record.topic, record.key, record.value, record.headers)
                if not isinstance(envelope.event, CommandRequested):
                    return envelope
