"""The queue: a buyer's own place, and how many wait in each group."""

from datetime import datetime

from fastapi import APIRouter

from common.web.serving import RunningService
from common.web.types import View

from ..conversations import is_waiting
from ..routing import expected_wait
from ..store import lists, queues
from .callers import Buyer, StaffOrSystem

router = APIRouter(prefix="/v1", tags=["queue"])


class QueuePlace(View):
    """Where the buyer stands. `position` counts from 1 and is null for who does not wait;
    the expected wait is null while there is nothing to judge by."""

    conversation_id: str | None = None
    state: str | None = None
    position: int | None = None
    expected_wait_seconds: float | None = None
    server_now: datetime


class GroupQueue(View):
    """How many wait in a group: in the queue, or in the message box (留言) for the opening."""

    group_id: str
    state: str
    waiting: int
    oldest_at: datetime


class Queues(View):
    """The queues of the shop."""

    items: list[GroupQueue]
    server_now: datetime


@router.get("/queue")
async def get_queue_place(caller: Buyer, service: RunningService) -> QueuePlace:
    """The calling buyer's own place in the queue."""
    now = service.clock()
    async with service.database.read() as conn:
        found = await lists.open_conversation(conn, caller.shop_id, caller.subject)
        if found is None or not is_waiting(found):
            return QueuePlace(
                conversation_id=found.conversation_id if found else None,
                state=found.state if found else None,
                server_now=now,
            )
        position = 1 + await queues.ahead_of(conn, found)
        served = await queues.served_lately(conn, caller.shop_id, [found.group_id], now)
    return QueuePlace(
        conversation_id=found.conversation_id,
        state=found.state,
        position=position,
        expected_wait_seconds=expected_wait(position, served.get(found.group_id, 0), queues.SPAN),
        server_now=now,
    )


@router.get("/queues")
async def list_queues(caller: StaffOrSystem, service: RunningService) -> Queues:
    """How many buyers wait in each group, and since when."""
    async with service.database.read() as conn:
        found = await queues.waiting_by_group(conn, caller.shop_id)
    items = [
        GroupQueue(group_id=group_id, state=state, waiting=waiting, oldest_at=oldest_at)
        for group_id, state, waiting, oldest_at in found
    ]
    return Queues(items=items, server_now=service.clock())
