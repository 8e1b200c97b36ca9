"""Sources: how each kind of event becomes a piece of feedback."""

from collections.abc import Sequence

from common.contracts import CaseClosed, CaseEvent, CaseOpened, ConversationRated, ShopReview
from feedback.counts import SoldLine, products_of
from feedback.items import Collected
from feedback.threads import only

CASE_WORDS = {
    "refunded": "已全额退款",
    "partly_refunded": "已部分退款",
    "rejected": "申请被拒绝",
    "withdrawn": "买家撤销申请",
    "expired": "超时关闭",
}
MAX_ITEM_TEXT = 4000


def of_review(review: ShopReview) -> Collected:
    """A review, by the platform's own id."""
    return Collected(
        shop_id=review.shop_id,
        source="review",
        source_id=review.review_id,
        product_id=review.product_id,
        order_id=review.order_id,
        buyer_id=review.buyer_id,
        rating=review.rating,
        text=review.text,
        occurred_at=review.created_at,
    )


def of_rating(rated: ConversationRated, order_id: str | None) -> Collected:
    """A conversation's rating with the buyer's reason, if they gave one.

    It judges the service, not a product: it names the order but counts in no product's stream.
    """
    return Collected(
        shop_id=rated.shop_id,
        source="rating",
        source_id=rated.conversation_id,
        order_id=order_id,
        buyer_id=rated.buyer_id,
        rating=rated.rating,
        text=rated.reason or "",
        occurred_at=rated.rated_at,
    )


def of_return_reason(opened: CaseOpened, lines: Sequence[SoldLine]) -> Collected:
    """Why a buyer wants to give goods back or have money back."""
    return _of_case(opened, lines, "return_reason", (opened.reason, opened.description))


def of_closed_case(closed: CaseClosed, lines: Sequence[SoldLine]) -> Collected:
    """A case as it ended: its reason again, and its outcome in words."""
    outcome = CASE_WORDS.get(closed.outcome or "", "")
    return _of_case(closed, lines, "case", (closed.reason, closed.description, outcome))


def _of_case(
    case: CaseEvent, lines: Sequence[SoldLine], source: str, words: tuple[str, ...]
) -> Collected:
    said = [word.strip() for word in words if word.strip()]
    return Collected(
        shop_id=case.shop_id,
        source="case" if source == "case" else "return_reason",
        source_id=case.case_id,
        product_id=case.product_id or only(products_of(_of_line(lines, case.line_id))),
        order_id=case.order_id,
        buyer_id=case.buyer_id,
        text="。".join(said)[:MAX_ITEM_TEXT],
        occurred_at=case.occurred_at,
    )


def _of_line(lines: Sequence[SoldLine], line_id: str | None) -> Sequence[SoldLine]:
    return [line for line in lines if line_id is None or line.line_id == line_id]
