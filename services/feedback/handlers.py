"""Messages in, use cases called: the one place that says what each message leads to."""

from collections.abc import Iterable
from datetime import datetime

from common.contracts import (
    CaseClosed,
    CaseOpened,
    ConversationClosed,
    ConversationRated,
    FeedbackTagged,
    MessageReceived,
    OrderChanged,
    OrderEvent,
    OrderFinished,
    OrderPaid,
    OrderShipped,
    OrderSigned,
    ShopReview,
)
from common.runtime import Handlers, Need, Work, row, rows
from feedback import threads
from feedback.counts import (
    DailyHits,
    DailyOrders,
    Hit,
    LatestOrder,
    SoldLine,
    changes,
    daily_key,
    hits_of,
    latest_order,
    sold_lines,
)
from feedback.items import Collected, Item, item_id_of, new_item, revise, tagged
from feedback.sources import of_closed_case, of_rating, of_return_reason, of_review
from feedback.tagging import Tagging, tagged_text, with_rating
from feedback.taxonomy import current_taxonomy
from feedback.threads import Thread

SPIKES = "spikes"
"""Name of the loop that judges shops whose complaints changed."""

handlers = Handlers()


def keep(found: Collected, tagging: Tagging, work: Work) -> tuple[Item, bool]:
    """Store a piece of feedback once, or bring it up to date; tells whether it is new."""
    item = work.get(Item, found.shop_id, found.item_id)
    if item is None:
        item = new_item(found, tagging, work.now)
        work.add(item)
        work.emit(tagged(item))
        return item, True
    if revise(item, found, tagging, work.now):
        work.emit(tagged(item))
    return item, False


def collect(found: Collected, work: Work) -> tuple[Item, bool]:
    """Tag what a source says by its words and stars, and keep it."""
    return keep(found, with_rating(tagged_text(found.text), found.rating), work)


# -- reviews and ratings -------------------------------------------------------------------


def review_needs(review: ShopReview) -> Iterable[Need]:
    """The item of a review."""
    yield row(Item, review.shop_id, item_id_of("review", review.review_id))


@handlers.on(ShopReview, needs=review_needs)
def collect_review(review: ShopReview, work: Work) -> None:
    """A review, new or edited, becomes an item."""
    collect(of_review(review), work)


def _rating_needs(rated: ConversationRated) -> Iterable[Need]:
    yield row(Item, rated.shop_id, item_id_of("rating", rated.conversation_id))
    yield row(Thread, rated.shop_id, rated.conversation_id)


@handlers.on(ConversationRated, needs=_rating_needs)
def collect_rating(rated: ConversationRated, work: Work) -> None:
    """A rating of a conversation becomes an item."""
    thread = work.get(Thread, rated.shop_id, rated.conversation_id)
    collect(of_rating(rated, thread.order_id if thread else None), work)


# -- cases ---------------------------------------------------------------------------------


def _opened_needs(opened: CaseOpened) -> Iterable[Need]:
    yield row(Item, opened.shop_id, item_id_of("return_reason", opened.case_id))
    yield rows(SoldLine, "of_order", opened.shop_id, opened.order_id)


@handlers.on(CaseOpened, needs=_opened_needs)
def collect_return_reason(opened: CaseOpened, work: Work) -> None:
    """The reason of a return request becomes an item."""
    lines = work.all(SoldLine, "of_order", opened.shop_id, opened.order_id)
    collect(of_return_reason(opened, lines), work)


def _closed_case_needs(closed: CaseClosed) -> Iterable[Need]:
    yield row(Item, closed.shop_id, item_id_of("case", closed.case_id))
    yield rows(SoldLine, "of_order", closed.shop_id, closed.order_id)


@handlers.on(CaseClosed, needs=_closed_case_needs)
def collect_case(closed: CaseClosed, work: Work) -> None:
    """A closed case becomes an item."""
    lines = work.all(SoldLine, "of_order", closed.shop_id, closed.order_id)
    collect(of_closed_case(closed, lines), work)


# -- conversations -------------------------------------------------------------------------


def _message_needs(message: MessageReceived) -> Iterable[Need]:
    yield row(Thread, message.shop_id, message.conversation_id)
    yield row(Item, message.shop_id, threads.thread_item_id(message.conversation_id))
    yield row(LatestOrder, message.shop_id, message.buyer_id)
    if message.order_id:
        yield rows(SoldLine, "of_order", message.shop_id, message.order_id)


@handlers.on(MessageReceived, needs=_message_needs)
def listen(message: MessageReceived, work: Work) -> None:
    """A buyer's message: the first complaint makes the conversation an item at once."""
    thread = _thread(message, work)
    latest = work.get(LatestOrder, message.shop_id, message.buyer_id)
    lines = (
        work.all(SoldLine, "of_order", message.shop_id, message.order_id)
        if message.order_id
        else []
    )
    threads.notice_product(thread, message, lines, latest)
    threads.hear(thread, message, tagged_text((message.text or "").strip()))
    _keep_thread(thread, message.received_at, work)


def _thread(message: MessageReceived, work: Work) -> Thread:
    thread = work.get(Thread, message.shop_id, message.conversation_id)
    if thread is None:
        thread = threads.begun(message)
        work.add(thread)
    return thread


