"""CR13: the clocks, exactly as the platform counts them. The worked cases of the rule are here."""

from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chat_router.conversations import Conversation
from chat_router.messages import Message
from chat_router.metrics import day_span, figures, figures_by_agent
from chat_router.response_times import (
    Round,
    answer,
    ask,
    ends_round,
    give_up,
    is_counted,
    is_within_3min,
    rounds_of,
)

ZONE = ZoneInfo("Asia/Shanghai")
DAY = date(2026, 3, 2)


def at(clock: str, day: date = DAY) -> datetime:
    """A shop's time of day, in UTC."""
    return datetime.combine(day, time.fromisoformat(clock), ZONE).astimezone(UTC)


def talk(*lines: tuple[str, datetime], agent: str = "a1", thread: str = "c1") -> list[Message]:
    """Messages of one conversation: (who, when)."""
    return [
        Message(
            shop_id="demo",
            conversation_id=thread,
            seq=number,
            message_id=f"{thread}-{number}",
            source="test",
            client_message_id=f"{thread}-{number}",
            platform="own",
            buyer_id=f"buyer-of-{thread}",
            agent_id=None if who == "buyer" else agent,
            sender_kind=who,  # type: ignore[arg-type]
            sender_id=agent,
            kind="text",
            text="…",
            sent_at=moment,
            received_at=moment,
            counted_at=moment,
        )
        for number, (who, moment) in enumerate(lines, start=1)
    ]


def rounds(messages: Iterable[Message], *, bots: bool = False) -> list[Round]:
    return rounds_of(messages, bot_replies_count=bots, zone=ZONE, assigned={"c1": "a1", "c2": "a1"})


def rate(messages: Iterable[Message], *, bots: bool = False) -> tuple[int, int]:
    """Rounds within three minutes, of all rounds."""
    found = figures("a1", rounds(messages, bots=bots), ZONE)
    return found.rounds_within_3min, found.rounds


# -- the worked cases -----------------------------------------------------------------------


def test_asking_again_does_not_restart_the_clock() -> None:
    late = talk(("buyer", at("10:10:15")), ("buyer", at("10:15:20")), ("agent", at("10:18:10")))

    assert rate(late) == (0, 1)


def test_next_round_in_thirty_seconds_makes_one_of_two() -> None:
    both = talk(
        ("buyer", at("10:10:15")),
        ("buyer", at("10:15:20")),
        ("agent", at("10:18:10")),
        ("buyer", at("10:20:00")),
        ("agent", at("10:20:30")),
    )

    assert rate(both) == (1, 2)


def test_never_answered_that_day_is_none_of_one() -> None:
    assert rate(talk(("buyer", at("10:10:15")))) == (0, 1)


# -- the edges of the rule ------------------------------------------------------------------


@pytest.mark.parametrize("seconds, within", [(0, 1), (180, 1), (181, 0)])
def test_three_minutes_include_their_last_second(seconds: int, within: int) -> None:
    asked = at("10:00:00")
    answered = asked + timedelta(seconds=seconds)

    assert rate(talk(("buyer", asked), ("agent", answered))) == (within, 1)


@pytest.mark.parametrize(
    "clock, counted",
    [("07:59:59", False), ("08:00:00", True), ("23:59:59", True), ("00:00:00", False)],
)
def test_rate_counts_rounds_from_eight_to_midnight_shop_time(clock: str, counted: bool) -> None:
    assert is_counted(at(clock), ZONE) is counted


def test_answer_after_midnight_was_never_that_day() -> None:
    asked = at("23:59:00")

    assert is_within_3min(asked, asked + timedelta(seconds=59), ZONE)
    assert not is_within_3min(asked, asked + timedelta(seconds=61), ZONE)


def test_bots_reply_counts_by_the_shops_setting() -> None:
    bot_first = talk(("buyer", at("10:00:00")), ("bot", at("10:00:01")), ("agent", at("10:09:00")))

    assert rate(bot_first, bots=True) == (1, 1)
    assert rate(bot_first, bots=False) == (0, 1)


def test_greeting_and_notices_of_the_system_never_answer() -> None:
    greeted = talk(("buyer", at("10:00:00")), ("system", at("10:00:00")))

    assert rate(greeted, bots=True) == (0, 1)
    assert not ends_round("system", bot_replies_count=True)


def test_agents_second_message_is_no_round_of_its_own() -> None:
    chatty = talk(("buyer", at("10:00:00")), ("agent", at("10:00:10")), ("agent", at("10:30:00")))

    assert rate(chatty) == (1, 1)


