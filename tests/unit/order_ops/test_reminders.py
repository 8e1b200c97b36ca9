"""OO2: which reminder goes out next, and why one does not."""

from datetime import datetime, time, timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from common.contracts import StepStatus
from order_ops.buyers import Purchase
from order_ops.orders import Order
from order_ops.reminder_policies import (
    DEFAULT_STAGES,
    ReminderPolicy,
    carried,
    due_time,
    in_holdout,
    is_quiet,
)
from order_ops.reminder_texts import due_event, reminder_text
from order_ops.reminders import (
    Decision,
    Drop,
    Postpone,
    Remind,
    Reminder,
    next_reminder,
    plan,
)
from tests.support.order_examples import TEN, at, line, order, policy, situation


def planned(found: Order, rules: ReminderPolicy) -> list[Reminder]:
    return plan(found, rules, (), TEN)[0]


def decide(
    found: Order,
    rules: ReminderPolicy,
    reminders: list[Reminder],
    now: datetime,
    **buyer: Any,
) -> Decision | None:
    return next_reminder(found, rules, reminders, situation(**buyer), now)


def first(**buyer: Any) -> Decision | None:
    """The decision on the first stage of a plain order when it falls due."""
    found, rules = order(), policy()
    reminders = planned(found, rules)
    return decide(found, rules, reminders, reminders[0].due_at, **buyer)


@given(st.text("0123456789", min_size=1, max_size=12))
def test_stages_fall_due_within_their_ranges(order_id: str) -> None:
    found = order(order_id=order_id)
    due = {
        r.stage: r.planned_for
        for r in planned(found, policy(quiet_from="00:00", quiet_until="00:00"))
    }
    assert at(minutes=10) <= due[1] <= at(minutes=30)
    assert at(hours=2) <= due[2] <= at(hours=4)
    assert at(hours=22) <= due[3] <= at(hours=23)


def test_the_first_stage_is_sent_to_the_buyer_when_due() -> None:
    assert first() == Remind(1, "message")


def test_nothing_is_due_before_its_time() -> None:
    found, rules = order(), policy()
    assert decide(found, rules, planned(found, rules), at(minutes=9)) is None


@pytest.mark.parametrize(
    "buyer, expected",
    [
        ({"blocked": True}, Drop(1, "blacklist")),
        ({"live_chat": True}, Remind(1, "hint")),
        ({"purchases": (Purchase("o9", "coat-001", at(days=-1)),)}, Drop(1, "recent_purchase")),
        ({"purchases": (Purchase("o9", "coat-001", at(days=-3)),)}, Remind(1, "message")),
        ({"purchases": (Purchase("o9", "hat-002", at(days=-1)),)}, Remind(1, "message")),
    ],
)
def test_what_the_buyer_did_decides(buyer: dict[str, Any], expected: Decision) -> None:
    assert first(**buyer) == expected


@pytest.mark.parametrize(
    "rules, fields, reason",
    [
        ({"minimum_fen": 38501}, {}, "below_minimum"),
        ({}, {"total_fen": 0, "paid_fen": 0}, "below_minimum"),
        ({"grades": ("gold",)}, {"buyer_grade": "silver"}, "grade"),
        ({"grades": ("gold",)}, {}, "grade"),
        ({"holdout_basis_points": 10_000}, {}, "holdout"),
        ({"max_per_day": 0}, {}, "cap"),
        ({"enabled": False}, {}, "superseded"),
        ({"stages": ()}, {}, "superseded"),
    ],
)
def test_the_policy_decides(rules: dict[str, Any], fields: dict[str, Any], reason: str) -> None:
    found = order(**fields)
    reminders = planned(found, policy())
    decision = decide(found, policy(**rules), reminders, reminders[0].due_at)
    assert decision == Drop(1, reason)  # type: ignore[arg-type]


@pytest.mark.parametrize("status, reason", [("paid", "paid"), ("closed", "closed")])
def test_an_order_that_is_not_unpaid_any_more_is_not_reminded(status: str, reason: str) -> None:
    reminders = planned(order(), policy())
    decision = decide(order(status), policy(), reminders, reminders[0].due_at)
    assert decision == Drop(1, reason)  # type: ignore[arg-type]


def test_an_order_made_before_quiet_hours_is_reminded_in_the_morning_once() -> None:
    # 21:55 in the shop: both early stages fall into the night.
    found = order(created_at=at(hours=11, minutes=55), closes_at=at(days=2))
    rules = policy()
    reminders = planned(found, rules)
    morning = at(hours=22)
    assert [morning <= r.due_at <= at(hours=22, minutes=30) for r in reminders[:2]] == [True, True]
    assert decide(found, rules, reminders, reminders[0].due_at) == Drop(1, "superseded")
    reminders[0].state = "stopped"
    assert decide(found, rules, reminders[1:], reminders[1].due_at) == Remind(2, "message")


