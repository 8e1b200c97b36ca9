"""OO1: whatever order snapshots come in, the order book ends in the same state."""

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from common.contracts import ShopOrder
from order_ops.merging import goes_backwards, is_newer, merge, raised
from order_ops.orders import RANK, TERMINAL, Order, Transition
from tests.support.order_examples import TEN, at, snapshot

LIFE = ("unpaid", "paid", "partly_shipped", "shipped", "signed", "finished")


def play(*snapshots: ShopOrder) -> tuple[Order, list[Transition]]:
    order: Order | None = None
    seen: list[Transition] = []
    for one in snapshots:
        order, transitions = merge(order, one)
        seen += transitions
    assert order is not None
    return order, seen


def names(transitions: list[Transition]) -> list[str]:
    return [transition.name for transition in transitions]


PAID: dict[str, Any] = {"paid_fen": 38500, "paid_at": at(minutes=5), "modified_at": at(minutes=5)}


def test_first_unpaid_snapshot_is_created_and_unpaid() -> None:
    order, seen = play(snapshot())
    assert names(seen) == ["created", "unpaid"]
    assert order.status == "unpaid"
    assert [t.previous_status for t in seen] == [None, None]


def test_paid_before_created_is_created_then_paid_and_the_late_one_is_no_news() -> None:
    order, seen = play(snapshot("paid", **PAID), snapshot())
    assert names(seen) == ["created", "paid"]
    assert order.status == "paid"


def test_a_repeated_snapshot_is_no_news() -> None:
    order, seen = play(snapshot(), snapshot(), snapshot())
    assert names(seen) == ["created", "unpaid"]
    assert order == play(snapshot())[0]


def test_skipped_states_are_all_told_in_the_order_of_an_orders_life() -> None:
    signed = snapshot("signed", **PAID | {"modified_at": at(days=3), "signed_at": at(days=3)})
    _, seen = play(snapshot(), signed)
    assert names(seen) == ["created", "unpaid", "paid", "shipped", "signed"]


def test_merge_does_not_alter_the_order_it_was_given() -> None:
    before = merge(None, snapshot())[0]
    kept = structs.replace(before)
    merge(before, snapshot("paid", **PAID))
    assert before == kept


def test_same_second_ties_are_settled_by_state_rank() -> None:
    unpaid, paid = snapshot(), snapshot("paid", paid_fen=38500, paid_at=TEN)
    assert play(unpaid, paid)[0] == play(paid, unpaid)[0]
    assert play(paid, unpaid)[0].status == "paid"
    assert play(paid, unpaid)[0].paid_fen == 38500


def test_a_version_goes_before_the_clock() -> None:
    older = snapshot(version=1, total_fen=100, modified_at=at(hours=1))
    newer = snapshot(version=2, total_fen=200, modified_at=TEN)
    assert play(newer, older)[0].total_fen == 200


def test_a_price_change_is_told_once() -> None:
    cheaper = snapshot(total_fen=30000, modified_at=at(minutes=1))
    order, seen = play(snapshot(), cheaper, cheaper, snapshot())
    assert names(seen) == ["created", "unpaid", "changed"]
    assert order.total_fen == 30000


def test_a_deposit_is_a_change_and_not_the_payment() -> None:
    deposit: dict[str, Any] = {
        "step_status": "front_paid",
        "paid_fen": 5000,
        "paid_at": at(minutes=1),
    }
    order, seen = play(
        snapshot(step_status="front_unpaid"),
        snapshot(**deposit, modified_at=at(minutes=1)),
    )
    assert names(seen) == ["created", "unpaid", "changed"]
    assert (order.status, order.paid_at, order.amount_due_fen) == ("unpaid", None, 33500)


def test_the_final_payment_of_a_step_order_is_paid_at_its_own_time() -> None:
    deposit: dict[str, Any] = {
        "step_status": "front_paid",
        "paid_fen": 5000,
        "paid_at": at(minutes=1),
    }
    final = PAID | {"step_status": "final_paid"}
    order, seen = play(snapshot(**deposit, modified_at=at(minutes=1)), snapshot("paid", **final))
    assert names(seen) == ["created", "unpaid", "paid"]
    assert (order.step_status, order.paid_at) == ("final_paid", at(minutes=5))


