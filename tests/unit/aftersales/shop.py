"""A shop in memory: the service's own handlers on a unit of work that is never written away."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from aftersales.answers import Agree, Receive, Refuse, ShipReturn, Withdraw
from aftersales.cases import Actor, Case, CaseEntry
from aftersales.commands import CommandOverdue, SentCommand
from aftersales.handlers import handlers
from aftersales.holds import Hold
from aftersales.orders import PaidOrder
from aftersales.store import BINDINGS
from common.contracts import (
    CommandFailed,
    CommandRequested,
    CommandSucceeded,
    Envelope,
    Event,
    OrderEvent,
    OrderLine,
    OrderPaid,
    ReturnRequested,
    ShopRefund,
    encode,
)
from common.ids import new_id
from common.runtime import Work

START = datetime(2026, 3, 2, 2, 0, tzinfo=UTC)
SHOP, ORDER, BUYER = "demo", "o1", "b1"
AGENT = Actor("xiaomei", "agent")
SENIOR = Actor("ahmei", "senior_agent")
BUYER_SELF = Actor(BUYER, "buyer")


class Shop:
    """Runs messages one by one, keeps the timers, and lets time pass."""

    def __init__(self) -> None:
        codecs = {binding.kind: binding.codec("sqlite") for binding in BINDINGS}
        self.work = Work(START, BINDINGS, codecs)
        self.timers: dict[str, tuple[datetime, Any]] = {}
        self._armed = 0

    def tell(self, message: msgspec.Struct) -> Any:
        """Run one message; what it did is undone when it raises."""
        handler = handlers.of(message)
        assert handler is not None, type(message)
        self._load(handler.needs(message))
        for more in handler.then:
            self._load(more(message, self.work))
        self.work.begin_item(None, None)
        written = len(self.work.emitted)
        try:
            answer = handler.function(message, self.work)
            for emitted in self.work.emitted[written:]:
                _check(emitted.event, self.work.now)
        except Exception:
            self.work.undo_item()
            raise
        self._take_timers()
        return answer

    def _load(self, needs: Any) -> None:
        for (kind, index), keys in self.work.missing(needs).items():
            self.work.loaded(kind, index, keys, [])

    def _take_timers(self) -> None:
        for armed in self.work.armed[self._armed :]:
            self.timers.pop(armed.key, None)
            if armed.payload is not None and armed.due_at is not None:
                self.timers[armed.key] = (armed.due_at, armed.payload)
        self._armed = len(self.work.armed)

    def wait(self, **step: float) -> None:
        """Let time pass; what is due on the way fires at its time."""
        end = self.work.now + timedelta(**step)
        while due := [(at, key) for key, (at, _) in self.timers.items() if at <= end]:
            at, key = min(due)
            self.work.now = max(self.work.now, at)
            self.tell(self.timers.pop(key)[1])
        self.work.now = end

    # -- what there is ------------------------------------------------------------------------

    @property
    def cases(self) -> list[Case]:
        return self._all(Case)

    @property
    def case(self) -> Case:
        (case,) = self.cases
        return case

    def state(self) -> str:
        """The state of the only case."""
        return self.case.state

    @property
    def holds(self) -> list[Hold]:
        return self._all(Hold)

    @property
    def order(self) -> PaidOrder:
        (order,) = list[PaidOrder](self._all(PaidOrder))
        return order

    def history(self, case: Case | None = None) -> list[CaseEntry]:
        wanted = (case or self.case).case_id
        return [entry for entry in self._all(CaseEntry) if entry.case_id == wanted]

    def _all(self, kind: type[Any]) -> list[Any]:
        return [t.row for t in self.work._rows[kind].values() if not t.removed]

    def events(self, kind: type[Event] = Event) -> list[Any]:
        return [e.event for e in self.work.emitted if isinstance(e.event, kind)]

    @property
    def commands(self) -> list[CommandRequested]:
        return self.events(CommandRequested)

    # -- what others do -----------------------------------------------------------------------

    def agree(self, case: Case | None = None, actor: Actor = AGENT, **other: Any) -> Case:
        case = case or self.case
        fields: dict[str, Any] = {
            "amount_fen": case.amount_fen or 0,
            "refund_version": case.refund_version,
        }
        answer: Case = self.tell(Agree(**_named(case, actor), **(fields | other)))
        return answer

    def refuse(self, case: Case | None = None, actor: Actor = SENIOR, **other: Any) -> Case:
        answer: Case = self.tell(
            Refuse(**_named(case or self.case, actor), **({"reason": "商品无质量问题"} | other))
        )
        return answer

    def ship_return(self, case: Case | None = None, actor: Actor = BUYER_SELF) -> Case:
        named = _named(case or self.case, actor)
        answer: Case = self.tell(ShipReturn(**named, tracking_no="SF1"))
        return answer

    def receive(self, intact: bool = True, actor: Actor = AGENT) -> Case:
        answer: Case = self.tell(Receive(**_named(self.case, actor), intact=intact))
        return answer

    def withdraw(self, actor: Actor = BUYER_SELF) -> Case:
        answer: Case = self.tell(Withdraw(**_named(self.case, actor)))
        return answer

    def succeed(self, command: CommandRequested | None = None, **result: int) -> None:
        """The platform carries out a command."""
        command = command or self.commands[-1]
        self.tell(
            CommandSucceeded(
                shop_id=command.shop_id,
                command_id=command.command_id,
                action=command.action,
                target_id=command.target_id,
                requested_service=command.requested_service,
                result=dict(result),
                at=self.work.now,
            )
        )

    def fail(self, command: CommandRequested | None = None, retryable: bool = False) -> None:
        """The platform refuses a command."""
        command = command or self.commands[-1]
        self.tell(
            CommandFailed(
                shop_id=command.shop_id,
                command_id=command.command_id,
                action=command.action,
                target_id=command.target_id,
                requested_service=command.requested_service,
                code="stale_refund_version",
                message="read it again",
                retryable=retryable,
                at=self.work.now,
            )
        )


def _check(event: Event, now: datetime) -> None:
    """An event that breaks its contract would fail the batch of the real runtime."""
    encode(Envelope.of(event, id=new_id(), source="kefu/aftersales", time=now))


def _named(case: Case, actor: Actor) -> dict[str, Any]:
    return {
        "shop_id": case.shop_id,
        "order_id": case.order_id,
        "case_id": case.case_id,
        "actor": actor,
    }


def paid_order(
    kind: type[OrderEvent] = OrderPaid,
    lines: dict[str, int] | None = None,
    freight: int = 600,
    **other: Any,
) -> Any:
    """An order event: two lines of 100.00 and 50.00 yuan and 6.00 yuan of freight, paid."""
    lines = {"l1": 10_000, "l2": 5_000} if lines is None else lines
    total = sum(lines.values()) + freight
    fields: dict[str, Any] = {
        "shop_id": SHOP,
        "platform": "taobao",
        "order_id": ORDER,
        "buyer_id": BUYER,
        "status": "paid",
        "version": 1,
        "total_fen": total,
        "paid_fen": total,
        "postage_fen": freight,
        "lines": tuple(order_line(name, fen) for name, fen in lines.items()),
        "occurred_at": START,
        "created_at": START,
    }
    return kind(**(fields | other))


def order_line(line_id: str, paid_fen: int) -> OrderLine:
    return OrderLine(
        line_id=line_id,
        product_id=f"p-{line_id}",
        title="外套",
        quantity=1,
        unit_price_fen=paid_fen,
        paid_fen=paid_fen,
    )


def snapshot(status: str = "wait_seller_agree", **other: Any) -> ShopRefund:
    """A refund of line l1, all of it, as the platform has it at START."""
    at = START + timedelta(minutes=other.pop("minute", 0))
    fields: dict[str, Any] = {
        "shop_id": SHOP,
        "platform": "taobao",
        "refund_id": "rf1",
        "order_id": ORDER,
        "line_id": "l1",
        "buyer_id": BUYER,
        "kind": "refund_only",
        "phase": "onsale",
        "status": status,
        "refund_version": 1,
        "amount_fen": 10_000,
        "reason": "质量问题",
        "created_at": START,
        "modified_at": at,
    }
    return msgspec.convert(fields | other, ShopRefund)


def requested(**other: Any) -> ReturnRequested:
    """A request made in a chat: send back line l1 for all that was paid."""
    fields: dict[str, Any] = {
        "shop_id": SHOP,
        "request_id": "rq1",
        "conversation_id": "c1",
        "buyer_id": BUYER,
        "order_id": ORDER,
        "line_id": "l1",
        "kind": "return_and_refund",
        "reason": "质量问题",
        "goods_received": True,
        "requested_by": BUYER,
        "requested_at": START,
    }
    return msgspec.convert(fields | other, ReturnRequested)


__all__ = [
    "AGENT",
    "BUYER",
    "BUYER_SELF",
    "ORDER",
    "SENIOR",
    "SHOP",
    "START",
    "CommandOverdue",
    "SentCommand",
    "Shop",
    "paid_order",
    "requested",
    "snapshot",
]
