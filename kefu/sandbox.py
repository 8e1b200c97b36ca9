"""The sandbox platform: plays the shop platform of demo shops inside `kefu dev`.

It carries out commands as a platform's adapter does: each command id once, whatever is repeated,
and the same answer every time. What it did is in its own small database, so that a restart
neither forgets an answer nor does anything twice.
"""

import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiosqlite
import msgspec
import structlog

from common.bus.port import Bus, Record
from common.clock import Clock, utc_now
from common.contracts import (
    CommandFailed,
    CommandRequested,
    CommandSucceeded,
    Envelope,
    Undecodable,
    decode,
    encode,
)
from common.runtime.loops import Backoff, Loop

GROUP = "kefu.sandbox"
TOPIC = "kefu.commands"
MEMO_BYTES = 1000
POLL_SECONDS = 0.5
STOP_SECONDS = 5.0

_SCHEMA = """
CREATE TABLE IF NOT EXISTS outcomes (
  command_id TEXT PRIMARY KEY, shop_id TEXT NOT NULL, target_id TEXT NOT NULL,
  failure TEXT NOT NULL, result TEXT NOT NULL, at TEXT NOT NULL) WITHOUT ROWID;
"""

log = structlog.get_logger(__name__)
Answer = CommandSucceeded | CommandFailed


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the platform did with a command: a failure (`code: message`), or a result."""

    result: Mapping[str, Any]
    failure: str = ""


def carry_out(command: CommandRequested) -> Outcome:
    """What a well-meaning platform does with a command."""
    arguments = command.arguments
    match command.action:
        case "memo_update" | "flag_update":
            return _write_memo(arguments)
        case "refund_agree":
            return _refund(arguments)
        case _:
            return Outcome({})


def _write_memo(arguments: Mapping[str, Any]) -> Outcome:
    memo = str(arguments.get("memo") or "")
    if len(memo.encode("gb18030", errors="replace")) > MEMO_BYTES:
        return Outcome({}, f"memo_too_long: A memo has at most {MEMO_BYTES} bytes.")
    return Outcome({})


def _refund(arguments: Mapping[str, Any]) -> Outcome:
    amount = arguments.get("amount_fen")
    if isinstance(amount, bool) or not isinstance(amount, int) or amount < 0:
        return Outcome({}, "invalid_amount: A refund needs amount_fen, in whole fen.")
    return Outcome({"refunded_fen": amount})


class Sandbox(Loop):
    """The platform of the demo shops."""

    def __init__(self, bus: Bus, path: Path, *, clock: Clock = utc_now) -> None:
        super().__init__("sandbox")
        self._bus = bus
        self._path = path
        self._clock = clock

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Carries out commands while the block lasts."""
        self.start()
        try:
            yield
        finally:
            await self.stop(STOP_SECONDS)

    async def run(self) -> None:
        """Follow the commands until stopped."""
        async with aiosqlite.connect(self._path, isolation_level=None, timeout=30) as database:
            await database.execute("PRAGMA journal_mode = WAL")
            await database.execute("PRAGMA synchronous = FULL")
            await database.executescript(_SCHEMA)
            backoff = Backoff()
            while not self.stopping:
                try:
                    await self._serve(database)
                except Exception as error:
                    log.warning("sandbox_failed", error=repr(error))
                    await self.pause(backoff.next())

    async def _serve(self, database: aiosqlite.Connection) -> None:
        subscription = await self._bus.subscribe((TOPIC,), GROUP)
        try:
            while not self.stopping:
                self.beat()
                records = await subscription.poll(200, POLL_SECONDS)
                for record in records:
                    await self._answer(record, database)
                if records:
                    await subscription.commit(
                        {(record.topic, record.partition): record.offset + 1 for record in records}
                    )
        finally:
            await subscription.close()

    async def _answer(self, record: Record, database: aiosqlite.Connection) -> None:
        try:
            envelope = decode(record.topic, record.key, record.value, record.headers)
        except Undecodable:
            return  # the services make a dead letter of it
        if isinstance(envelope.event, CommandRequested):
            command = envelope.event
            outcome, at = await self._once(command, database)
            answer = Envelope.of(
                _event(command, outcome, at),
                id=f"sandbox:{command.command_id}",
                source=f"sandbox/{command.platform}",
                time=at,
                traceparent=envelope.traceparent,
            )
            await self._bus.publish([encode(answer)])

    async def _once(
        self, command: CommandRequested, database: aiosqlite.Connection
    ) -> tuple[Outcome, datetime]:
        """Carries a command out, or finds what became of it the first time."""
        query = "SELECT failure, result, at FROM outcomes WHERE command_id = ?"
        known = list(await database.execute_fetchall(query, (command.command_id,)))
        if known:
            failure, result, at = known[0]
            return Outcome(msgspec.json.decode(result), failure), datetime.fromisoformat(at)
        outcome, now = carry_out(command), self._clock().astimezone(UTC)
        await database.execute(
            "INSERT INTO outcomes VALUES (?, ?, ?, ?, ?, ?)",
            (
                command.command_id,
                command.shop_id,
                command.target_id,
                outcome.failure,
                msgspec.json.encode(outcome.result).decode(),
                now.isoformat(),
            ),
        )
        return outcome, now


def _event(command: CommandRequested, outcome: Outcome, at: datetime) -> Answer:
    code, _, message = outcome.failure.partition(": ")
    if outcome.failure:
        return CommandFailed(
            shop_id=command.shop_id,
            command_id=command.command_id,
            action=command.action,
            target_id=command.target_id,
            requested_service=command.requested_service,
            code=code,
            message=message,
            retryable=False,
            at=at,
        )
    return CommandSucceeded(
        shop_id=command.shop_id,
        command_id=command.command_id,
        action=command.action,
        target_id=command.target_id,
        requested_service=command.requested_service,
        result=dict(outcome.result),
        at=at,
    )