def test_a_reminder_that_quiet_hours_push_past_the_close_is_dropped() -> None:
    # Made at 21:30, closes at 07:00: the first stage may fall into the night already.
    found = order(created_at=at(hours=11, minutes=30), closes_at=at(hours=21))
    rules = policy()
    second = planned(found, rules)[1]
    assert is_quiet(rules, second.due_at)
    assert decide(found, rules, [second], second.due_at) == Drop(2, "quiet_hours")


def test_a_timer_that_fires_in_quiet_hours_is_postponed_to_the_morning() -> None:
    found, rules = order(closes_at=at(days=2)), policy()
    reminder = planned(found, rules)[0]
    reminder.due_at = at(hours=12)
    decision = decide(found, rules, [reminder], at(hours=12, minutes=1))
    assert isinstance(decision, Postpone)
    assert at(hours=22) <= decision.until <= at(hours=22, minutes=30)


def test_after_downtime_stale_reminders_expire_instead_of_going_out_in_a_burst() -> None:
    found, rules = order(), policy()
    reminders = planned(found, rules)
    late = reminders[0].due_at + timedelta(minutes=31)
    assert decide(found, rules, reminders[:1], late) == Drop(1, "expired")


def test_a_stage_that_another_follows_within_the_gap_is_superseded() -> None:
    found, rules = order(), policy()
    reminders = planned(found, rules)
    reminders[1].due_at = reminders[0].due_at + timedelta(minutes=20)
    assert decide(found, rules, reminders, reminders[0].due_at) == Drop(1, "superseded")


def test_an_order_that_closes_in_half_an_hour_has_no_last_stage_before_it_was_made() -> None:
    found, rules = order(closes_at=at(minutes=30)), policy()
    last = next(r for r in planned(found, rules) if r.stage == 3)
    assert decide(found, rules, [last], at(minutes=1)) == Drop(3, "expired")


def test_an_order_past_its_close_is_not_reminded() -> None:
    found, rules = order(closes_at=at(minutes=11)), policy()
    first_stage = planned(found, rules)[0]
    now = max(first_stage.due_at, at(minutes=12))
    assert decide(found, rules, [first_stage], now) == Drop(1, "expired")


def earlier(order_id: str, stage: int, fired_at: datetime, **fields: Any) -> Reminder:
    known: dict[str, Any] = {"state": "sent", "mode": "message", "fired_at": fired_at}
    reminder = planned(order(order_id=order_id), policy())[stage - 1]
    for name, value in (known | fields).items():
        setattr(reminder, name, value)
    return reminder


def test_no_more_than_three_reminders_a_day_reach_one_buyer() -> None:
    found, rules = order(), policy()
    reminder = planned(found, rules)[0]
    three = [earlier(f"p{n}", 1, at(hours=-n)) for n in (1, 2, 3)]
    assert decide(found, rules, [reminder, *three], reminder.due_at) == Drop(1, "cap")
    hints = [earlier(f"p{n}", 1, at(hours=-n), mode="hint") for n in (1, 2, 3)]
    assert decide(found, rules, [reminder, *hints], reminder.due_at) == Remind(1, "message")
    old = [earlier(f"p{n}", 1, at(hours=-24 - n)) for n in (1, 2, 3)]
    assert decide(found, rules, [reminder, *old], reminder.due_at) == Remind(1, "message")


def test_a_reminder_that_was_given_up_and_yet_written_counts_for_the_day() -> None:
    found, rules = order(), policy()
    reminder = planned(found, rules)[0]
    given_up = [earlier(f"p{n}", 1, at(hours=-n), state="stopped") for n in (1, 2, 3)]
    assert decide(found, rules, [reminder, *given_up], reminder.due_at) == Remind(1, "message")
    for one in given_up:
        one.message_id = f"m-{one.order_id}"
    assert decide(found, rules, [reminder, *given_up], reminder.due_at) == Drop(1, "cap")


def test_two_unpaid_orders_of_one_buyer_get_one_reminder() -> None:
    found, rules = order(), policy()
    reminder = planned(found, rules)[0]
    other = earlier("o2", 1, at(minutes=1), state="due")
    both = frozenset({"o1", "o2"})
    sent = [reminder, other]
    assert decide(found, rules, sent, reminder.due_at, unpaid_order_ids=both) == Drop(
        1, "other_order"
    )
    assert decide(found, rules, sent, reminder.due_at) == Remind(1, "message")


def test_after_the_deposit_only_the_last_stage_is_left() -> None:
    found = order(step_status="front_paid", paid_fen=5000)
    assert [r.stage for r in planned(found, policy())] == [3]
    reminders = planned(order(), policy())
    assert decide(found, policy(), reminders, reminders[0].due_at) == Drop(1, "superseded")


