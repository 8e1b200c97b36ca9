"""The check finds what it is there to find: each broken promise, and nothing in a clean run."""

from collections.abc import Callable, Sequence

import pytest

from kefu.replay.check import Finding, StoredMessage, Thread, findings, read_books
from kefu.replay.records import (
    Acknowledged,
    AnyRecord,
    Delivered,
    Joined,
    Planned,
    Resynced,
)

BUYER = "li.r1"


def _written(n: int) -> list[AnyRecord]:
    """A message planned, acknowledged and shown at both sides: buyers write the odd ones."""
    actor = f"buyer:{BUYER}" if n % 2 else "agent:xiaomei"
    type_ = "message.received" if n % 2 else "message.sent"
    shown = [
        Delivered(
            at=n + 0.2, receiver=receiver, cursor=n, type=type_, conversation_id="c1",
            buyer_id=BUYER, message_id=f"m{n}", client_message_id=f"a{n}", seq=n,
        )
        for receiver in (f"buyer:{BUYER}", "agent:xiaomei")
    ]  # fmt: skip
    return [
        Planned(at=float(n), action=f"a{n}", kind="message", actor=actor, turn=n),
        Acknowledged(
            at=n + 0.1, action=f"a{n}", conversation_id="c1", message_id=f"m{n}", seq=n,
        ),
        *shown,
    ]  # fmt: skip


def _stored(n: int, **changes: object) -> StoredMessage:
    fields = {
        "conversation_id": "c1", "message_id": f"m{n}", "client_message_id": f"a{n}", "seq": n,
        "sender_kind": "buyer" if n % 2 else "agent",
    }  # fmt: skip
    return StoredMessage(**(fields | changes))  # type: ignore[arg-type]


def _clean(count: int = 4) -> tuple[list[AnyRecord], list[StoredMessage]]:
    numbers = range(1, count + 1)
    return [record for n in numbers for record in _written(n)], [_stored(n) for n in numbers]


def _found(records: Sequence[AnyRecord], messages: Sequence[StoredMessage]) -> list[Finding]:
    thread = Thread(conversation_id="c1", buyer_id=BUYER, messages=tuple(messages))
    return findings(read_books(records), [thread])


def test_a_clean_run_has_no_finding() -> None:
    assert _found(*_clean()) == []


def test_an_acknowledged_message_that_is_not_stored_is_lost() -> None:
    records, messages = _clean()
    [finding] = _found(records, messages[:-1])
    assert finding == Finding("lost", "a4", "not in the stored thread")


@pytest.mark.parametrize("receiver", [f"buyer:{BUYER}", "agent:xiaomei"])
def test_a_stored_message_that_one_side_never_saw_is_lost(receiver: str) -> None:
    records, messages = _clean()
    kept = [
        r for r in records
        if not (isinstance(r, Delivered) and r.receiver == receiver and r.message_id == "m2")
    ]  # fmt: skip
    assert Finding("lost", "a2", "never at an agent" if receiver[0] == "a" else
                   f"never at {receiver}") in _found(kept, messages)  # fmt: skip


def test_a_message_loaded_over_http_counts_as_seen_by_the_agent() -> None:
    records, messages = _clean()
    loaded = [
        Delivered(**{f: getattr(r, f) for f in r.__struct_fields__} | {"via": "http", "cursor": 0})
        if isinstance(r, Delivered) and r.receiver == "agent:xiaomei" and r.message_id == "m1"
        else r
        for r in records
    ]
    assert _found(loaded, messages) == []


def test_a_message_pushed_twice_is_doubled() -> None:
    records, messages = _clean()
    last = records[-1]
    assert isinstance(last, Delivered)
    again = Delivered(
        at=9.0, receiver=last.receiver, cursor=5, type=last.type, conversation_id="c1",
        message_id=last.message_id, client_message_id=last.client_message_id, seq=last.seq,
    )  # fmt: skip
    [finding] = _found([*records, again], messages)
    assert finding == Finding("doubled", "a4", "twice at agent:xiaomei")


def test_a_message_stored_twice_is_doubled() -> None:
    records, messages = _clean()
    twice = [*messages, _stored(5, client_message_id="a4", sender_kind="agent")]
    found = _found(records, twice)
    assert Finding("doubled", "a4", "stored more than once") in found


def test_a_message_that_nobody_wrote_is_doubled() -> None:
    records, messages = _clean()
    found = _found(records, [*messages, _stored(5, sender_kind="buyer")])
    assert Finding("doubled", "a5", "stored, but nobody wrote it") in found


