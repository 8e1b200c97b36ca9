"""The unit of work against a model: what an item did can be undone alone, always."""

from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from common.contracts import FeedbackTagged
from common.db.binding import Binding
from common.errors import NotFound
from common.runtime import NotLoaded, Work
from tests.support.tally.service import TALLIES, Expire, Tally

NOW = datetime(2026, 3, 1, tzinfo=UTC)
PRODUCTS = ("p1", "p2", "p3", "p4")
STORED = {"p1": 3, "p2": 0}
products = st.sampled_from(PRODUCTS)


def tagged(n: int) -> FeedbackTagged:
    return FeedbackTagged(
        shop_id="s1",
        item_id=f"i{n}",
        source="review",
        product_id="p1",
        tags=(),
        sentiment="neutral",
        taxonomy_version=1,
        text_excerpt="",
        occurred_at=NOW,
    )


def loaded_work(*bindings: Binding[Any]) -> Work:
    """A unit of work with the stored tallies of shop s1, looked up by key and by shop."""
    known = bindings or (TALLIES,)
    codecs = {b.kind: b.codec("postgresql") for b in known}
    work = Work(NOW, known, codecs)
    values = [("s1", p, n, '["x"]', NOW, 1) for p, n in STORED.items()]
    work.loaded(Tally, None, [("s1", p) for p in PRODUCTS], values)
    work.loaded(Tally, "of_shop", [("s1",)], [v for v in values if v[2] > 0])
    return work


class Model(msgspec.Struct):
    """What a unit of work should hold."""

    counts: dict[str, int]
    emitted: list[str]
    timers: list[tuple[str, bool]]
    wakes: list[str]


class WorkMachine(RuleBasedStateMachine):
    """Items that change everything there is, and are kept or undone as a whole."""

    def __init__(self) -> None:
        super().__init__()
        self.work = loaded_work()
        self.model = Model(dict(STORED), [], [], [])
        self.before = deepcopy(self.model)
        self.work.begin_item(None, None)

    @rule()
    def keep(self) -> None:
        self.before = deepcopy(self.model)
        self.work.begin_item(None, None)

    @rule()
    def undo(self) -> None:
        self.work.undo_item()
        self.model = deepcopy(self.before)
        self.work.begin_item(None, None)

    @rule(product=products, n=st.integers(0, 5))
    def change(self, product: str, n: int) -> None:
        tally = self.work.get(Tally, "s1", product)
        assert (tally is None) == (product not in self.model.counts)
        if tally is not None:
            tally.count = n
            tally.texts = (*tally.texts, "y")
            self.model.counts[product] = n

    @rule(n=st.integers(1, 5))
    def change_all_of_the_shop(self, n: int) -> None:
        for tally in self.work.all(Tally, "of_shop", "s1"):
            tally.count = n
            self.model.counts[tally.product_id] = n

    @rule(product=products, n=st.integers(0, 5))
    def add(self, product: str, n: int) -> None:
        if product in self.model.counts:
            with pytest.raises(ValueError, match="exists already"):
                self.work.add(Tally("s1", product, n))
        else:
            self.work.add(Tally("s1", product, n))
            self.model.counts[product] = n

    @precondition(lambda self: self.model.counts)
    @rule(product=products)
    def remove(self, product: str) -> None:
        if product in self.model.counts:
            self.work.remove(self.work.require(Tally, "s1", product))
            del self.model.counts[product]
        else:
            with pytest.raises(NotFound):
                self.work.require(Tally, "s1", product)

    @rule()
    def emit(self) -> None:
        name = f"i{len(self.model.emitted)}"
        self.work.emit(tagged(len(self.model.emitted)), deliver=("shop", "shop"))
        self.model.emitted.append(name)

    @rule(key=products, armed=st.booleans())
    def arm_or_cancel(self, key: str, armed: bool) -> None:
        if armed:
            self.work.arm(key, NOW, Expire("s1", key))
        else:
            self.work.cancel(key)
        self.model.timers.append((key, armed))

    @rule()
    def wake(self) -> None:
        self.work.after_commit("router")
        self.model.wakes.append("router")

    @invariant()
    def rows_are_as_the_model_has_them(self) -> None:
        found = {p: self.work.get(Tally, "s1", p) for p in PRODUCTS}
        assert {p: t.count for p, t in found.items() if t} == self.model.counts
        of_shop = {t.product_id for t in self.work.all(Tally, "of_shop", "s1")}
        assert of_shop == {p for p, n in self.model.counts.items() if n > 0}

    @invariant()
    def logs_are_as_the_model_has_them(self) -> None:
        assert [one.event.item_id for one in self.work.emitted] == self.model.emitted  # type: ignore[attr-defined]
        assert all(one.deliver == ("shop",) for one in self.work.emitted)
        assert [(a.key, a.payload is not None) for a in self.work.armed] == self.model.timers
        assert self.work.wakes == self.model.wakes
        settled = {key for key, _ in self.model.timers}
        assert {key for key in PRODUCTS if self.work.timer_settled(key)} == settled

    def teardown(self) -> None:
        """What would be written turns the stored rows into the model's."""
        stored = dict(STORED)
        changes = self.work.changes(TALLIES)
        for _, product in changes.deletes:
            del stored[product]
        for values in changes.updates:
            assert values[1] in stored
            assert values[5] >= 1
            stored[values[1]] = values[2]
        for values in changes.inserts:
            assert values[1] not in stored
            stored[values[1]] = values[2]
        assert stored == self.model.counts


WorkMachine.TestCase.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)
TestWork = WorkMachine.TestCase


def test_a_row_of_the_batch_that_comes_to_meet_a_lookups_condition_joins_it() -> None:
    """It was found by its key; to the database it was none of the lookup's."""
    work = loaded_work()
    work.begin_item(None, None)
    work.require(Tally, "s1", "p2").count = 1
    assert {t.product_id for t in work.all(Tally, "of_shop", "s1")} == {"p1", "p2"}
    work.undo_item()
    assert {t.product_id for t in work.all(Tally, "of_shop", "s1")} == {"p1"}


def test_a_row_that_was_only_read_is_not_written() -> None:
    work = loaded_work()
    work.begin_item(None, None)
    assert work.require(Tally, "s1", "p1").count == 3
    assert not any(work.changes(TALLIES))


def test_a_changed_row_gets_the_next_version() -> None:
    work = loaded_work()
    work.begin_item(None, None)
    tally = work.require(Tally, "s1", "p1")
    tally.count = 4
    work.require(Tally, "s1", "p1").count = 5
    assert [(v[2], v[5]) for v in work.changes(TALLIES).updates] == [(5, 2)]


def test_a_change_of_a_row_bound_to_be_read_only_is_refused_not_lost() -> None:
    read_only = Binding(Tally, TALLIES.table, key=TALLIES.key, indexes=TALLIES.indexes, lock=False)
    work = loaded_work(read_only)
    work.begin_item(None, None)
    work.require(Tally, "s1", "p1").count = 9
    with pytest.raises(TypeError, match="read only"):
        work.changes(read_only)


def test_what_was_not_named_among_the_needs_is_a_bug_not_an_absent_row() -> None:
    work = loaded_work()
    work.begin_item(None, None)
    assert work.get(Tally, "s1", "p4") is None
    with pytest.raises(NotLoaded):
        work.get(Tally, "s2", "p1")
    with pytest.raises(NotLoaded):
        work.all(Tally, "of_shop", "s2")
