"""Items: once per source, up to date with what the buyer says, and a person's word above all."""

from datetime import UTC, datetime

import msgspec

from common.contracts import FeedbackTagged, Tag
from feedback.counts import changes, hits_of
from feedback.items import Collected, Item, correct, item_id_of, new_item, revise, tagged
from feedback.tagging import tagged_text

NOW = datetime(2026, 3, 2, 2, 0, tzinfo=UTC)


def said(text: str, rating: int | None = 2, product: str | None = "coat") -> Collected:
    return Collected(
        shop_id="demo",
        source="review",
        source_id="rv-1",
        product_id=product,
        buyer_id="b1",
        rating=rating,
        text=text,
        occurred_at=datetime(2026, 3, 1, 17, 0, tzinfo=UTC),
    )


def item(text: str = "掉色") -> Item:
    return new_item(said(text), tagged_text(text), NOW)


def event(*tags: str, product: str | None = "coat", source: str = "review") -> FeedbackTagged:
    return FeedbackTagged(
        shop_id="demo",
        item_id=f"{source}:1",
        source="case" if source == "case" else "review",
        product_id=product,
        buyer_id="b1",
        tags=tuple(Tag(tag=name, score=0.8) for name in tags),
        sentiment="negative",
        taxonomy_version=1,
        text_excerpt="",
        occurred_at=NOW,
    )


def test_an_item_counts_on_the_shops_local_day() -> None:
    assert item().day == "2026-03-02"


def test_ids_name_their_source_and_always_fit_a_path_and_an_event() -> None:
    assert item_id_of("review", "rv-1") == "review:rv-1"
    for odd in ("x" * 128, "a/b", "空 格"):
        assert len(item_id_of("return_reason", odd)) <= 128
        assert "/" not in item_id_of("return_reason", odd)
    assert item_id_of("review", "a/b") != item_id_of("review", "a/c")


def test_the_same_review_again_changes_nothing() -> None:
    known = item()
    before = msgspec.structs.asdict(known)
    assert not revise(known, said("掉色"), tagged_text("掉色"), NOW)
    assert msgspec.structs.asdict(known) == before


def test_an_edited_review_is_tagged_anew() -> None:
    known = item()
    assert revise(known, said("起球"), tagged_text("起球"), NOW)
    assert [found.tag for found in known.tags] == ["quality.pilling"]


def test_a_product_learnt_later_is_added_and_never_replaced() -> None:
    known = new_item(said("掉色", product=None), tagged_text("掉色"), NOW)
    assert revise(known, said("掉色", product="coat"), tagged_text("掉色"), NOW)
    assert not revise(known, said("掉色", product="scarf"), tagged_text("掉色"), NOW)
    assert known.product_id == "coat"


def test_a_persons_correction_outlives_repeats_and_ends_with_new_words() -> None:
    known = item("掉色")
    record = correct(known, ["quality.odour"], "neutral", "wang", NOW, "c1")
    assert [found.tag for found in record.previous_tags] == ["quality.fading"]
    assert not revise(known, said("掉色"), tagged_text("掉色"), NOW)
    assert [found.tag for found in known.tags] == ["quality.odour"]
    revise(known, said("起球"), tagged_text("起球"), NOW)
    assert [found.tag for found in known.tags] == ["quality.pilling"]
    assert not known.corrected


def test_a_tag_that_a_person_keeps_keeps_its_evidence() -> None:
    known = item("掉色")
    correct(known, ["quality.fading"], "negative", "wang", NOW, "c1")
    assert tagged(known).tags == (Tag(tag="quality.fading", score=1.0, evidence="掉色"),)


def test_counts_change_by_the_difference_only() -> None:
    old, new = hits_of(event("a.x", "a.y")), hits_of(event("a.y", "a.z"))
    assert changes(old, new) == {
        ("demo", "coat", "a.x", "2026-03-02"): -1,
        ("demo", "coat", "a.z", "2026-03-02"): 1,
    }
    assert changes(new, new) == {}


def test_a_closed_case_and_a_text_without_product_do_not_count() -> None:
    assert changes([], hits_of(event("a.x", source="case"))) == {}
    assert changes([], hits_of(event("a.x", product=None))) == {}


def test_a_question_does_not_count() -> None:
    asked = msgspec.structs.replace(event(), tags=(Tag(tag="a.x", score=0.25),))
    assert [hit.counted for hit in hits_of(asked)] == [False]
