"""Tasks: deadlines by policy, one closing, and proof that the rate fell."""

from datetime import UTC, datetime, timedelta

import pytest

from feedback.policies import FeedbackPolicy, answer_by, policy_of
from feedback.tasks import (
    MOST_ANSWERS,
    Task,
    TaskClosed,
    TooManyAnswers,
    answer,
    close,
    miss_deadline,
    prove,
    task_closed,
)

NOW = datetime(2026, 3, 2, 2, 0, tzinfo=UTC)
DAYS = ("2026-03-03", "2026-03-09")
POLICY = FeedbackPolicy(shop_id="demo")


def task(hits: int = 30, orders: int = 300) -> Task:
    return Task(
        shop_id="demo",
        task_id="t1",
        spike_id="s1",
        product_id="coat",
        tag="quality.fading",
        owner_role="product",
        hits_before=hits,
        orders_before=orders,
        opened_at=NOW,
        deadline_at=NOW + timedelta(hours=72),
    )


def test_the_policy_of_the_shop_sets_the_deadline() -> None:
    own = FeedbackPolicy(shop_id="demo", deadline_hours={"product": 5})
    assert answer_by(own, "product", NOW) == NOW + timedelta(hours=5)
    assert answer_by(own, "courier", NOW) == NOW + timedelta(hours=48)
    assert policy_of(None, "demo").proof_days == 7


def test_an_answer_leaves_the_task_open_and_a_closing_ends_it() -> None:
    found = task()
    answer(found, "已联系工厂", "wang", "operations", NOW)
    assert found.state == "answered"
    close(found, "fixed", "换了染料", "wang", "operations", POLICY, NOW)
    assert (found.state, found.outcome, len(found.answers)) == ("closed", "fixed", 2)
    assert task_closed(found).answer == "换了染料"
    assert found.proof_due_at == NOW + timedelta(days=7)


def test_a_task_takes_so_many_answers_and_can_still_be_closed() -> None:
    found = task()
    for n in range(MOST_ANSWERS):
        answer(found, f"第 {n} 次", "wang", "operations", NOW)
    with pytest.raises(TooManyAnswers):
        answer(found, "再来", "wang", "operations", NOW)
    close(found, "fixed", "换了染料", "wang", "operations", POLICY, NOW)
    assert (found.state, len(found.answers)) == ("closed", MOST_ANSWERS + 1)
    assert task_closed(found).answer == "换了染料"


def test_a_closed_task_takes_no_second_closing() -> None:
    found = task()
    close(found, "fixed", "好了", "wang", "operations", POLICY, NOW)
    with pytest.raises(TaskClosed):
        close(found, "cannot_fix", "再来", "li", "operations", POLICY, NOW)
    assert found.outcome == "fixed"


def test_a_missed_deadline_is_marked_and_an_early_timer_is_not() -> None:
    found = task()
    miss_deadline(found, NOW)
    assert not found.overdue
    miss_deadline(found, found.deadline_at)
    assert found.overdue


def test_a_task_closed_in_time_is_not_overdue() -> None:
    found = task()
    close(found, "fixed", "好了", "wang", "operations", POLICY, NOW)
    miss_deadline(found, found.deadline_at)
    assert not found.overdue


@pytest.mark.parametrize(
    "hits,orders,effect",
    [
        (3, 700, "fell"),
        (70, 700, "unclear"),
        (200, 700, "rose"),
        (0, 5, "unclear"),
        (0, 0, "unclear"),
    ],
)
def test_proof_compares_rates_and_not_counts(hits: int, orders: int, effect: str) -> None:
    assert prove(task(), hits, orders, DAYS, final=True).effect == effect


def test_proof_states_rates_per_hundred_orders() -> None:
    proof = prove(task(), 7, 700, DAYS, final=False)
    assert proof.rate_before == pytest.approx(10.0)
    assert proof.rate_after == pytest.approx(1.0)
    assert proof.p_value < 0.001


def test_without_orders_afterwards_there_is_no_rate() -> None:
    proof = prove(task(), 0, 0, DAYS, final=False)
    assert proof.rate_after is None
    assert proof.p_value == 1.0
