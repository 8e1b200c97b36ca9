"""After-sale cases beside the chat, and what the buyer is told of them."""

from collections.abc import Iterable

import msgspec

from common.contracts import CaseCard, CaseClosed, CaseDeadlineNear, CaseEvent, CaseOpened
from common.runtime import Need, Work, row, rows

from .buyers import Buyer
from .conversations import Conversation
from .intake import needs_of as needs_of_message
from .intake import needs_of_thread, needs_to_open, take_in
from .messages import Incoming
from .panel import tell_all, tell_staff

_OUTCOMES = {
    "refunded": ("已退款 {yuan} 元", "refunded ¥{yuan}"),
    "partly_refunded": ("已部分退款 {yuan} 元", "partly refunded, ¥{yuan}"),
    "rejected": ("申请未通过", "declined"),
    "withdrawn": ("申请已撤销", "withdrawn"),
    "expired": ("超时未处理,已关闭", "closed, time ran out"),
}


class KnownCase(msgspec.Struct, kw_only=True):
    """The newest version that was heard of a case."""

    shop_id: str
    case_id: str
    buyer_id: str
    case_version: int
    is_closed: bool = False


def notice_of(event: CaseEvent) -> Incoming | None:
    """What the buyer is told: that a case was opened, and how it ended. Once each."""
    if isinstance(event, CaseOpened):
        step, text = "opened", _opened_text(event)
    elif isinstance(event, CaseClosed):
        step, text = "closed", _closed_text(event)
    else:
        return None
    return Incoming(
        shop_id=event.shop_id,
        buyer_id=event.buyer_id,
        source="case",
        client_message_id=f"{event.case_id}:{step}",
        sender_kind="system",
        sender_id="system",
        kind="text",
        text=text,
        case_id=event.case_id,
    )


def _opened_text(event: CaseEvent) -> str:
    """Without an amount where none is asked for, or none is known yet."""
    yuan = _yuan(event.amount_fen)
    chinese, english = (f",申请金额 {yuan} 元", f", ¥{yuan}") if event.amount_fen else ("", "")
    return (
        f"您的售后申请已受理,订单 {event.order_id}{chinese}。\n"
        f"Your request for order {event.order_id} was received{english}."
    )


def _closed_text(event: CaseEvent) -> str:
    chinese, english = _OUTCOMES.get(event.outcome or "", ("已结束", "finished"))
    yuan = _yuan(event.refunded_fen)
    return (
        f"您的售后申请(订单 {event.order_id})已结束:{chinese.format(yuan=yuan)}。\n"
        f"Your request for order {event.order_id} has ended: {english.format(yuan=yuan)}."
    )


def _yuan(fen: int) -> str:
    return f"{fen // 100}.{fen % 100:02d}"


def needs_of(event: CaseEvent) -> Iterable[Need]:
    """The case, the buyer, and what a message to the buyer needs."""
    yield row(KnownCase, event.shop_id, event.case_id)
    yield row(Buyer, event.shop_id, event.buyer_id)
    yield rows(Conversation, "open_of_buyer", event.shop_id, event.buyer_id)
    notice = notice_of(event)
    if notice is not None:
        yield from needs_of_message(notice)


def needs_to_tell(event: CaseEvent, work: Work) -> Iterable[Need]:
    """As for any text to a buyer."""
    notice = notice_of(event)
    if notice is not None:
        yield from needs_to_open(notice, work)


def needs_the_thread(event: CaseEvent, work: Work) -> Iterable[Need]:
    """As for any text to a buyer."""
    notice = notice_of(event)
    if notice is not None:
        yield from needs_of_thread(notice, work)


def follow(event: CaseEvent, work: Work) -> None:
    """Shows the case, tells the buyer. Each closed or opened case is told of once, by its id.

    Of a closed case nothing more is told: an opening that is replayed then comes too late.
    """
    known = work.get(KnownCase, event.shop_id, event.case_id)
    if known is not None and known.is_closed:
        return
    notice = notice_of(event)
    if notice is not None:
        take_in(notice, work)
    is_news = _keep(event, known, work)
    buyer = work.get(Buyer, event.shop_id, event.buyer_id)
    if not is_news or buyer is None:
        return
    buyer.case_card = _card(event)
    for conversation in work.all(Conversation, "open_of_buyer", event.shop_id, event.buyer_id):
        if isinstance(event, CaseDeadlineNear):
            tell_staff(conversation, buyer, ("case", "hint"), work, _deadline_hint(event))
        else:
            tell_all(conversation, buyer, ("case",), work)


def _keep(event: CaseEvent, known: KnownCase | None, work: Work) -> bool:
    if known is None:
        known = KnownCase(
            shop_id=event.shop_id,
            case_id=event.case_id,
            buyer_id=event.buyer_id,
            case_version=0,
        )
        work.add(known)
    if event.version < known.case_version:
        return False
    known.case_version = event.version
    known.is_closed = isinstance(event, CaseClosed)
    return True


def _card(event: CaseEvent) -> CaseCard:
    return CaseCard(
        case_id=event.case_id,
        order_id=event.order_id,
        kind=event.kind,
        state=event.state,
        amount_fen=event.amount_fen,
    )


def _deadline_hint(event: CaseEvent) -> str:
    return (
        f"订单 {event.order_id} 的售后单即将到期,请尽快处理 / "
        f"The case of order {event.order_id} is about to run out of time"
    )
