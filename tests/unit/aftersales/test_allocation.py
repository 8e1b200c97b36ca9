import pytest
from hypothesis import given
from hypothesis import strategies as st

from aftersales.allocation import allocate

fen = st.integers(0, 10**12)


@given(fen, st.lists(st.integers(0, 10**9), min_size=1, max_size=30))
def test_no_fen_is_lost_and_none_is_made(total: int, weights: list[int]) -> None:
    shares = allocate(total, weights)
    assert sum(shares) == total
    assert min(shares) >= 0


@given(fen, st.lists(st.integers(1, 10**9), min_size=1, max_size=30))
def test_a_share_is_within_one_fen_of_its_exact_part(total: int, weights: list[int]) -> None:
    whole = sum(weights)
    for share, weight in zip(allocate(total, weights), weights, strict=True):
        assert abs(share * whole - total * weight) < whole


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=30), st.data())
def test_a_share_of_less_than_the_whole_never_exceeds_its_weight(
    weights: list[int], data: st.DataObject
) -> None:
    total = data.draw(st.integers(0, sum(weights)))
    if total:
        assert all(s <= w for s, w in zip(allocate(total, weights), weights, strict=True))


def test_left_over_fen_go_to_the_largest_remainders_and_then_to_the_earlier() -> None:
    assert allocate(100, [1, 1, 1]) == [34, 33, 33]
    assert allocate(10, [15, 25, 60]) == [2, 2, 6]


def test_without_weights_all_shares_count_the_same() -> None:
    assert allocate(5, [0, 0]) == [3, 2]
    assert allocate(0, []) == []


@pytest.mark.parametrize("total, weights", [(-1, [1]), (1, [-1]), (1, [])])
def test_what_cannot_be_divided_is_refused(total: int, weights: list[int]) -> None:
    with pytest.raises(ValueError, match=r"negative|share"):
        allocate(total, weights)
