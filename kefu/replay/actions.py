"""Actions that survive the end of either side: planned on disk, sent until answered, remembered."""

import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from kefu.replay.http import RefusedByApi
from kefu.replay.journal import Journal
from kefu.replay.records import Acknowledged, AnyRecord, Planned, Refused

Body = dict[str, Any]
Send = Callable[[str, Body], Awaitable[Acknowledged]]
"""Sends a body under an action's id and answers what the system said; repeats are its business."""


class Actions:
    """What was planned and what became of it, in this process and in those before it."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.planned: dict[str, Planned] = {}
        self.acknowledged: dict[str, Acknowledged] = {}
        self.refused: dict[str, Refused] = {}
        self._turns: dict[str, int] = {}

    def recall(self, records: Iterable[AnyRecord]) -> None:
        """Takes up what earlier processes left."""
        for record in records:
            match record:
                case Planned():
                    self.planned[record.action] = record
                    if record.turn:
                        self._turns[record.about] = max(
                            self._turns.get(record.about, 0), record.turn
                        )
                case Acknowledged():
                    self.acknowledged.setdefault(record.action, record)
                case Refused():
                    self.refused[record.action] = record
                case _:
                    pass

    async def do(
        self,
        action: str,
        kind: str,
        actor: str,
        body: Callable[[], Body],
        send: Send,
        *,
        about: str = "",
        is_turn: bool = False,
    ) -> Acknowledged | None:
        """Does it once, whatever happens; None when the system refused it for good.

        A turn gets the next number of the thread `about`, in the order of calls.
        """
        if action in self.acknowledged:
            return self.acknowledged[action]
        if action in self.refused:
            return None
        plan = self.planned.get(action)
        if plan is None:
            turn = self._next_turn(about) if is_turn else 0
            plan = Planned(
                at=time.time(), action=action, kind=kind, actor=actor, about=about, turn=turn,
                body=body(),
            )  # fmt: skip
            self.planned[action] = plan
            await self._journal.keep(plan)
        return await self._send(plan, send)

    def _next_turn(self, about: str) -> int:
        self._turns[about] = self._turns.get(about, 0) + 1
        return self._turns[about]

    async def _send(self, plan: Planned, send: Send) -> Acknowledged | None:
        try:
            answer = await send(plan.action, plan.body)
        except RefusedByApi as refusal:
            refused = Refused(
                at=time.time(), action=plan.action, status=refusal.status, code=refusal.code,
                detail=refusal.detail, kind=plan.kind,
            )  # fmt: skip
            self.refused[plan.action] = refused
            self._journal.note(refused)
            return None
        self.acknowledged[plan.action] = answer
        self._journal.note(answer)
        return answer
