"""The report: what is counted, and what is measured."""

import pytest

from kefu.replay.check import Finding, StoredMessage, Thread, read_books
from kefu.replay.records import Acknowledged, AnyRecord, Delivered, Planned, Refused
from kefu.replay.report import (
    Spread,
    assignments,
    count_messages,
    delivery_times,
    refusals,
    summary_rows,
)


def _planned(action: str, actor: str = "buyer:b") -> Planned:
    return Planned(at=1.0, action=action, kind="message", actor=actor)


def _acknowledged(action: str) -> Acknowledged:
    return Acknowledged(at=2.0, action=action, sent_at=1.5, message_id=f"m-{action}")


def _shown(action: str, receiver: str, at: float, via: str = "socket") -> Delivered:
    return Delivered(
        at=at, receiver=receiver, cursor=1, type="message.received", via=via,  # type: ignore[arg-type]
        message_id=f"m-{action}", client_message_id=action, conversation_id="c", seq=1,
    )  # fmt: skip


def _thread(*actions: str) -> Thread:
    messages = tuple(
        StoredMessage(
            conversation_id="c", message_id=f"m-{action}", client_message_id=action, seq=n,
            sender_kind="buyer",
        )
        for n, action in enumerate(actions, start=1)
    )  # fmt: skip
    return Thread(conversation_id="c", buyer_id="b", messages=messages)


def test_percentiles_are_values_that_were_measured() -> None:
    assert Spread.of([]) == Spread(0, None, None, None)
    assert Spread.of([0.3]) == Spread(1, 0.3, 0.3, 0.3)
    assert Spread.of([n / 100 for n in range(1, 101)]) == Spread(100, 0.5, 0.99, 1.0)


def test_delivered_needs_both_sides_and_the_stored_thread() -> None:
    records: list[AnyRecord] = []
    for action in ("a1", "a2", "a3"):
        records += [_planned(action), _acknowledged(action), _shown(action, "buyer:b", 2.0)]
    records += [_shown("a1", "agent:x", 2.5), _shown("a2", "agent:x", 2.5, via="http")]
    counts = count_messages(read_books(records), [], [_thread("a1", "a2", "a3")])
    assert (counts.sent, counts.acknowledged, counts.delivered) == (3, 3, 2)
    assert count_messages(read_books(records), [], [_thread("a2")]).delivered == 1


def test_a_message_counts_once_however_many_promises_it_broke() -> None:
    found = [Finding("lost", "a1", "here"), Finding("lost", "a1", "there")]
    assert count_messages(read_books([_planned("a1")]), found, []).lost == 1


def test_another_attempt_by_the_next_agent_is_the_same_message() -> None:
    records: list[AnyRecord] = [
        _planned("a1", "agent:x"),
        Refused(at=1.0, action="a1", status=403, code="not_your_conversation", kind="message"),
        _planned("a1~1", "agent:y"),
        _acknowledged("a1~1"),
        _planned("a2", "agent:y"),
        Refused(at=1.0, action="a2", status=409, code="conversation_closed", kind="message"),
        _planned("a3", "agent:y"),
    ]
    books = read_books(records)
    counts = count_messages(books, [], [])
    assert (counts.sent, counts.acknowledged, counts.refused, counts.unplayed) == (3, 1, 1, 1)
    assert refusals(books) == {"message: 409 conversation_closed": 1}


def test_time_to_delivery_runs_from_sending_to_the_first_push_at_the_other_side() -> None:
    records: list[AnyRecord] = [
        _planned("a1"),
        _acknowledged("a1"),
        _shown("a1", "buyer:b", 1.6),
        _shown("a1", "agent:x", 1.75),
        _shown("a1", "agent:y", 9.0),
    ]
    times = delivery_times(read_books(records))
    assert times["to_agent"] == Spread(1, 0.25, 0.25, 0.25)
    assert times["to_buyer"].count == 0


def test_a_message_that_waited_for_an_agent_is_told_as_waiting_not_as_delivery() -> None:
    records: list[AnyRecord] = [
        _planned("a1"),
        _acknowledged("a1"),
        _shown("a1", "agent:x", 5.0, via="http"),
        _shown("a1", "agent:y", 9.0),
        Delivered(
            at=5.0, receiver="buyer:b", cursor=2, type="conversation.assigned", agent_id="x",
            waited_seconds=3.5,
        ),
    ]  # fmt: skip
    books = read_books(records)
    assert delivery_times(books)["all"].count == 0
    by_agent, waited = assignments(books)
    assert by_agent == {"x": 1}
    assert waited.p50 == pytest.approx(3.5)


def test_every_figure_the_table_promises_is_in_it() -> None:
    import msgspec

    from kefu.replay.report import Messages, Outcome, Report

    nothing = Spread.of([])
    report = Report(
        run="r", shop_id="demo", file="f", speed=1.0, seconds=1.0, passed=True,
        messages=Messages(1, 2, 3, 4, 5, 6, 7, 8),
        delivery_seconds={"all": nothing, "to_agent": nothing, "to_buyer": nothing},
        assignments={"x": 1}, waited_seconds=nothing, outcome=Outcome(cases={"refunded": 2}),
        refusals={}, findings=[],
    )  # fmt: skip
    labels = [label.strip() for label, _ in summary_rows(report)]
    for wanted in (
        "messages sent", "acknowledged", "delivered", "lost", "doubled", "out of order",
        "time to delivery", "assignments", "reminders", "reminders stopped", "cases", "tags",
        "spikes", "verdict",
    ):  # fmt: skip
        assert wanted in labels
    again = msgspec.json.decode(msgspec.json.encode(report))
    assert again["messages"]["lost"] == 6
    assert again["outcome"]["cases"] == {"refunded": 2}
