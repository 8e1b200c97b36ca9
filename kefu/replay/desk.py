"""What staff do beside the chat: memos, tags, presence, and moving cases on."""

import asyncio
import time
from functools import partial
from itertools import count
from typing import Any

from kefu.replay.actions import Actions
from kefu.replay.dialogue import Unplayed, patiently
from kefu.replay.http import Http, RefusedByApi
from kefu.replay.names import Names
from kefu.replay.people import CHAT, People, acknowledged
from kefu.replay.plan import Step
from kefu.replay.records import Acknowledged
from kefu.replay.script import CaseMove

STALE_ATTEMPTS = 10
NOT_YET = frozenset({"order_not_known"})
"""Refusals that pass by themselves: after-sales has not heard of the order yet."""
PATHS = {
    "agree": "agreements",
    "refuse": "refusals",
    "ship_back": "returns",
    "receive": "receipts",
    "withdraw": "withdrawals",
}


class Desk:
    """The staff's desk."""

    def __init__(self, people: People, names: Names, agents: list[str]) -> None:
        self._people = people
        self._http: Http = people.http
        self._actions: Actions = people.actions
        self._names = names
        self._agents = agents
        self._dropped: dict[str, str] = {}

    async def presence(self, step: Step) -> None:
        """An agent comes, goes, is suspended, or drops off without a word."""
        agent, wanted = self._who(step), str(step.line.presence)
        client = self._people.agent(agent)
        if wanted == "dropped":
            await client.feed.cut()
            return
        client.feed.start()
        await client.feed.connected()
        await self._http.put(
            CHAT, f"/v1/agents/{agent}/presence", client.token, {"presence": wanted}
        )

    def _who(self, step: Step) -> str:
        """The agent named, or whoever has the buyer's chat; who dropped off there comes back."""
        if step.line.agent is not None:
            return step.line.agent
        buyer = str(step.buyer)
        if step.line.presence == "dropped":
            self._dropped[buyer] = self._people.sight.of(buyer).agent_id or self._agents[0]
        return self._dropped.get(buyer, self._agents[0])

    async def memo(self, step: Step) -> None:
        """An agent notes something on an order for the warehouse."""
        memo = step.line.memo
        assert memo is not None
        order_id = self._names.order(memo.order)
        body = {"text": memo.text} | ({"flag": memo.flag} if memo.flag is not None else {})
        await self._post(
            step, "memo", self._staff(step), order_id, "order_ops", f"/v1/orders/{order_id}/memos",
            body,
        )  # fmt: skip

    async def tags(self, step: Step) -> None:
        """An agent tags the buyer."""
        path, token = f"/v1/buyers/{step.buyer}", self._token(self._staff(step))
        for _ in range(STALE_ATTEMPTS):
            known = await self._profile(path, token)
            body = known.body | {"tags": sorted({*known.body["tags"], *(step.line.tags or ())})}
            try:
                await self._http.put(CHAT, path, token, body, if_match=str(known.etag))
                return
            except RefusedByApi as refusal:
                if refusal.status != 412:
                    raise

    async def _profile(self, path: str, token: str) -> Any:
        answer = await patiently(lambda: self._http.get(CHAT, path, token), self._http.patience)
        names = ("name", "tags", "attributes", "note", "priority", "dedicated_agent_id")
        answer.body = {name: answer.body[name] for name in names}
        return answer

    # -- cases ------------------------------------------------------------------------------

    async def move_case(self, step: Step) -> None:
        """The newest case of an order moves on, by whoever has the right to move it."""
        move = step.line.case
        assert move is not None
        order_id = self._names.order(move.order)
        buyers_move = move.do in ("ship_back", "withdraw")
        actor = f"buyer:{step.buyer}" if buyers_move else self._staff(step)
        until = time.monotonic() + self._http.patience
        for attempt in count():
            case = await self.newest_case(order_id)
            action = self._names.action(step.id) + (f"~{attempt}" if attempt else "")
            answer = await self._actions.do(
                action, "case", actor, partial(_case_body, move, case),
                self._case_sender(actor, move, case), about=order_id,
            )  # fmt: skip
            refused = self._actions.refused.get(action)
            if refused is None or answer is not None or time.monotonic() > until:
                return
            if refused.status != 412 and refused.code not in NOT_YET:
                return
            await asyncio.sleep(0.2)

    def _case_sender(self, actor: str, move: CaseMove, case: dict[str, Any]) -> Any:
        async def send(action: str, body: dict[str, Any]) -> Acknowledged:
            sent_at = time.time()
            answer = await self._http.post(
                "aftersales", f"/v1/cases/{case['case_id']}/{PATHS[move.do]}", self._token(actor),
                action, body, if_match=f'"{case["version"]}"',
            )  # fmt: skip
            return acknowledged(action, sent_at, answer.body)

        return send

    async def newest_case(self, order_id: str) -> dict[str, Any]:
        """The newest case of an order once it is there and no command of it is under way."""
        until = time.monotonic() + self._http.patience
        while time.monotonic() < until:
            found = await self._http.get(
                "aftersales", "/v1/cases", self._people.supervisor, order_id=order_id, limit=1
            )
            cases: list[dict[str, Any]] = found.body["items"]
            if cases and not cases[0]["pending"]:
                return cases[0]
            await asyncio.sleep(0.2)
        waited = f"{self._http.patience:.0f} s"
        raise Unplayed(f"{order_id}: no case that could be moved within {waited}")

    # -- who --------------------------------------------------------------------------------

    def _staff(self, step: Step) -> str:
        """The agent named in the line, else whoever has the chat, else the first."""
        chosen = step.line.agent or self._people.sight.of(str(step.buyer)).agent_id
        return f"agent:{chosen or self._agents[0]}"

    def _token(self, actor: str) -> str:
        side, _, who = actor.partition(":")
        known = self._people.buyer if side == "buyer" else self._people.agent
        return known(who).token

    async def _post(
        self, step: Step, kind: str, actor: str, about: str, service: str, path: str,
        body: dict[str, Any],
    ) -> None:  # fmt: skip
        async def send(action: str, content: dict[str, Any]) -> Acknowledged:
            sent_at = time.time()
            answer = await self._http.post(service, path, self._token(actor), action, content)
            return acknowledged(action, sent_at, answer.body)

        await self._actions.do(
            self._names.action(step.id), kind, actor, lambda: body, send, about=about
        )


def _case_body(move: CaseMove, case: dict[str, Any]) -> dict[str, Any]:
    match move.do:
        case "agree":
            agreed = {"amount_fen": case["amount_fen"], "refund_version": case["refund_version"]}
            return agreed | {"reason": move.note}
        case "refuse":
            return {"reason": move.note}
        case "ship_back":
            return {"tracking_no": move.tracking_no, "courier": move.courier}
        case "receive":
            return {"intact": True, "note": move.note}
        case _:
            return {"reason": move.note}
