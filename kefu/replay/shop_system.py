"""The shop's own system: orders, refunds and reviews, posted with a system token."""

import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from kefu.replay import orders
from kefu.replay.actions import Actions
from kefu.replay.http import Http
from kefu.replay.names import Names
from kefu.replay.orders import Snapshot
from kefu.replay.plan import Step
from kefu.replay.records import Acknowledged, Planned
from kefu.replay.script import OrderMade, ScriptError

ACTOR = "system"
Announce = Callable[[Mapping[str, Any], int], Awaitable[None]]
"""Publishes a snapshot on the bus as its copy number so-and-so."""

ORDER_STEPS = frozenset({"order", "pay", "ship", "sign", "finish", "cancel"})


def utc_now() -> datetime:
    """The clock of the replayed platform."""
    return datetime.now(UTC)


class ShopSystem:
    """Knows the newest snapshot of every order that it made."""

    def __init__(
        self, http: Http, actions: Actions, names: Names, shop_id: str, token: str,
        *, time_scale: float, prices: orders.Prices, announce: Announce | None = None,
    ) -> None:  # fmt: skip
        self._announce = announce
        self._http = http
        self._actions = actions
        self._names = names
        self._shop_id = shop_id
        self._token = token
        self._time_scale = time_scale
        self._prices = prices
        self._newest: dict[str, Snapshot] = {}

    def recall(self) -> None:
        """Takes up the snapshots that earlier processes planned."""
        for plan in self._actions.planned.values():
            if plan.kind == "order":
                self._remember(plan)

    def _remember(self, plan: Planned) -> None:
        known = self._newest.get(plan.about)
        if known is None or known["version"] < plan.body["version"]:
            self._newest[plan.about] = plan.body

    def order_id(self, name: str) -> str:
        """The platform's id of what the file calls `name`."""
        return self._names.order(name)

    async def play(self, step: Step) -> None:
        """Plays a step of an order's life, a refund request or a review."""
        if step.action == "order" and step.line.order is not None:
            await self._make(step, step.line.order)
        elif step.action == "jumbled" and step.line.jumbled is not None:
            await self._jumble(step, step.line.jumbled)
        elif step.action == "again":
            await self._say_again(step, self._names.order(str(step.line.again)))
        elif step.action in ORDER_STEPS:
            await self._move(step)
        elif step.action == "refund":
            await self._refund(step)
        else:
            await self._review(step)

    async def _make(self, step: Step, made: OrderMade) -> None:
        first = orders.new_order(
            made, self._shop_id, str(step.buyer), self._names, self._prices, utc_now(),
            time_scale=self._time_scale,
        )  # fmt: skip
        snapshot = orders.past_of(first, made.status) if made.days_ago else first
        await self._post(step, 0, first["order_id"], partial(dict, snapshot))

    async def _move(self, step: Step) -> None:
        line = step.line
        name = line.pay or line.sign or line.finish
        if line.ship is not None:
            name = line.ship.order
        elif line.cancel is not None:
            name = line.cancel.order
        order_id = self._names.order(str(name))
        await self._carry_memo(order_id)
        await self._post(step, 0, order_id, lambda: self._next(step, order_id))

    async def _jumble(self, step: Step, made: OrderMade) -> None:
        """The payment is told first, the order itself late, and then both once more."""
        known = self._actions.planned.get(self._names.action(step.id, 0))
        now = datetime.fromisoformat(known.body["created_at"]) if known else utc_now()
        first = orders.new_order(
            made, self._shop_id, str(step.buyer), self._names, self._prices, now,
            time_scale=self._time_scale,
        )  # fmt: skip
        told = [orders.paid(first, now + timedelta(seconds=1)), first]
        for part, snapshot in enumerate(told):
            await self._post(step, part, first["order_id"], partial(dict, snapshot))
        await self._say_again(step, first["order_id"])

    async def _say_again(self, step: Step, order_id: str) -> None:
        """Every snapshot so far, newest first: under its own key, under another, on the bus."""
        told = [
            plan
            for plan in self._actions.planned.values()
            if plan.kind == "order" and plan.about == order_id
        ]
        for plan in sorted(told, key=lambda one: -one.body["version"]):
            body, send = plan.body, self._sender("order_ops", "/v1/orders")
            await send(plan.action, body)
            again = self._names.action(step.id, f"again{body['version']}")
            await self._actions.do(
                again, "order_again", ACTOR, partial(dict, body), send, about=order_id
            )
            if self._announce is not None:
                for copy in (1, 1, 2):
                    await self._announce(body, copy)

    def _next(self, step: Step, order_id: str) -> Snapshot:
        line, order, now = step.line, self._order(order_id), utc_now()
        if line.ship is not None:
            return orders.shipped(order, line.ship, now)
        if line.cancel is not None:
            return orders.closed(order, line.cancel, now)
        move = {"pay": orders.paid, "sign": orders.signed, "finish": orders.finished}[step.action]
        return move(order, now)

    def _order(self, order_id: str) -> Snapshot:
        try:
            return self._newest[order_id]
        except KeyError:
            raise ScriptError(f"order {order_id} was never made in this file") from None

    async def _carry_memo(self, order_id: str) -> None:
        """The platform keeps memo and flag; a snapshot without them would say they are gone."""
        wrote = any(
            plan.kind == "memo" and plan.about == order_id
            for plan in self._actions.planned.values()
        )
        if wrote and order_id in self._newest:
            known = (await self._http.get("order_ops", f"/v1/orders/{order_id}", self._token)).body
            carried = {name: known[name] for name in ("seller_memo", "flag") if known[name]}
            self._newest[order_id] = self._newest[order_id] | carried

    async def _post(
        self, step: Step, part: int, order_id: str, snapshot: Callable[[], Snapshot]
    ) -> None:
        action = self._names.action(step.id, part)
        await self._actions.do(
            action, "order", ACTOR, snapshot, self._sender("order_ops", "/v1/orders"),
            about=order_id,
        )  # fmt: skip
        self._remember(self._actions.planned[action])

    async def _refund(self, step: Step) -> None:
        asked = step.line.refund
        assert asked is not None
        order_id = self._names.order(asked.order)
        await self._actions.do(
            self._names.action(step.id), "refund", ACTOR,
            lambda: orders.refund_request(
                self._order(order_id), asked, self._names, utc_now(), time_scale=self._time_scale
            ),
            self._sender("aftersales", "/v1/refunds"), about=order_id,
        )  # fmt: skip

    async def _review(self, step: Step) -> None:
        said = step.line.review
        assert said is not None
        await self._actions.do(
            self._names.action(step.id), "review", ACTOR,
            lambda: orders.review(said, self._shop_id, str(step.buyer), self._names, utc_now()),
            self._sender("feedback", "/v1/reviews"), about=self._names.review(said.id),
        )  # fmt: skip

    def _sender(self, service: str, path: str) -> Any:
        async def send(action: str, body: Mapping[str, Any]) -> Acknowledged:
            sent_at = time.time()
            answer = await self._http.post(service, path, self._token, action, body)
            kept = {name: answer.body[name] for name in _KEPT if name in answer.body}
            return Acknowledged(at=time.time(), action=action, sent_at=sent_at, answer=kept)

        return send


_KEPT = ("order_id", "status", "revision", "case_id", "state", "item_id", "request_id", "memo_id")
