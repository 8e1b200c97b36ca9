"""Personal data never survives into a log line, and what support needs does."""

import json
import re
from enum import Enum
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.ids import new_id
from common.telemetry.masking import (
    MASK,
    MASKED_KEYS,
    MAX_TEXT,
    is_bank_card,
    is_identity_card,
    mask,
    mask_mapping,
    mask_text,
)

# Text that holds no digits itself, so that a number stays the number that was put in.
plain = st.text(st.characters(exclude_categories=("Nd", "Cs")), max_size=60)
gaps = st.sampled_from(["", "-", " ", ".", "–"])


@st.composite
def phones(draw: st.DrawFn) -> str:
    prefix = draw(st.sampled_from(["", "+86", "86", "+86 ", "0086-", "86-"]))
    gap = draw(gaps)
    digits = "1" + draw(st.text("3456789", min_size=1, max_size=1))
    digits += draw(st.text("0123456789", min_size=9, max_size=9))
    return prefix + gap.join((digits[:3], digits[3:7], digits[7:]))


def digits_of(text: str) -> str:
    return re.sub(r"\D", "", text)


def survives(phone: str, logged: Any) -> bool:
    return digits_of(phone)[-11:] in digits_of(json.dumps(logged, ensure_ascii=False, default=str))


@given(plain, phones(), plain)
def test_a_phone_number_never_survives_in_a_text(before: str, phone: str, after: str) -> None:
    assert not survives(phone, mask_text(before + phone + after))


@given(phones(), st.integers(0, 3 * MAX_TEXT), st.integers(0, 3 * MAX_TEXT))
def test_nor_where_a_long_text_is_cut(phone: str, before: int, after: int) -> None:
    logged = mask_text("字" * before + phone + "字" * after)
    assert len(logged) <= MAX_TEXT + 3
    run = re.findall(r"\d{5,}", logged)
    assert not run, "not even a part of it"


@st.composite
def nested(draw: st.DrawFn) -> tuple[str, Any]:
    """A phone number somewhere inside a log line's values."""
    phone = draw(phones())
    digits = digits_of(phone)[-11:]
    value: Any = draw(
        st.sampled_from([phone, int(digits), float(digits), ValueError(phone), {phone: 1}])
    )
    for wrap in draw(st.lists(st.sampled_from(["list", "tuple", "dict", "text"]), max_size=8)):
        if wrap == "list":
            value = [draw(plain), value]
        elif wrap == "tuple":
            value = (value,)
        elif wrap == "dict":
            value = {"found": value}
        else:
            value = f"{draw(plain)}{value}"
    return phone, value


@given(nested(), st.sampled_from(["event", "detail", "found", "error"]))
def test_nor_anywhere_inside_a_line(found: tuple[str, Any], key: str) -> None:
    phone, value = found
    assert not survives(phone, mask_mapping({key: value, "attempt": 3}))


@pytest.mark.parametrize("before", ["\x08", "\u2009"])
def test_nor_behind_a_character_that_is_written_with_digits(before: str) -> None:
    assert not survives("13000000000", mask_mapping({"event": repr((f"{before}13000000000",))}))


@given(st.sampled_from(sorted(MASKED_KEYS)), st.text() | st.integers() | st.lists(st.text()))
def test_listed_keys_are_masked_whatever_they_hold(key: str, value: Any) -> None:
    for name in (key, key.upper(), key.replace("_", "-")):
        assert mask_mapping({name: value}) == {name: MASK}
        assert mask_mapping({"outer": [{name: value}]}) == {"outer": [{name: MASK}]}


def test_a_masked_key_without_a_value_shows_that_there_is_none() -> None:
    assert mask_mapping({"phone": None}) == {"phone": None}


@pytest.mark.parametrize(
    "secret",
    [
        "13800138000",
        "１３８００１３８０００",
        "0571-88886666",
        "li.lei+shop@example.com",
        "11010519491231002X",
        "6222020200112233446",
        "4111 1111 1111 1111",
        "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhMSJ9.c2lnbmF0dXJl",
        "Bearer abcdefgh12345678",
        "postgresql://kefu:s3cr3t@db/kefu",
        "[parameters: ('您好,我住在杭州',)]",
        "input_value='您好,我住在杭州', input_type=str",
        "DETAIL: Key (nick)=(您好,我住在杭州) already exists.",
    ],
)
def test_what_looks_personal_or_secret_is_masked(secret: str) -> None:
    logged = mask_text(f"before {secret} after")
    assert MASK in logged
    assert logged.startswith("before ")
    for part in ("8000", "0138", "8888", "li.lei", "1949", "622202", "4111", "eyJ", "abcdefgh"):
        assert part not in logged
    for part in ("s3cr3t", "杭州"):
        assert part not in logged


@pytest.mark.parametrize(
    "harmless",
    [
        "2013800138000123456",  # an order number with a phone number's digits inside
        "order 3926841050275918 paid",
        "took 13800 ms",
        "n=1380013800",
        "2026-03-08T10:10:15.123456Z",
        "192.168.100.200:65535",
        "SF1234567890123",
        "已发货 3 件",
    ],
)
def test_what_support_needs_stays_readable(harmless: str) -> None:
    assert mask_text(harmless) == harmless


def test_identifiers_of_our_own_stay_whole() -> None:
    for _ in range(2000):
        known = new_id()
        assert mask_text(known) == known


def test_values_become_fit_for_json() -> None:
    class Colour(Enum):
        RED = "red"

    class Secretive(msgspec.Struct):
        text: str

    found = {
        "flag": True,
        "nothing": None,
        "ratio": 0.25,
        "huge": 2**80,
        "raw_bytes": b"13800138000",
        "colour": Colour.RED,
        "id": UUID(int=7),
        "file": Path("/a/b"),
        "object": Secretive("13800138000"),
        "set": {1},
        "many": list(range(1000)),
    }
    logged = mask(found)
    assert msgspec.json.decode(msgspec.json.encode(logged)) == logged
    assert logged["object"] == "<Secretive>"
    assert logged["raw_bytes"] == "<11 bytes>"
    assert logged["colour"] == "red"
    assert logged["file"] == "/a/b"
    assert len(logged["many"]) == 50


def test_a_value_that_holds_itself_ends() -> None:
    circle: list[Any] = []
    circle.append(circle)
    assert msgspec.json.encode(mask(circle))


@given(st.integers(100_000, 999_999), st.dates(), st.integers(0, 999))
def test_every_valid_identity_number_is_known(region: int, born: Any, order: int) -> None:
    first = f"{region}{born:%Y%m%d}{order:03d}".rjust(17, "1")
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    total = sum(int(digit) * weight for digit, weight in zip(first, weights, strict=True))
    number = first + "10X98765432"[total % 11]
    assert is_identity_card(number)
    assert mask_text(f"身份证{number}") == f"身份证{MASK}"


@given(st.sampled_from(["62", "4", "51", "34"]), st.text("0123456789", min_size=16, max_size=16))
def test_every_valid_card_number_is_known(issuer: str, rest: str) -> None:
    first = (issuer + rest)[: 14 if issuer == "34" else 15]
    valid = [first + last for last in "0123456789" if is_bank_card(first + last)]
    assert len(valid) == 1
    assert mask_text(f"卡号{valid[0]}") == f"卡号{MASK}"
