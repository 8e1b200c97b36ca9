"""The file format: what is taken as it is, and what is refused with its line number."""

import json
from pathlib import Path

import pytest

from kefu.replay.reading import parse_lines, read_script
from kefu.replay.script import ScriptError


def _lines(*objects: object) -> list[bytes]:
    return [json.dumps(one, ensure_ascii=False).encode() for one in objects]


def test_a_bare_dialogue_is_taken_as_it_is_whatever_else_it_carries() -> None:
    bare = {"turns": [{"from": "buyer", "text": "在吗", "emotion": 3}], "source": "elsewhere"}
    [numbered] = parse_lines(_lines(bare))
    assert numbered.action == "turns"
    assert numbered.line.turns is not None
    assert numbered.line.turns[0].text == "在吗"
    assert numbered.line.buyer is None


def test_blank_lines_keep_the_numbering_of_the_file() -> None:
    made = {"buyer": "b", "pay": "o1"}
    [numbered] = parse_lines([b"", b"   ", *_lines(made)])
    assert numbered.number == 3


@pytest.mark.parametrize(
    "wrong, reason",
    [
        ({"buyer": "b"}, "exactly one thing per line, found none"),
        ({"buyer": "b", "pay": "o1", "sign": "o1"}, "found pay, sign"),
        ({"pay": "o1"}, "pay needs buyer"),
        ({"presence": "online"}, "presence needs agent, or"),
        ({"buyer": "b", "payed": "o1"}, "payed"),
        ({"buyer": "b", "turns": []}, "length >= 1"),
        ({"turns": []}, "length >= 1"),
        ({"turns": [{"from": "buyer"}]}, "exactly one of text, image, product, order"),
        ({"turns": [{"from": "buyer", "text": "a", "image": "b"}]}, "exactly one of"),
        ({"turns": [{"from": "robot", "text": "a"}]}, "robot"),
        ({"turns": [{"text": "a"}]}, "from"),
        ({"buyer": "b", "order": {"id": "o", "items": []}}, "length >= 1"),
        (
            {"buyer": "b", "order": {"id": "o", "items": [{"product": "p", "price_fen": -1}]}},
            ">= 0",
        ),
        ({"at": -1, "buyer": "b", "pay": "o"}, ">= 0"),
        ({"buyer": "b", "review": {"id": "r", "product": "p", "rating": 6, "text": "x"}}, "<= 5"),
        ([1, 2], "not a JSON object"),
        ("turns", "not a JSON object"),
    ],
)
def test_a_line_that_cannot_be_played_is_named_with_its_number(wrong: object, reason: str) -> None:
    good = {"buyer": "b", "pay": "o1"}
    with pytest.raises(ScriptError, match="line 2: ") as refused:
        list(parse_lines(_lines(good, wrong)))
    assert reason in str(refused.value)


@pytest.mark.parametrize("raw", [b"{", b"\xff\xfe", b'{"turns": 1}', b'{"buyer": "b", "pay": 1}'])
def test_bytes_that_are_no_line_are_refused_without_a_trace(raw: bytes) -> None:
    with pytest.raises(ScriptError, match="line 1: "):
        list(parse_lines([raw]))


def test_a_file_without_lines_and_a_missing_file_are_told_apart(tmp_path: Path) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.write_bytes(b"\n \n")
    with pytest.raises(ScriptError, match="no line to play"):
        read_script(empty)
    with pytest.raises(ScriptError, match="No such file"):
        read_script(tmp_path / "missing.jsonl")


def test_the_digest_tells_two_files_apart(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a.jsonl", "b.jsonl", "same_as_a.jsonl")]
    for path, order in zip(paths, ("o1", "o2", "o1"), strict=True):
        path.write_bytes(_lines({"buyer": "b", "pay": order})[0])
    a, b, same = (read_script(path).digest for path in paths)
    assert a == same
    assert a != b


def test_what_no_keyboard_types_is_left_out_of_a_bare_dialogue() -> None:
    said = ["在吗\x00", "  ", "", "有货\x9f吗"]
    turns = [{"from": "buyer", "text": text} for text in said]
    [numbered] = parse_lines(_lines({"turns": turns}))
    assert numbered.line.turns is not None
    assert [turn.text for turn in numbered.line.turns] == ["在吗 ", "有货 吗"]


def test_a_file_saved_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    path = tmp_path / "marked.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + _lines({"buyer": "b", "pay": "o1"})[0])
    assert len(read_script(path).lines) == 1
