"""Plays a dialogue: the buyer writes, the agent whom the router chose answers.

Who answers is never assumed: the buyer's own feed says who has the conversation, and that agent's
client must have been shown what it answers. A conversation that moves on takes its answers along.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from kefu.replay.http import RefusedByApi
from kefu.replay.names import Names
from kefu.replay.people import CHAT, Client, People, acknowledged
from kefu.replay.plan import Step
from kefu.replay.records import Acknowledged
from kefu.replay.script import Turn

T = TypeVar("T")

SHOWN_SECONDS = 30.0
MOVED = frozenset({"not_your_conversation"})
MAX_ATTEMPTS = 20


class Unplayed(Exception):
    """A turn that could not be played, with the reason."""


class Talk:
    """One buyer's side of the replay's chats, and the agents' that answer it."""

    def __init__(self, people: People, names: Names, patience: float) -> None:
        self._people = people
        self._names = names
        self._patience = patience

    # -- turns ------------------------------------------------------------------------------

    async def turn(self, step: Step, number: int, turn: Turn, via: str) -> None:
        """Plays one turn and waits until the other side has been shown it."""
        action = self._names.action(step.id, number)
        body = message_body(turn, action, self._names)
        if turn.sender == "buyer":
            await self._buyers_turn(step, action, body, via)
        else:
            await self._shops_turn(step, action, body)

    async def _buyers_turn(self, step: Step, action: str, body: dict[str, Any], via: str) -> None:
        buyer = self._people.buyer(str(step.buyer))
        await buyer.feed.connected()

        async def send(key: str, content: dict[str, Any]) -> Acknowledged:
            if via == "socket":
                return await buyer.feed.write(key, content)
            return await buyer.post("/v1/messages", key, content)

        answer = await self._write(step, action, buyer.receiver, body, send)
        if answer is not None:
            await self._seen(step, answer, "buyer")

    async def _shops_turn(self, step: Step, action: str, body: dict[str, Any]) -> None:
        buyer_id = str(step.buyer)
        for attempt in range(MAX_ATTEMPTS):
            agent = await self._assigned(buyer_id)
            if agent is None:
                await self._told_by_platform(step, action, body)
                return
            conversation_id = self._people.sight.of(buyer_id).conversation_id
            name = action if attempt == 0 else f"{action}~{attempt}"
            answer = await self._write(
                step, name, agent.receiver, body | {"client_message_id": name},
                lambda key, content, to=agent, at=conversation_id: to.post(
                    f"/v1/conversations/{at}/messages", key, content
                ),
            )  # fmt: skip
            if answer is not None:
                await self._seen(step, answer, "buyer")
                return
            if self._people.actions.refused[name].code not in MOVED:
                return
            await self._look_again(buyer_id, agent)
        raise Unplayed(f"{action}: the conversation moved {MAX_ATTEMPTS} times")

    async def _write(
        self, step: Step, action: str, actor: str, body: dict[str, Any], send: Any
    ) -> Acknowledged | None:
        return await self._people.actions.do(
            action, "message", actor, lambda: body, send, about=str(step.buyer), is_turn=True
        )

    async def _seen(self, step: Step, answer: Acknowledged, side: str) -> None:
        message_id = str(answer.message_id)
        await self._people.sight.until(
            str(step.buyer), lambda sight: sight.shown_to(message_id, side), SHOWN_SECONDS
        )

    # -- whose it is ------------------------------------------------------------------------

    async def _assigned(self, buyer_id: str) -> Client | None:
        """The agent who has the buyer's conversation and has read it; None if there is none."""
        sight = self._people.sight
        if sight.of(buyer_id).closed:
            return None
        await sight.until(buyer_id, lambda one: one.attended, self._patience)
        agent_id = sight.of(buyer_id).agent_id
        if agent_id is None:
            raise Unplayed(f"{buyer_id}: nobody was assigned within {self._patience:.0f} s")
        return self._people.agent(agent_id)

    async def _look_again(self, buyer_id: str, former: Client) -> None:
        """The system says the conversation is not this agent's: wait for the feed to say whose."""
        await self._people.sight.until(
            buyer_id, lambda one: one.agent_id != former.who, SHOWN_SECONDS
        )

    async def _told_by_platform(self, step: Step, action: str, body: dict[str, Any]) -> None:
        """A shop that speaks first does so on its platform: there is no conversation yet."""
        content = body | {
            "buyer_id": str(step.buyer), "message_id": action, "sender": "shop",
        }  # fmt: skip

        async def send(key: str, sent: dict[str, Any]) -> Acknowledged:
            sent_at = time.time()
            answer = await self._people.http.post(
                CHAT, "/v1/messages", self._people.system, key, sent
            )
            return acknowledged(key, sent_at, answer.body)

        await self._people.buyer(str(step.buyer)).feed.connected()
        await self._write(step, action, "system", content, send)

    # -- what else happens in a chat --------------------------------------------------------

    async def close(self, step: Step) -> None:
        """The agent who has the conversation ends it; if nobody has it, the buyer does."""
        sight = self._people.sight.of(str(step.buyer))
        for attempt in range(MAX_ATTEMPTS):
            if sight.closed:
                return
            by = self._people.agent(sight.agent_id) if sight.agent_id else self._buyer(step)
            action = self._names.action(step.id, f"close{attempt or ''}")
            if await self._in_conversation(step, action, "close", by, "close", {}) is not None:
                await self._people.sight.until(
                    str(step.buyer), lambda one: one.closed, SHOWN_SECONDS
                )
                return
            if self._people.actions.refused[action].code not in MOVED:
                return
            await self._look_again(str(step.buyer), by)

    async def transfer(self, step: Step) -> None:
        """The agent hands the conversation on and the buyer's next lines wait for the new one."""
        asked = step.line.transfer
        assert asked is not None
        agent = await self._assigned(str(step.buyer))
        if agent is None:
            raise Unplayed(f"{step.id}: there is no open conversation to transfer")
        body = {"note": asked.note} | ({"to_group_id": asked.group} if asked.group else {})
        body |= {"to_agent_id": asked.agent} if asked.agent else {}
        action = self._names.action(step.id)
        if await self._in_conversation(step, action, "transfer", agent, "transfers", body):
            await self._look_again(str(step.buyer), agent)

    async def rate(self, step: Step) -> None:
        """The buyer rates the conversation."""
        rated = step.line.rate
        assert rated is not None
        body = {"rating": rated.rating} | ({"reason": rated.reason} if rated.reason else {})
        action = self._names.action(step.id)
        await self._in_conversation(step, action, "rate", self._buyer(step), "rating", body)

    def _buyer(self, step: Step) -> Client:
        return self._people.buyer(str(step.buyer))

    async def _in_conversation(
        self, step: Step, action: str, kind: str, by: Client, what: str, body: dict[str, Any]
    ) -> Acknowledged | None:
        conversation_id = self._people.sight.of(str(step.buyer)).conversation_id
        if conversation_id is None:
            raise Unplayed(f"{step.id}: {step.buyer} has no conversation")
        path = f"/v1/conversations/{conversation_id}/{what}"
        return await self._people.actions.do(
            action, kind, by.receiver, lambda: body,
            lambda key, content: by.post(path, key, content),
            about=conversation_id,
        )  # fmt: skip

    async def request_return(self, step: Step) -> None:
        """The buyer asks for a return in the chat."""
        asked = step.line.returned
        assert asked is not None
        order_id = self._names.order(asked.order)
        body: dict[str, Any] = {
            "order_id": order_id, "kind": asked.kind, "reason": asked.reason,
            "description": asked.description, "goods_received": asked.received,
        }  # fmt: skip
        if asked.item is not None:
            body["line_id"] = f"{order_id}-{asked.item}"
        if asked.amount_fen is not None:
            body["amount_fen"] = asked.amount_fen
        buyer = self._buyer(step)

        async def send(key: str, content: dict[str, Any]) -> Acknowledged:
            return await patiently(
                lambda: buyer.post("/v1/return_requests", key, content), self._patience
            )

        await self._people.actions.do(
            self._names.action(step.id), "return", buyer.receiver, lambda: body, send,
            about=order_id,
        )  # fmt: skip


def message_body(turn: Turn, action: str, names: Names) -> dict[str, Any]:
    """A turn as the API takes it."""
    body: dict[str, Any] = {"client_message_id": action, "kind": "text", "text": turn.text}
    if turn.image is not None:
        body |= {"kind": "image", "media_url": turn.image}
    elif turn.product is not None:
        body |= {"kind": "product_card", "product_id": turn.product}
    elif turn.order is not None:
        body |= {"kind": "order_card", "order_id": names.order(turn.order)}
    return {name: value for name, value in body.items() if value is not None}


async def patiently(attempt: Callable[[], Awaitable[T]], seconds: float) -> T:
    """Tries again while the answer is 404: one service hears of a thing before another, by as much
    as the bus is away between them."""
    until = time.monotonic() + seconds
    while True:
        try:
            return await attempt()
        except RefusedByApi as refusal:
            if refusal.status != 404 or time.monotonic() > until:
                raise
        await asyncio.sleep(0.2)
