"""What is known of a buyer: the live chat and the goods bought lately."""

from datetime import timedelta

from order_ops.buyers import (
    PURCHASES_KEPT,
    Buyer,
    chat_closed,
    chat_opened,
    forget_purchase,
    in_live_chat,
    record_purchase,
)
from tests.support.order_examples import TEN, at, order

HOUR = timedelta(hours=1)


def buyer() -> Buyer:
    return Buyer(shop_id="s1", buyer_id="b1")


def test_a_chat_is_live_while_someone_writes_in_it() -> None:
    one = buyer()
    chat_opened(one, "c1", TEN)
    assert in_live_chat(one, at(minutes=59), HOUR)
    assert not in_live_chat(one, at(minutes=61), HOUR)
    chat_opened(one, "c1", at(minutes=60))
    assert in_live_chat(one, at(minutes=61), HOUR)


def test_the_end_of_an_earlier_chat_does_not_end_the_present_one() -> None:
    one = buyer()
    chat_opened(one, "c2", TEN)
    chat_closed(one, "c1")
    assert in_live_chat(one, TEN, HOUR)
    chat_closed(one, "c2")
    assert not in_live_chat(one, TEN, HOUR)


def test_not_every_message_is_a_write() -> None:
    one = buyer()
    chat_opened(one, "c1", TEN)
    chat_opened(one, "c1", at(seconds=29))
    assert one.chat_active_at == TEN
    chat_opened(one, "c1", at(seconds=30))
    assert one.chat_active_at == at(seconds=30)


def test_a_purchase_is_remembered_once_and_forgotten_when_old_or_closed() -> None:
    one, bought = buyer(), order("paid", paid_at=TEN)
    record_purchase(one, bought, TEN)
    record_purchase(one, bought, TEN)
    assert [(p.order_id, p.product_id) for p in one.purchases] == [("o1", "coat-001")]
    forget_purchase(one, bought)
    assert one.purchases == ()
    record_purchase(one, bought, at(days=16))
    assert one.purchases == ()


def test_purchases_are_bounded() -> None:
    one = buyer()
    for number in range(PURCHASES_KEPT + 5):
        record_purchase(one, order("paid", order_id=f"o{number:04}", paid_at=TEN), TEN)
    assert len(one.purchases) == PURCHASES_KEPT