def test_cash_on_delivery_is_paid_only_when_finished() -> None:
    signed = snapshot("signed", signed_at=at(days=3), modified_at=at(days=3))
    _, seen = play(signed, snapshot("finished", paid_fen=38500, modified_at=at(days=4)))
    assert names(seen) == ["created", "shipped", "signed", "paid", "finished"]


CLOSED: dict[str, Any] = {"closed_at": at(days=1), "modified_at": at(days=1)}


def test_payment_after_unpaid_close_is_left_to_a_person_and_the_order_stays_closed() -> None:
    late = snapshot(
        "paid", **PAID | {"paid_at": at(days=1, seconds=5)} | {"modified_at": at(days=1, seconds=5)}
    )
    for sequence in (
        (snapshot(), snapshot("closed", **CLOSED), late),
        (snapshot(), late, snapshot("closed", **CLOSED)),
        (late, snapshot("closed", **CLOSED), snapshot()),
    ):
        order, _ = play(*sequence)
        assert order.status == "closed"
        assert order.anomalies == ("late_payment",)
        assert order.needs_person


def test_an_order_closed_after_payment_is_no_late_payment() -> None:
    refunded = snapshot("closed", **PAID | CLOSED)
    for sequence in ((snapshot("paid", **PAID), refunded), (refunded, snapshot("paid", **PAID))):
        order, seen = play(*sequence)
        assert order.anomalies == ()
        assert Counter(names(seen)) == {"created": 1, "paid": 1, "closed": 1}


def test_a_closed_order_is_not_reopened() -> None:
    order, seen = play(snapshot("closed", **CLOSED), snapshot(modified_at=at(days=2)))
    assert order.status == "closed"
    assert order.anomalies == ("state_backwards",)
    assert "unpaid" not in names(seen)


def test_the_first_terminal_state_stays() -> None:
    order, _ = play(
        snapshot("finished", **PAID), snapshot("closed", **PAID | {"modified_at": at(days=9)})
    )
    assert order.status == "finished"
    assert order.anomalies == ("terminal_conflict",)


def test_unpaid_after_paid_is_going_backwards_but_a_stale_one_is_not() -> None:
    order = play(snapshot("paid", **PAID))[0]
    assert goes_backwards(order, snapshot(modified_at=at(hours=1)))
    assert not goes_backwards(order, snapshot())
    merged, seen = merge(order, snapshot(modified_at=at(hours=1)))
    assert (merged.status, merged.anomalies) == ("paid", ("state_backwards",))
    assert "unpaid" not in [t.name for t in seen]


def test_another_buyers_snapshot_under_the_same_id_changes_nothing() -> None:
    order = play(snapshot())[0]
    merged, seen = merge(order, snapshot("paid", buyer_id="b2", **PAID))
    assert (merged.buyer_id, merged.status, seen) == ("b1", "unpaid", ())
    assert merged.anomalies == ("buyer_mismatch",)


def seen_to(order: Order) -> Order:
    return structs.replace(order, needs_person=False)


LATE: dict[str, Any] = PAID | {"paid_at": at(days=2), "modified_at": at(days=2)}


@pytest.mark.parametrize(
    "told, later",
    [
        ([snapshot("closed", **CLOSED), snapshot("paid", **LATE)], {"flag": 1}),
        ([snapshot("paid", **PAID), snapshot(modified_at=at(days=2))], {"flag": 1}),
        ([snapshot("finished", **PAID), snapshot("closed", **PAID | CLOSED)], {"flag": 1}),
        ([snapshot("finished", **PAID | CLOSED), snapshot("closed", **PAID)], {}),
    ],
    ids=["late_payment", "state_backwards", "terminal_conflict", "conflict_told_late"],
)
def test_what_was_seen_to_and_only_stands_waits_for_nobody(
    told: list[ShopOrder], later: dict[str, Any]
) -> None:
    order = play(*told)[0]
    assert order.needs_person
    more = structs.replace(told[-1], **later | ({"modified_at": at(days=3)} if later else {}))
    after, _ = merge(seen_to(order), more)
    assert (after.needs_person, after.anomalies) == (False, order.anomalies)
    assert raised(order, merge(order, more)[0], more) == ()


