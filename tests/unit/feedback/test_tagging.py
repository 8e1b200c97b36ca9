"""The tagger: complaints where they are stated, and only there."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feedback.items import COUNTED_SCORE
from feedback.tagging import Tagging, tag, with_rating
from feedback.taxonomy import current_taxonomy, parse_taxonomy

TAXONOMY = current_taxonomy()


def read(text: str) -> Tagging:
    return tag(text, TAXONOMY)


def complaints(text: str) -> set[str]:
    return {found.tag for found in read(text).tags if found.score >= COUNTED_SCORE}


@pytest.mark.parametrize(
    "text,expected",
    [
        ("第一次下水就掉色,盆里全是蓝的", {"quality.fading"}),
        ("穿两天就起球了", {"quality.pilling"}),
        ("洗完缩水,现在穿不下", {"quality.shrinking", "size.too_small"}),
        ("打开一股刺鼻的味道", {"quality.odour"}),
        ("比平时的码偏小", {"size.too_small"}),
        ("袖子太长,肩也有点大", {"size.too_big"}),
        ("付款一周了还没发货", {"shipping.slow"}),
        ("箱子压扁了,杯子摔碎", {"shipping.damaged_parcel"}),
        ("快递丢了没人管", {"shipping.lost"}),
        ("问了三遍客服都不回复", {"service.slow_answer"}),
        ("售后态度恶劣", {"service.rude"}),
        ("昨天刚买今天就降价", {"price.drop"}),
        ("怀疑是假货", {"authenticity.fake"}),
        ("和图片不一样,颜色发错", {"description.mismatch", "description.wrong_item"}),
        ("买了三件只有两件,少发一件", {"missing_items.short"}),
        ("说好的赠品没有给", {"missing_items.gift"}),
    ],
)
def test_a_stated_complaint_gets_its_tag(text: str, expected: set[str]) -> None:
    assert complaints(text) >= expected


@pytest.mark.parametrize(
    "text",
    ["不掉色", "没有起球", "洗了很多次也没有缩水", "完全没异味", "一点也不会褪色", "并没有色差"],
)
def test_a_negated_complaint_is_none(text: str) -> None:
    assert complaints(text) == set()
    assert read(text).sentiment == "positive"


@pytest.mark.parametrize(
    "text",
    ["会掉色吗", "这件会不会起球?", "请问偏小还是偏大", "怕掉色所以先问问", "如果褪色可以退么?"],
)
def test_a_question_or_a_fear_is_not_a_complaint(text: str) -> None:
    assert complaints(text) == set()
    assert read(text).tags, "it is still found, for the questions that buyers ask"
    assert read(text).sentiment == "neutral"


@pytest.mark.parametrize("text", ["怎么还没发货?", "为什么洗一次就掉色?", "凭什么不退款?"])
def test_a_reproach_in_the_form_of_a_question_is_a_complaint(text: str) -> None:
    assert complaints(text)
    assert read(text).sentiment == "negative"


def test_what_follows_a_contrast_weighs_more() -> None:
    assert read("有点掉色,但是很舒服").polarity > read("很舒服,但是有点掉色").polarity


def test_an_intensifier_makes_it_worse() -> None:
    assert read("非常粗糙").polarity < read("粗糙").polarity < read("有点粗糙").polarity


def test_evidence_shows_the_words_in_their_place() -> None:
    (found,) = read("洗了一次就起球").tags
    assert found.tag == "quality.pilling"
    assert "起球" in found.evidence


def test_saying_it_twice_makes_it_surer_and_never_certain() -> None:
    once, twice = read("掉色").tags[0].score, read("掉色。真的掉色。" * 9).tags[0].score
    assert once < twice < 1.0


def test_full_width_and_capitals_are_read_alike() -> None:
    assert read("质量差!ＯＫ").polarity == read("质量差!ok").polarity


@pytest.mark.parametrize(
    "text,mood",
    [
        ("", "neutral"),
        ("今天星期三", "neutral"),
        ("非常满意,会再来", "positive"),
        ("太差了,再也不买", "negative"),
        ("不喜欢", "negative"),
    ],
)
def test_sentiment(text: str, mood: str) -> None:
    assert read(text).sentiment == mood


def test_one_star_is_negative_whatever_the_words() -> None:
    assert with_rating(read("挺好"), 1).sentiment == "negative"
    assert with_rating(read(""), 5).sentiment == "positive"
    assert with_rating(read("挺好"), None) == read("挺好")


@given(st.text(max_size=300))
def test_any_text_is_tagged_within_the_bounds_of_the_event(text: str) -> None:
    found = read(text)
    assert len(found.tags) <= 50
    assert all(0 <= one.score <= 1 and len(one.evidence) <= 500 for one in found.tags)
    assert len({one.tag for one in found.tags}) == len(found.tags)


@given(st.text(alphabet="不没有掉色起球很太吗?,。但是好差怕", max_size=60))
def test_tagging_is_a_function_of_the_text(text: str) -> None:
    assert read(text) == read(text)


def test_every_tag_is_found_by_each_of_its_own_phrases() -> None:
    missed = [
        (rule.id, phrase)
        for category in TAXONOMY.categories
        for rule in category.tags
        for phrase in rule.phrases
        if rule.id not in {found.tag for found in read(phrase).tags}
    ]
    assert missed == []


def test_a_tag_in_the_wrong_category_is_refused() -> None:
    wrong = (
        b'{"version":1,"categories":[{"id":"size","zh":"x","en":"x","owner":"product",'
        b'"tags":[{"id":"quality.x","zh":"x","en":"x","phrases":[]}]}]}'
    )
    with pytest.raises(ValueError, match=r"quality\.x"):
        parse_taxonomy(wrong)


def test_every_tag_has_a_department() -> None:
    assert TAXONOMY.owner_of("service.rude") == "training"
    assert TAXONOMY.owner_of("shipping.slow") == "warehouse"
    assert TAXONOMY.owner_of("of.no.one") == "operations"