def test_one_message_acknowledged_as_two_is_doubled() -> None:
    records, messages = _clean()
    again = Acknowledged(at=9.0, action="a1", conversation_id="c1", message_id="m99", seq=99)
    assert Finding("doubled", "a1", "acknowledged as two messages") in _found(
        [*records, again], messages
    )


def test_the_same_answer_repeated_after_a_retry_is_no_finding() -> None:
    records, messages = _clean()
    again = Acknowledged(at=9.0, action="a1", conversation_id="c1", message_id="m1", seq=1)
    assert _found([*records, again], messages) == []


def test_one_reminder_stored_as_two_messages_is_doubled() -> None:
    records, messages = _clean(2)
    reminders = [
        _stored(n, sender_kind="system", reminder_id="r1", client_message_id=f"rem{n}")
        for n in (3, 4)
    ]
    shown = [
        Delivered(
            at=9.0, receiver=f"buyer:{BUYER}", cursor=n, type="message.sent",
            conversation_id="c1", message_id=f"m{n}", client_message_id=f"rem{n}", seq=n,
        )
        for n in (3, 4)
    ]  # fmt: skip
    assert _found([*records, *shown], [*messages, *reminders]) == [
        Finding("doubled", "m4", "reminder r1 again")
    ]


def test_pushes_in_another_order_than_their_numbers_are_out_of_order() -> None:
    records, messages = _clean()
    at_agent = [i for i, r in enumerate(records) if isinstance(r, Delivered)
                and r.receiver == "agent:xiaomei"]  # fmt: skip
    first, second = at_agent[1], at_agent[2]
    records[first], records[second] = records[second], records[first]
    assert {finding.kind for finding in _found(records, messages)} == {"out_of_order"}


def test_a_thread_stored_in_another_order_than_written_is_out_of_order() -> None:
    records, messages = _clean(2)
    swapped = [
        Planned(at=r.at, action=r.action, kind=r.kind, actor=r.actor, turn=3 - r.turn)
        if isinstance(r, Planned) else r
        for r in records
    ]  # fmt: skip
    [finding] = _found(swapped, messages)
    assert finding.kind == "out_of_order"
    assert "stored after" in finding.where


@pytest.mark.parametrize(
    "spoil", [lambda found: found[1:], lambda found: [found[0], *found[2:]]], ids=["head", "middle"]
)
def test_a_gap_in_the_numbers_of_a_thread_is_found(
    spoil: Callable[[list[StoredMessage]], list[StoredMessage]],
) -> None:
    records, messages = _clean()
    kinds = {finding.kind for finding in _found(records, spoil(messages))}
    assert "out_of_order" in kinds


def test_a_cursor_that_goes_back_is_out_of_order() -> None:
    records, messages = _clean(2)
    stray = Delivered(at=9.0, receiver="agent:xiaomei", cursor=2, type="conversation.changed")
    [finding] = _found([*records, stray], messages)
    assert finding == Finding("out_of_order", "event 2", "cursor 2 at agent:xiaomei")


@pytest.mark.parametrize("receiver", [f"buyer:{BUYER}", "agent:xiaomei"])
def test_an_event_number_that_never_came_is_a_lost_event(receiver: str) -> None:
    records, messages = _clean(2)
    later = Delivered(at=9.0, receiver=receiver, cursor=5, type="conversation.changed")
    assert _found([*records, later], messages) == [
        Finding("lost", f"event {number} of {receiver}", "never came") for number in (3, 4)
    ]


def test_the_feed_of_a_buyer_of_the_run_begins_at_its_first_event() -> None:
    records, messages = _clean(2)
    first = next(r for r in records if isinstance(r, Delivered) and r.receiver[0] == "b")
    kinds = {finding.kind for finding in _found([r for r in records if r != first], messages)}
    assert kinds == {"lost"}


def test_after_a_resync_a_feed_may_begin_anew() -> None:
    records, messages = _clean(2)
    anew: list[AnyRecord] = [
        Resynced(at=9.0, receiver="agent:xiaomei"),
        Joined(at=9.0, receiver="agent:xiaomei", cursor=40),
        Delivered(at=9.1, receiver="agent:xiaomei", cursor=41, type="conversation.changed"),
    ]
    assert _found([*records, *anew], messages) == []


def test_the_greeting_must_reach_the_buyer_and_needs_no_agent() -> None:
    records, messages = _clean(2)
    greeting = _stored(3, sender_kind="system", client_message_id="greeting:c1")
    assert _found(records, [*messages, greeting]) == [
        Finding("lost", "greeting:c1", f"never at buyer:{BUYER}")
    ]
