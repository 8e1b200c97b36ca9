"""The registry of handlers refuses what would only be noticed when it is too late."""

import msgspec
import pytest

from common.contracts import ShopReview
from common.runtime import Handlers, Work


class Ask(msgspec.Struct):
    shop_id: str


class Yes(msgspec.Struct):
    pass


class No(msgspec.Struct):
    pass


class Ring(msgspec.Struct):
    shop_id: str


def test_one_message_type_has_one_handler() -> None:
    handlers = Handlers()
    handlers.on(ShopReview)(lambda _event, _work: None)
    with pytest.raises(ValueError, match="ShopReview has a handler already"):
        handlers.on(ShopReview)(lambda _event, _work: None)
    assert handlers.handles(ShopReview)
    assert list(handlers) == [ShopReview]


def test_an_answer_that_could_not_be_read_back_for_a_repeat_is_refused_at_once() -> None:
    def either(command: Ask, work: Work) -> Yes | No:
        return Yes()

    with pytest.raises(TypeError):
        Handlers().command(Ask)(either)


def test_two_kinds_of_timers_may_not_share_a_stored_name() -> None:
    handlers = Handlers()
    handlers.timer(Ring)(lambda _timer, _work: None)
    namesake = msgspec.defstruct("Ring", [("shop_id", str)])
    with pytest.raises(ValueError, match="Ring"):
        handlers.timer(namesake)(lambda _timer, _work: None)
    assert handlers.timer_type("Ring") is Ring
