"""Threads: what a conversation is about, and when it is worth an item."""

from datetime import UTC, datetime, timedelta

from common.contracts import MessageReceived
from feedback.counts import LatestOrder, SoldLine
from feedback.tagging import tagged_text
from feedback.threads import (
    MAX_THREAD_TEXT,
    Thread,
    begun,
    complaints,
    hear,
    notice_product,
    worth_an_item,
)

NOW = datetime(2026, 3, 2, 2, 0, tzinfo=UTC)


def message(
    text: str = "你好", product: str | None = None, order: str | None = None
) -> MessageReceived:
    return MessageReceived(
        shop_id="demo",
        conversation_id="c1",
        buyer_id="b1",
        message_id="m1",
        client_message_id="m1",
        sender_kind="buyer",
        sender_id="b1",
        kind="text",
        text=text,
        product_id=product,
        order_id=order,
        seq=1,
        sent_at=NOW,
        received_at=NOW,
        state="assigned",
        unread_agent=1,
        unread_buyer=0,
        unanswered_since=NOW,
    )


def heard(*texts: str) -> Thread:
    thread = begun(message())
    for text in texts:
        hear(thread, message(text), tagged_text(text))
    return thread


def latest(*products: str, days: float = 1) -> LatestOrder:
    return LatestOrder(
        shop_id="demo",
        buyer_id="b1",
        order_id="o1",
        product_ids=products,
        paid_at=NOW - timedelta(days=days),
    )


def line(product: str) -> SoldLine:
    return SoldLine(
        shop_id="demo", order_id="o2", line_id=product, product_id=product, buyer_id="b1", day=""
    )


def test_a_product_card_goes_before_the_last_purchase() -> None:
    thread = begun(message())
    notice_product(thread, message(product="coat"), [], latest("scarf"))
    assert (thread.product_id, thread.order_id) == ("coat", None)


def test_an_order_card_names_its_only_product() -> None:
    thread = begun(message())
    notice_product(thread, message(order="o2"), [line("coat")], None)
    assert (thread.product_id, thread.order_id) == ("coat", "o2")


def test_an_order_of_two_products_names_neither() -> None:
    thread = begun(message())
    notice_product(thread, message(order="o2"), [line("coat"), line("scarf")], latest("hat"))
    assert (thread.product_id, thread.order_id) == (None, "o2")


def test_a_purchase_of_long_ago_says_nothing() -> None:
    thread = begun(message())
    notice_product(thread, message(), [], latest("coat", days=31))
    assert thread.product_id is None


def test_a_later_card_does_not_move_a_complaint_to_another_product() -> None:
    thread = begun(message())
    notice_product(thread, message(product="coat"), [], None)
    hear(thread, message("掉色"), tagged_text("掉色"))
    notice_product(thread, message(product="scarf"), [], None)
    assert thread.product_id == "coat"


def test_a_card_after_the_complaint_tells_what_it_was_about() -> None:
    thread = heard("掉色")
    notice_product(thread, message(product="coat"), [], None)
    assert thread.product_id == "coat"


def test_a_complaint_is_worth_an_item_at_once_and_a_question_when_closed() -> None:
    assert worth_an_item(heard("掉色"), None)
    asked = heard("会掉色吗?")
    assert not worth_an_item(asked, None)
    asked.closed_at = NOW
    assert worth_an_item(asked, None)


def test_pictures_alone_are_no_item() -> None:
    thread = begun(message())
    hear(thread, message(" "), tagged_text(""))
    thread.closed_at = NOW
    assert not worth_an_item(thread, None)


def test_a_question_that_becomes_a_complaint_counts() -> None:
    thread = heard("会掉色吗?", "真的掉色")
    assert [tag.tag for tag in complaints(thread.tags)] == ["quality.fading"]


def test_text_is_bounded_and_tags_go_on() -> None:
    thread = heard("好" * MAX_THREAD_TEXT, "掉色")
    assert len(thread.text) == MAX_THREAD_TEXT
    assert complaints(thread.tags)
