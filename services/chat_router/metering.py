"""What the metrics of chat_router count: events, once they are committed."""

from functools import singledispatch

from common.contracts import (
    ConversationAnswered,
    ConversationAssigned,
    ConversationClosed,
    ConversationOpened,
    Event,
    MessageReceived,
    MessageSent,
)
from common.telemetry import metrics


@singledispatch
def count(event: Event) -> None:
    """Events without a metric are not counted."""


@count.register(MessageReceived)
@count.register(MessageSent)
def _(event: MessageReceived | MessageSent) -> None:
    metrics.MESSAGES.add(direction=event.sender_kind, kind=event.kind)


@count.register
def _(event: ConversationOpened) -> None:
    metrics.CONVERSATIONS_OPENED.add()


@count.register
def _(event: ConversationClosed) -> None:
    metrics.CONVERSATIONS_CLOSED.add(reason=event.reason)


@count.register
def _(event: ConversationAssigned) -> None:
    metrics.ASSIGNMENTS.add(reason=event.reason)
    metrics.ASSIGNMENT_WAIT_SECONDS.record(event.waited_seconds)


@count.register
def _(event: ConversationAnswered) -> None:
    metrics.RESPONSE_SECONDS.record(event.seconds)
    if event.first:
        metrics.FIRST_RESPONSE_SECONDS.record(event.seconds)
