"""What buyers come for: each story is the lines of one buyer, from the moment they arrive.

Times are real seconds: the day is compressed, people are not. Nothing here knows of services.
"""

import random
from collections.abc import Callable, Iterator

from kefu.load.words import ANSWERS, COMPLAINTS, IMPATIENCE, QUESTIONS, REASONS, REVIEWS
from kefu.replay.script import (
    CaseMove,
    ChatReturn,
    Item,
    Line,
    Memo,
    OrderMade,
    PlatformRefund,
    Rated,
    Reviewed,
    Shipment,
    Turn,
)

PRODUCTS = ("coat-001", "shirt-002", "sweater-003", "scarf-004", "sheet-005", "lamp-006",
            "cup-007", "kettle-008", "tea-009", "nuts-010")  # fmt: skip
REMINDER_SECONDS = (4, 8)
"""An unpaid order's only reminder falls due so long after it was made."""

Story = Callable[[str, float, random.Random], Iterator[Line]]


def asks(buyer: str, at: float, chance: random.Random) -> Iterator[Line]:
    """A question or several, answered; some write again before anybody could answer."""
    yield Line(at=at, buyer=buyer, turns=dialogue(QUESTIONS, chance))
    if chance.random() < 0.3:
        yield Line(at=at, buyer=buyer, rate=Rated(rating=chance.choice((3, 4, 5, 5))))


def buys(buyer: str, at: float, chance: random.Random) -> Iterator[Line]:
    """Asks, orders, pays; the parcel goes out."""
    order = _order(buyer, chance)
    yield Line(at=at, buyer=buyer, keep_open=True, turns=dialogue(QUESTIONS, chance))
    yield Line(at=at, buyer=buyer, order=order)
    yield Line(at=at, buyer=buyer, pay=order.id)
    yield Line(at=at, buyer=buyer, turns=dialogue(QUESTIONS, chance, rounds=1))
    if chance.random() < 0.3:
        yield Line(at=at, buyer=buyer, memo=Memo(order=order.id, text="送礼,请附贺卡", flag=1))
    shipment = Shipment(order=order.id, tracking_no=f"ZTO{buyer}")
    yield Line(at=at + chance.uniform(2, 6), buyer=buyer, ship=shipment)


def hesitates(buyer: str, at: float, chance: random.Random) -> Iterator[Line]:
    """Orders and never pays: the reminder must come, once."""
    yield Line(at=at, buyer=buyer, order=_order(buyer, chance))


def pays_in_the_storm(buyer: str, at: float, chance: random.Random) -> Iterator[Line]:
    """Orders, and pays at the very moment at which the reminder falls due."""
    order = _order(buyer, chance)
    yield Line(at=at, buyer=buyer, order=order)
    moment = at + chance.uniform(REMINDER_SECONDS[0] - 0.5, REMINDER_SECONDS[1] + 0.5)
    yield Line(at=moment, buyer=buyer, pay=order.id)


def told_twice(buyer: str, at: float, chance: random.Random) -> Iterator[Line]:
    """An order of which the shop's system tells again what it told before, newest first."""
    order = _order(buyer, chance)
    yield Line(at=at, buyer=buyer, order=order)
    yield Line(at=at + chance.uniform(0, 2), buyer=buyer, pay=order.id)
    yield Line(at=at, buyer=buyer, again=order.id)
    shipment = Shipment(order=order.id, tracking_no=f"SF{buyer}")
    yield Line(at=at + chance.uniform(2, 5), buyer=buyer, ship=shipment)
    yield Line(at=at, buyer=buyer, again=order.id)


def told_backwards(buyer: str, at: float, chance: random.Random) -> Iterator[Line]:
    """An order whose payment is heard of before the order itself."""
    yield Line(at=at, buyer=buyer, jumbled=_order(buyer, chance))


def gives_up(buyer: str, at: float, chance: random.Random) -> Iterator[Line]:
    """Pays, wants the money back on the platform; the shop agrees, or lets its time run out."""
    order = _order(buyer, chance)
    yield Line(at=at, buyer=buyer, order=order)
    yield Line(at=at, buyer=buyer, pay=order.id)
    runs_out = chance.random() < 0.5
    refund = PlatformRefund(
        id=buyer, order=order.id, reason=chance.choice(REASONS),
        deadline_in=chance.uniform(2, 5) if runs_out else None,
    )  # fmt: skip
    yield Line(at=at + chance.uniform(1, 3), buyer=buyer, refund=refund)
    if not runs_out:
        yield Line(at=at, buyer=buyer, case=CaseMove(order=order.id, do="agree"))


def complains(buyer: str, at: float, chance: random.Random) -> Iterator[Line]:
    """Is not happy, says so in the chat, and asks there for the money back."""
    order = _order(buyer, chance)
    yield Line(at=at, buyer=buyer, order=order)
    yield Line(at=at, buyer=buyer, pay=order.id)
    yield Line(at=at, buyer=buyer, keep_open=True, turns=dialogue(COMPLAINTS, chance, rounds=2))
    returned = ChatReturn(order=order.id, kind="refund_only", reason=chance.choice(REASONS))
    yield Line(at=at, buyer=buyer, returned=returned)
    yield Line(at=at, buyer=buyer, case=CaseMove(order=order.id, do="agree"))
    yield Line(at=at, buyer=buyer, turns=dialogue(COMPLAINTS, chance, rounds=1))
    text = chance.choice(REVIEWS)
    product = order.items[0].product
    yield Line(
        at=at, buyer=buyer,
        review=Reviewed(id=buyer, product=product, order=order.id, rating=2, text=text),
    )  # fmt: skip


STORIES: tuple[tuple[Story, float], ...] = (
    (asks, 0.34),
    (buys, 0.18),
    (hesitates, 0.10),
    (told_twice, 0.10),
    (told_backwards, 0.08),
    (gives_up, 0.10),
    (complains, 0.10),
)
"""What ordinary arrivals come for, with shares; the payment storms come on top."""


def dialogue(
    lines: tuple[str, ...], chance: random.Random, rounds: int | None = None
) -> tuple[Turn, ...]:
    """Rounds of the buyer's words and an answer; the impatient write a second time first."""
    turns: list[Turn] = []
    for _ in range(rounds or chance.randint(1, 3)):
        turns.append(Turn(sender="buyer", text=chance.choice(lines), after=chance.uniform(0, 0.5)))
        if chance.random() < 0.35:
            turns.append(Turn(sender="buyer", text=chance.choice(IMPATIENCE)))
        turns.append(Turn(sender="shop", text=chance.choice(ANSWERS), after=chance.uniform(0, 0.8)))
    return tuple(turns)


def _order(buyer: str, chance: random.Random) -> OrderMade:
    products = chance.sample(PRODUCTS, k=chance.choice((1, 1, 1, 2)))
    items = tuple(Item(product=one, quantity=chance.choice((1, 1, 2))) for one in products)
    return OrderMade(id=buyer, items=items, postage_fen=chance.choice((0, 600)))