def test_transfer_does_not_restart_the_clock_and_who_answers_is_counted() -> None:
    messages = talk(("buyer", at("10:00:00")), ("agent", at("10:05:00")), agent="a2")

    found = rounds(messages)

    assert [(one.agent_id, one.asked_at, one.within_3min) for one in found] == [
        ("a2", at("10:00:00"), False)
    ]


def test_new_conversation_begins_with_a_clean_clock() -> None:
    first = talk(("buyer", at("10:00:00")), thread="c1")
    second = talk(("buyer", at("11:00:00")), ("agent", at("11:00:20")), thread="c2")

    found = rounds([*first, *second])

    assert [(one.conversation_id, one.within_3min) for one in found] == [
        ("c1", False),
        ("c2", True),
    ]
    assert found[1].first


def test_first_response_is_of_the_first_round_only() -> None:
    messages = talk(
        ("buyer", at("10:00:00")),
        ("agent", at("10:00:20")),
        ("buyer", at("10:01:00")),
        ("agent", at("10:02:40")),
    )

    found = figures("a1", rounds(messages), ZONE)

    assert found.average_first_response_seconds == 20.0
    assert found.average_response_seconds == 60.0


def test_each_buyer_counts_once_per_agent_and_day() -> None:
    one = talk(("buyer", at("10:00:00")), ("agent", at("10:00:20")), thread="c1")
    again = talk(("buyer", at("15:00:00")), thread="c2")
    for message in again:
        message.buyer_id = "buyer-of-c1"

    found = figures("a1", rounds([*one, *again]), ZONE)

    assert (found.buyers_received, found.buyers_replied) == (1, 1)
    assert found.unreplied_buyer_ids == ()


def test_unreplied_buyers_are_named() -> None:
    one = talk(("buyer", at("10:00:00")), ("agent", at("10:00:20")), thread="c1")
    other = talk(("buyer", at("10:00:00")), thread="c2")

    found = figures("a1", rounds([*one, *other]), ZONE)

    assert found.unreplied_buyer_ids == ("buyer-of-c2",)
    assert found.reply_rate == 0.5


def test_rounds_of_nobody_are_listed_last() -> None:
    waiting = Round(
        shop_id="demo", conversation_id="c9", round=1, buyer_id="b", asked_at=at("10:00:00")
    )
    served = rounds(talk(("buyer", at("10:00:00")), ("agent", at("10:00:20"))))

    assert [one.agent_id for one in figures_by_agent([waiting, *served], ZONE)] == ["a1", None]


def test_day_is_the_shops_and_not_utcs() -> None:
    start, end = day_span(DAY, ZONE)

    assert start == datetime(2026, 3, 1, 16, tzinfo=UTC)
    assert end - start == timedelta(days=1)
    assert day_span(DAY, ZONE, days=30)[0] == start - timedelta(days=29)


# -- what is counted live is what the messages say ------------------------------------------


def live(messages: list[Message], *, bots: bool) -> list[Round]:
    """Rounds as the intake books them, message by message."""
    now = at("00:00:00")
    known: dict[str, Any] = {"state": "assigned", "group_id": "g", "agent_id": "a1"}
    conversation = Conversation(
        shop_id="demo",
        conversation_id="c1",
        buyer_id="buyer-of-c1",
        platform="own",
        opened_at=now,
        queued_at=now,
        waiting_since=now,
        **known,
    )
    booked: list[Round] = []
    for message in messages:
        if message.sender_kind == "buyer":
            ask(conversation, message.counted_at)
        elif ends_round(message.sender_kind, bot_replies_count=bots):
            finished = answer(
                conversation, message.counted_at, message.sender_kind, message.agent_id, ZONE
            )
            booked += [finished] if finished else []
    left = give_up(conversation)
    assert conversation.rounds == len(booked) + (left is not None)
    assert conversation.rounds_within_3min == sum(one.within_3min for one in booked)
    return [*booked, *([left] if left else [])]


@settings(max_examples=300)
@given(
    st.lists(
        st.tuples(st.sampled_from(["buyer", "agent", "bot", "system"]), st.integers(0, 90_000)),
        max_size=30,
    ),
    st.booleans(),
)
def test_live_rounds_equal_those_made_anew_from_the_messages(
    lines: list[tuple[str, int]], bots: bool
) -> None:
    start = at("00:00:00")
    messages = talk(*((who, start + timedelta(seconds=second)) for who, second in lines))

    assert live(messages, bots=bots) == rounds(messages, bots=bots)
