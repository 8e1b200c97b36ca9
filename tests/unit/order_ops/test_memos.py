"""OO5: memos are read, merged, written and verified; nobody's words are wiped."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import InvalidInput
from order_ops.memos import (
    MAX_BYTES,
    NO_ANSWER,
    Memo,
    MemoNotEncodable,
    MemoTooLong,
    TooManyMemos,
    WriteMemo,
    answered,
    fail,
    memo_bytes,
    merged_memo,
    new_memo,
    next_memo,
    request,
    shows,
    succeed,
    unseen_lines,
    verify,
)
from tests.support.order_examples import TEN, at, order


def command(text: str = "送礼,请附贺卡", flag: int | None = None) -> WriteMemo:
    return WriteMemo(
        shop_id="s1", order_id="o1", text=text, flag=flag, author="xiaomei", author_role="agent"
    )


def memo(text: str = "送礼,请附贺卡", flag: int | None = None, **fields: Any) -> Memo:
    made = new_memo(command(text, flag), order(), (), TEN)
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def requested(one: Memo, platform_memo: str | None = None, *others: Memo) -> dict[str, Any]:
    found = order(seller_memo=platform_memo)
    asked = request(one, found, [*others, one], TEN)
    assert asked is not None
    return dict(asked.arguments)


def test_the_platforms_words_come_first_and_ours_follow_under_our_prefix() -> None:
    arguments = requested(memo(flag=1), "老客户,发顺丰")
    assert arguments == {
        "memo": "老客户,发顺丰\n【客服 xiaomei 03-02 10:00】送礼,请附贺卡",
        "flag": 1,
    }


def test_a_mere_flag_leaves_the_memo_alone() -> None:
    asked = request(one := memo("", 3), order(seller_memo="x"), [one], TEN)
    assert asked is not None
    assert (asked.action, dict(asked.arguments)) == ("flag_update", {"flag": 3})


def test_every_attempt_has_a_command_id_of_its_own() -> None:
    one = memo()
    requested(one)
    first = one.command_id
    requested(one)
    assert (one.command_id != first, one.attempts) == (True, 2)


def test_memos_take_turns() -> None:
    first, second = memo("一"), memo("二")
    assert next_memo([second, first]) is first
    requested(first)
    assert next_memo([second, first]) is None
    succeed(first, order(), TEN)
    assert next_memo([second, first]) is second


def test_a_written_line_that_no_snapshot_shows_yet_is_not_wiped_by_the_next_memo() -> None:
    first, second = memo("一"), memo("二")
    requested(first)
    succeed(first, order(), TEN)
    assert requested(second, "平台", first)["memo"] == f"平台\n{first.line}\n{second.line}"


def test_a_line_without_an_answer_is_not_wiped_either_until_a_snapshot_settles_it() -> None:
    first, second = memo("一"), memo("二")
    requested(first)
    fail(first, NO_ANSWER, "", TEN)
    assert first.line in requested(second, "平台", first)["memo"]
    assert verify([first], "平台", at(minutes=1)) == [first]
    assert (first.state, first.failure_code) == ("failed", "not_written")
    assert unseen_lines([first]) == []


def test_a_late_answer_still_counts() -> None:
    one = memo()
    requested(one)
    fail(one, NO_ANSWER, "", TEN)
    assert answered([one], one.command_id or "") is one
    fail(one, "refused", "", TEN)
    assert answered([one], one.command_id or "") is None


def test_success_shows_the_memo_in_the_book_at_once() -> None:
    found, one = order(seller_memo="平台"), memo(flag=2)
    requested(one, "平台")
    succeed(one, found, TEN)
    assert (found.seller_memo, found.flag) == (f"平台\n{one.line}", 2)
    assert one.state == "succeeded"


def test_a_snapshot_that_overtook_the_answer_verifies() -> None:
    one = memo()
    requested(one)
    succeed(one, order(seller_memo=f"平台\n{one.line}"), TEN)
    assert one.state == "verified"


def test_the_next_snapshot_verifies_a_memo() -> None:
    one = memo()
    requested(one)
    succeed(one, order(), TEN)
    assert verify([one], one.line, at(seconds=1)) == [one]
    assert one.state == "verified"


def test_a_snapshot_from_before_the_command_proves_nothing() -> None:
    one = memo()
    requested(one)
    succeed(one, order(), TEN)
    assert verify([one], "", at(seconds=-2)) == []
    assert one.state == "succeeded"


def test_a_lost_memo_is_written_once_more_and_then_left_to_a_person() -> None:
    one = memo()
    requested(one)
    succeed(one, order(), TEN)
    verify([one], "somebody else", at(seconds=1))
    assert (one.state, next_memo([one])) == ("pending", one)
    assert requested(one, "somebody else")["memo"] == f"somebody else\n{one.line}"
    succeed(one, order(), TEN)
    verify([one], "somebody else", at(seconds=2))
    assert one.state == "conflict"


WORDS = st.text("送礼请abc 【】", min_size=1).map(str.strip).filter(bool)


@given(st.text(), st.lists(WORDS))
def test_merging_never_loses_a_character(platform: str, lines: list[str]) -> None:
    merged = merged_memo(platform, lines)
    assert merged.startswith(platform)
    assert all(shows(merged, line) for line in lines)
    assert merged_memo(merged, lines) == merged


def test_a_memo_that_does_not_fit_is_refused_with_what_is_left() -> None:
    full = order(seller_memo="满" * 480)
    with pytest.raises(MemoTooLong) as refused:
        new_memo(command("长" * 30), full, (), TEN)
    left = refused.value.extra["bytes_left"]
    fitting = new_memo(command("a" * left), full, (), TEN)
    assert memo_bytes(merged_memo(full.seller_memo, [fitting.line])) == MAX_BYTES
    with pytest.raises(MemoTooLong):
        new_memo(command("a" * (left + 1)), full, (), TEN)


def test_room_is_counted_with_the_memos_that_wait() -> None:
    waiting = memo("长" * 460)
    with pytest.raises(MemoTooLong):
        new_memo(command("长" * 30), order(), [waiting], TEN)


def test_a_memo_that_no_longer_fits_when_its_turn_comes_fails_and_cuts_nothing() -> None:
    one = memo("长" * 100)
    assert request(one, order(seller_memo="满" * 450), [one], TEN) is None
    assert (one.state, one.failure_code) == ("failed", "memo_too_long")


def test_emoji_are_refused() -> None:
    with pytest.raises(MemoNotEncodable):
        new_memo(command("请包好🎁"), order(), (), TEN)


def test_nothing_to_write_is_refused() -> None:
    with pytest.raises(InvalidInput):
        new_memo(command("  "), order(), (), TEN)


def test_a_platform_that_never_answers_does_not_pile_up_memos() -> None:
    with pytest.raises(TooManyMemos):
        new_memo(command(), order(), [memo(str(n)) for n in range(20)], TEN)


def test_a_line_that_begins_like_another_is_a_line_of_its_own() -> None:
    longer, shorter = memo("送礼,请附贺卡"), memo("送礼")
    assert requested(shorter, longer.line)["memo"] == f"{longer.line}\n{shorter.line}"


def test_line_breaks_become_spaces_so_that_a_memo_is_one_line() -> None:
    assert memo("一\n二\t三").text == "一 二 三"