@pytest.mark.parametrize("step", ["final_paid", "forfeited"])
def test_an_order_with_nothing_left_to_pay_is_not_reminded_while_it_still_counts_as_unpaid(
    step: StepStatus,
) -> None:
    found = order(step_status=step, paid_fen=5000)
    assert planned(found, policy()) == []
    reminders = planned(order(), policy())
    assert decide(found, policy(), reminders[-1:], reminders[-1].due_at) == Drop(3, "superseded")


def test_a_moved_close_moves_the_last_stage_alone() -> None:
    found, rules = order(), policy(quiet_from="00:00", quiet_until="00:00")
    reminders = planned(found, rules)
    before = [r.due_at for r in reminders]
    found.closes_at = at(days=3)
    added, moved = plan(found, rules, reminders, TEN)
    assert (added, [r.stage for r in moved]) == ([], [3])
    assert reminders[2].due_at == before[2] + timedelta(days=2)


def test_a_settled_stage_is_never_planned_again() -> None:
    found, rules = order(), policy()
    reminders = planned(found, rules)
    for reminder in reminders:
        reminder.state = "stopped"
    found.closes_at = at(days=3)
    assert plan(found, rules, reminders, TEN) == ([], [])


def test_a_paid_order_and_a_disabled_policy_plan_nothing() -> None:
    assert plan(order("paid"), policy(), (), TEN) == ([], [])
    assert plan(order(), policy(enabled=False), (), TEN) == ([], [])


def test_the_holdout_share_is_kept_and_stable() -> None:
    rules = policy(holdout_basis_points=1000)
    held = [n for n in range(5000) if in_holdout(rules, f"order-{n}")]
    assert 400 <= len(held) <= 600
    assert held == [n for n in range(5000) if in_holdout(rules, f"order-{n}")]


@given(
    moment=st.datetimes(min_value=datetime(2026, 1, 1), max_value=datetime(2027, 1, 1)),  # noqa: DTZ001
    order_id=st.text(),
    quiet_from=st.times(),
    quiet_until=st.times(),
    open_hours=st.integers(1, 72),
)
@example(datetime(2026, 1, 1, 5), "o1", time(8, 5), time(8), 72)  # noqa: DTZ001
def test_nothing_is_carried_into_quiet_hours_or_past_the_close(
    moment: datetime, order_id: str, quiet_from: time, quiet_until: time, open_hours: int
) -> None:
    rules = policy(quiet_from=f"{quiet_from:%H:%M}", quiet_until=f"{quiet_until:%H:%M}")
    moment = moment.replace(tzinfo=TEN.tzinfo)
    closes_at = moment + timedelta(hours=open_hours)
    found = carried(rules, moment, order_id, closes_at)
    if found is not None:
        assert not is_quiet(rules, found)
        assert moment <= found < closes_at
    else:
        assert is_quiet(rules, moment)


def test_a_stage_before_the_close_needs_a_close() -> None:
    last = DEFAULT_STAGES[2]
    assert due_time(policy(), last, "o1", TEN, None) is None
    assert [r.stage for r in planned(order(closes_at=None), policy())] == [1, 2]


def test_the_text_names_goods_money_and_hours() -> None:
    found = order(lines=(line(), line("hat-002")))
    text = reminder_text("{title}|{amount}|{hours_left}", found, at(hours=22))
    assert text == "轻薄羽绒外套 等 2 件|385.00|2"


@pytest.mark.parametrize(
    "rules, closes_at, now, until",
    [
        ({}, at(days=2), TEN, at(minutes=30)),
        ({}, at(days=2), at(hours=11, minutes=50), at(hours=12)),
        ({"quiet_from": "00:00", "quiet_until": "00:00"}, at(days=2), at(hours=11, minutes=50),
         at(hours=12, minutes=20)),
        ({}, at(minutes=10), TEN, at(minutes=10)),
        ({}, None, TEN, at(minutes=30)),
    ],
    ids=["given_up", "quiet", "never_quiet", "closed", "no_close"],
)  # fmt: skip
def test_a_reminder_may_be_written_until_the_night_the_close_or_its_being_given_up(
    rules: dict[str, Any], closes_at: datetime | None, now: datetime, until: datetime
) -> None:
    found, shop = order(closes_at=closes_at), policy(**rules)
    reminder = planned(found, shop)[0]
    assert due_event(found, shop, reminder, "message", now).valid_until == until


def test_the_due_event_carries_one_key_per_order_and_stage() -> None:
    found, rules = order(), policy()
    reminder = planned(found, rules)[1]
    event = due_event(found, rules, reminder, "message", TEN)
    assert (event.idempotency_key, event.sent_by, event.amount_fen) == ("o1:2", "message", 38500)
