"""The buyer's order situation and the group it leads to."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_router.groups import SkillGroup, choose_group
from chat_router.order_cards import KnownOrder, count, situation

START = datetime(2026, 3, 1, tzinfo=UTC)


def order(day: int, status: str, **fields: Any) -> KnownOrder:
    known: dict[str, Any] = {
        "shop_id": "demo",
        "order_id": f"o{day}",
        "buyer_id": "b1",
        "status": status,
        "title": "外套",
        "total_fen": 38500,
        "refund_open": False,
        "order_version": 1,
        "created_at": START + timedelta(days=day),
    }
    return KnownOrder(**known | fields)


@pytest.mark.parametrize(
    "orders, state, shown",
    [
        ([], "none", None),
        ([order(1, "unpaid")], "unpaid", "o1"),
        ([order(1, "paid"), order(2, "unpaid")], "unpaid", "o2"),
        ([order(1, "shipped"), order(2, "closed")], "shipped", "o1"),
        ([order(1, "signed")], "shipped", "o1"),
        ([order(1, "partly_shipped")], "shipped", "o1"),
        ([order(1, "finished")], "finished", "o1"),
        ([order(1, "finished"), order(2, "closed")], "finished", "o1"),
        ([order(1, "paid"), order(2, "finished")], "paid", "o1"),
        ([order(1, "finished", refund_open=True)], "refund_open", "o1"),
        ([order(1, "paid", refund_open=True), order(2, "unpaid")], "unpaid", "o2"),
        ([order(1, "closed")], "none", None),
    ],
)
def test_newest_live_order_decides(orders: list[KnownOrder], state: str, shown: str | None) -> None:
    found, card = situation(orders)

    assert found == state
    assert (card.order_id if card else None) == shown


LIFE = ("unpaid", "paid", "shipped", "signed")
news = st.tuples(
    st.integers(1, 4), st.sampled_from([*LIFE, "finished", "closed"]), st.booleans()
)  # of which order, its status, whether a refund is open


@given(st.lists(news, max_size=30))
def test_orders_that_do_not_count_never_change_the_situation(
    told: list[tuple[int, str, bool]],
) -> None:
    """Whatever happens to the orders: only finished and closed are ends."""
    known: dict[int, KnownOrder] = {}
    for day, status, refund_open in told:
        one = known.setdefault(day, order(day, status))
        if one.status in LIFE:
            one.status = status  # type: ignore[assignment]
        one.refund_open, one.counts = refund_open, True
        counting = [other for other in known.values() if other.counts]
        count(counting)

        assert situation(counting) == situation(list(known.values()))
        assert situation([other for other in counting if other.counts]) == situation(counting)


def test_of_many_finished_orders_the_newest_alone_counts() -> None:
    orders = [order(day, "finished") for day in range(100)] + [order(100, "closed")]
    count(orders)
    assert [one.order_id for one in orders if one.counts] == ["o99"]


def group(name: str, *order_states: str, **fields: Any) -> SkillGroup:
    known: dict[str, Any] = {"shop_id": "demo", "group_id": name, "order_states": order_states}
    return SkillGroup(**known | fields)


def test_group_bound_to_the_situation_is_chosen() -> None:
    groups = [group("presale", "none", "unpaid"), group("aftersale", "refund_open", priority=3)]

    assert choose_group(groups, "unpaid") == ("presale", 0)
    assert choose_group(groups, "refund_open") == ("aftersale", 3)


def test_first_in_place_is_chosen_of_several() -> None:
    groups = [group("a", "paid", place=2), group("z", "paid", place=1)]

    assert choose_group(groups, "paid")[0] == "z"


def test_unbound_situation_falls_to_default_then_to_an_unbound_group() -> None:
    assert choose_group([group("default", "none"), group("any")], "paid")[0] == "default"
    assert choose_group([group("presale", "none"), group("any")], "paid")[0] == "any"
    assert choose_group([], "paid") == ("default", 0)