def test_an_anomaly_of_a_known_kind_that_arises_anew_waits_for_a_person() -> None:
    order = seen_to(play(snapshot("finished", **PAID), snapshot("closed", **PAID | CLOSED))[0])
    order, _ = merge(order, snapshot("finished", **PAID | {"modified_at": at(days=2)}))
    assert not order.needs_person
    again = snapshot("closed", **PAID | {"closed_at": at(days=1), "modified_at": at(days=3)})
    assert raised(order, merge(order, again)[0], again) == ("terminal_conflict",)
    assert merge(order, again)[0].needs_person


# -- hypothesis: histories of a truthful platform --------------------------------------------

MOMENT_OF = {
    "paid": "paid_at",
    "shipped": "shipped_at",
    "signed": "signed_at",
    "finished": "finished_at",
    "closed": "closed_at",
}


@st.composite
def histories(draw: st.DrawFn) -> list[ShopOrder]:
    """What a platform says over an order's life: states only rise, seconds may tie.

    It may or may not number its snapshots and may leave moments out.
    """
    statuses = ["unpaid"] if draw(st.booleans()) else []
    statuses += draw(st.lists(st.sampled_from(LIFE[1:]), max_size=5, unique=True))
    statuses.sort(key=lambda status: RANK[status])  # type: ignore[index]
    statuses += ["unpaid"] if not statuses else []
    if statuses[-1] != "finished" and draw(st.booleans()):
        statuses.append("closed")
    numbered, names_moments = draw(st.booleans()), draw(st.booleans())
    moment, moments, found = TEN, dict[str, Any](), list[ShopOrder]()
    for number, status in enumerate(statuses):
        for echo in range(draw(st.integers(1, 2))):
            moment += timedelta(seconds=draw(st.integers(0, 2)))
            if names_moments and status in MOMENT_OF:
                moments.setdefault(MOMENT_OF[status], moment)
            paid = RANK[status] > 0 and (status != "closed" or "paid" in statuses)  # type: ignore[index]
            found.append(
                snapshot(
                    status,
                    version=2 * number + echo + 1 if numbered else None,
                    modified_at=moment,
                    paid_fen=38500 if paid else 0,
                    seller_memo=draw(st.sampled_from([None, "a", "b"])),
                    refund_open=draw(st.booleans()),
                    **moments,
                )
            )
    return found


def told(transitions: list[Transition]) -> Counter[str]:
    """Milestones told; `unpaid` and `changed` depend on what was true when they were told."""
    return Counter(t.name for t in transitions if t.name not in ("unpaid", "changed"))


@given(st.data())
def test_any_arrival_of_a_history_ends_in_the_same_order(data: st.DataObject) -> None:
    history = data.draw(histories())
    doubled = history + data.draw(st.lists(st.sampled_from(history), max_size=4))
    shuffled = data.draw(st.permutations(doubled))
    clean, clean_seen = play(*history)
    messy, messy_seen = play(*shuffled)
    assert structs.replace(messy, revision=0) == structs.replace(clean, revision=0)
    assert told(messy_seen) == told(clean_seen)
    assert messy.status == history[-1].status
    assert all(count == 1 for count in told(messy_seen).values())
    assert messy.anomalies == ()


@given(st.data())
def test_no_arrival_ever_takes_a_state_back(data: st.DataObject) -> None:
    statuses = st.sampled_from([*LIFE, "closed"])
    order: Order | None = None
    seen: list[str] = []
    for _ in range(data.draw(st.integers(1, 8))):
        told_now = snapshot(
            data.draw(statuses),
            modified_at=at(seconds=data.draw(st.integers(0, 3))),
            version=data.draw(st.one_of(st.none(), st.integers(1, 4))),
        )
        before = order
        order, transitions = merge(order, told_now)
        seen += [t.name for t in transitions if t.name != "changed"]
        if before is not None:
            assert RANK[order.status] >= RANK[before.status]
            if before.status in TERMINAL:
                assert order.status == before.status
    assert max(Counter(seen).values()) == 1


@pytest.mark.parametrize("status, later", [("paid", 1), ("unpaid", 0)])
def test_newer_means_a_later_second_or_a_higher_state(status: str, later: int) -> None:
    order = play(snapshot())[0]
    assert is_newer(snapshot(status, modified_at=at(seconds=later)), order) is bool(later)
