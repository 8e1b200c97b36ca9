"""The shop's board (看板): complaints that rise and the tasks they lead to, shown live.

The feed of the board is numbered here, where its sockets are; so what the board shows of another
service is told once more, as an event of ours.
"""

from functools import singledispatch

from common.contracts import (
    BoardNoticed,
    Event,
    FeedbackSpiked,
    FeedbackTaskClosed,
    FeedbackTaskOpened,
)
from common.runtime import Work

BOARD = ("shop",)


def show(event: Event, work: Work) -> None:
    """Shows it to supervisors and operations."""
    work.emit(notice_of(event), deliver=BOARD)


@singledispatch
def notice_of(event: Event) -> BoardNoticed:
    """What the board says of an event; `TypeError` for one that is none of its business."""
    raise TypeError(type(event).__name__)


@notice_of.register
def _(event: FeedbackSpiked) -> BoardNoticed:
    return BoardNoticed(
        shop_id=event.shop_id,
        notice="complaints_spiked",
        subject_id=event.spike_id,
        spike_id=event.spike_id,
        product_id=event.product_id,
        tag=event.tag,
        level=event.level,
        count=event.count,
        happened_at=event.detected_at,
    )


@notice_of.register
def _(event: FeedbackTaskOpened) -> BoardNoticed:
    return BoardNoticed(
        shop_id=event.shop_id,
        notice="task_opened",
        subject_id=event.task_id,
        spike_id=event.spike_id,
        product_id=event.product_id,
        tag=event.tag,
        owner_role=event.owner_role,
        deadline_at=event.deadline_at,
        happened_at=event.opened_at,
    )


@notice_of.register
def _(event: FeedbackTaskClosed) -> BoardNoticed:
    return BoardNoticed(
        shop_id=event.shop_id,
        notice="task_closed",
        subject_id=event.task_id,
        product_id=event.product_id,
        tag=event.tag,
        outcome=event.outcome,
        happened_at=event.closed_at,
    )