def _keep_thread(thread: Thread, at: datetime, work: Work) -> None:
    item_id = threads.thread_item_id(thread.conversation_id)
    item = work.get(Item, thread.shop_id, item_id)
    if threads.worth_an_item(thread, item):
        found = threads.collected(thread, item, at)
        keep(found, threads.tagging_of(thread, current_taxonomy().version), work)


def _closing_needs(closed: ConversationClosed) -> Iterable[Need]:
    yield row(Thread, closed.shop_id, closed.conversation_id)
    yield row(Item, closed.shop_id, threads.thread_item_id(closed.conversation_id))


@handlers.on(ConversationClosed, needs=_closing_needs)
def close_thread(closed: ConversationClosed, work: Work) -> None:
    """A closed conversation is an item even when nothing was complained about."""
    thread = work.get(Thread, closed.shop_id, closed.conversation_id)
    if thread is None:
        return
    thread.closed_at = thread.closed_at or closed.closed_at
    _keep_thread(thread, closed.closed_at, work)


# -- orders --------------------------------------------------------------------------------


def _order_needs(order: OrderEvent) -> Iterable[Need]:
    for line, day in sold_lines(order):
        yield row(SoldLine, order.shop_id, order.order_id, line.line_id)
        yield row(DailyOrders, order.shop_id, line.product_id, day)
        yield row(LatestOrder, order.shop_id, order.buyer_id)


def count_order(order: OrderEvent, work: Work) -> None:
    """Count the lines of a paid order as exposure, each once whatever tells of them."""
    for line, day in sold_lines(order):
        if work.get(SoldLine, order.shop_id, order.order_id, line.line_id) is not None:
            continue
        work.add(
            SoldLine(
                shop_id=order.shop_id,
                order_id=order.order_id,
                line_id=line.line_id,
                product_id=line.product_id,
                buyer_id=order.buyer_id,
                day=day,
            )
        )
        _one_order_more(order.shop_id, line.product_id, day, work)
        _remember_order(order, work)


def _one_order_more(shop_id: str, product_id: str, day: str, work: Work) -> None:
    count = work.get(DailyOrders, shop_id, product_id, day)
    if count is None:
        work.add(DailyOrders(shop_id=shop_id, product_id=product_id, day=day, orders=1))
    else:
        count.orders += 1


def _remember_order(order: OrderEvent, work: Work) -> None:
    known = work.get(LatestOrder, order.shop_id, order.buyer_id)
    newest = latest_order(order, known)
    if newest is None:
        return
    if known is None:
        work.add(newest)
    else:
        known.order_id, known.product_ids = newest.order_id, newest.product_ids
        known.paid_at = newest.paid_at


# Any of these may be the first that shows an order as paid (cash on delivery, lost history).
for _kind in (OrderPaid, OrderChanged, OrderShipped, OrderSigned, OrderFinished):
    handlers.on(_kind, needs=_order_needs)(count_order)


# -- counts --------------------------------------------------------------------------------


def _tagged_needs(event: FeedbackTagged) -> Iterable[Need]:
    yield rows(Hit, "of_item", event.shop_id, event.item_id)
    for hit in hits_of(event):
        yield row(Hit, hit.shop_id, hit.item_id, hit.tag)
        yield from _day_needs(hit)


def _known_days(event: FeedbackTagged, work: Work) -> Iterable[Need]:
    for hit in work.all(Hit, "of_item", event.shop_id, event.item_id):
        yield from _day_needs(hit)


def _day_needs(hit: Hit) -> Iterable[Need]:
    key = daily_key(hit)
    if key is not None:
        yield row(DailyHits, *key)


@handlers.on(FeedbackTagged, needs=_tagged_needs, then=_known_days)
def count_hits(event: FeedbackTagged, work: Work) -> None:
    """Bring the daily counts in line with an item's newest tags."""
    new = {hit.tag: hit for hit in hits_of(event)}
    known = {hit.tag: hit for hit in work.all(Hit, "of_item", event.shop_id, event.item_id)}
    changed = changes(known.values(), new.values())
    for tag in known.keys() - new.keys():
        # Kept with score 0: the row may come back within the same batch.
        known[tag].score, known[tag].counted = 0.0, False
    for tag, hit in new.items():
        _put_hit(known.get(tag), hit, work)
    for key, change in changed.items():
        _change_day(key, change, work)
    if changed:
        work.after_commit(SPIKES)


def _put_hit(known: Hit | None, hit: Hit, work: Work) -> None:
    if known is None:
        work.add(hit)
        return
    known.product_id, known.buyer_id, known.day = hit.product_id, hit.buyer_id, hit.day
    known.score, known.counted = hit.score, hit.counted


def _change_day(key: tuple[str, str, str, str], change: int, work: Work) -> None:
    day = work.get(DailyHits, *key)
    if day is None:
        shop_id, product_id, tag, date = key
        day = DailyHits(
            shop_id=shop_id, product_id=product_id, tag=tag, day=date, hits=0, updated_at=work.now
        )
        work.add(day)
    day.hits += change
    day.updated_at = work.now
