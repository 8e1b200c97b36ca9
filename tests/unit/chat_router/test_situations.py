"""The buyer's order situation and the group it leads to."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from chat_router.groups import SkillGroup, choose_group
from chat_router.order_cards import KnownOrder, situation

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
