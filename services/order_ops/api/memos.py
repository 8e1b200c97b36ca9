"""Memos and flags that agents put on a platform's order."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter
from pydantic import Field, model_validator

from common.errors import NotFound
from common.web.idempotency import IdempotencyKey
from common.web.serving import RunningService
from common.web.types import Body, ExternalId, Text, View

from .. import store
from ..memo_desk import MemoAccepted
from ..memos import MemoState, WriteMemo
from .callers import Agent, Staff

router = APIRouter(prefix="/v1", tags=["memos"])


class NewMemo(Body):
    """A line to append to the platform's memo, a flag, or both.

    Line breaks become spaces. The platform's memo holds 1,000 GBK bytes in all; what others
    wrote there is kept. `flag`: 0 grey, 1 red, 2 yellow, 3 green, 4 blue, 5 pink.
    """

    text: Annotated[Text, Field(max_length=500)] | None = None
    flag: int | None = Field(None, strict=True, ge=0, le=5)

    @model_validator(mode="after")
    def _says_something(self) -> "NewMemo":
        if self.flag is None and not (self.text or "").strip():
            raise ValueError("a memo needs a text, a flag, or both")
        return self


class MemoAcceptedView(View):
    """A memo that waits for the platform's acknowledgement."""

    memo_id: str
    order_id: str
    state: MemoState
    line: str
    flag: int | None


class MemoView(View):
    """A memo and what became of it.

    `succeeded`: the platform took it; `verified`: a later snapshot shows it; `conflict`: it was
    lost twice, somebody else overwrites it.
    """

    memo_id: str
    order_id: str
    text: str
    line: str
    flag: int | None
    author: str
    author_role: str
    state: MemoState
    attempts: int
    failure_code: str
    failure_message: str
    created_at: datetime
    requested_at: datetime | None
    settled_at: datetime | None


class MemoList(View):
    """All memos of one order, oldest first."""

    items: list[MemoView]


@router.post("/orders/{order_id}/memos", status_code=202)
async def post_memo(
    caller: Agent,
    key: IdempotencyKey,
    order_id: ExternalId,
    body: NewMemo,
    service: RunningService,
) -> MemoAcceptedView:
    """Append a memo or set a flag; the platform's acknowledgement settles it."""
    command = WriteMemo(
        shop_id=caller.shop_id,
        order_id=order_id,
        text=body.text or "",
        flag=body.flag,
        author=caller.subject,
        author_role=caller.acting_as().value,
    )
    accepted: MemoAccepted = await service.submit(command, key)
    return MemoAcceptedView.model_validate(accepted)


@router.get("/orders/{order_id}/memos")
async def list_memos(caller: Staff, order_id: ExternalId, service: RunningService) -> MemoList:
    """The memos of an order, oldest first."""
    async with service.database.read() as conn:
        if await store.order(conn, caller.shop_id, order_id) is None:
            raise NotFound("No such order.")
        found = await store.memos(conn, caller.shop_id, order_id)
    return MemoList(items=[MemoView.model_validate(row) for row in found])
