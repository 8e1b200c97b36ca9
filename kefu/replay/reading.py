"""Reads a script file: each line checked before anything is played."""

import hashlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from kefu.replay.script import ACTIONS, Line, Numbered, Script, ScriptError, Turn

_WITHOUT_BUYER = frozenset({"presence", "policy", "barrier", "turns"})
_CONTENT = ("text", "image", "product", "order")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_RICH_LINE = msgspec.json.Decoder(Line)
_RICH_MARKS = frozenset({"at", "buyer", "agent", "note", "keep_open", "via"})


class _Bare(Struct, frozen=True):
    turns: Annotated[tuple[Turn, ...], Meta(min_length=1)]


def read_script(path: Path) -> Script:
    """The lines of a file. `ScriptError` names the first line that is wrong."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ScriptError(f"{path}: {error.strerror or error}") from None
    lines = tuple(parse_lines(raw.removeprefix(_BYTE_ORDER_MARK).splitlines()))
    if not lines:
        raise ScriptError(f"{path}: no line to play")
    return Script(hashlib.sha256(raw).hexdigest(), lines)


def parse_lines(raw_lines: Iterable[bytes]) -> Iterator[Numbered]:
    """Each line that is not blank, checked."""
    for number, raw in enumerate(raw_lines, start=1):
        if raw.strip():
            try:
                yield Numbered(number, _parse(raw))
            except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
                raise ScriptError(f"line {number}: {error}") from None


def _parse(raw: bytes) -> Line:
    fields = msgspec.json.decode(raw)
    if not isinstance(fields, dict):
        raise ValueError("not a JSON object")
    if "turns" in fields and not _RICH_MARKS & fields.keys():
        line = Line(turns=_said(fields["turns"]))
    else:
        line = _RICH_LINE.decode(raw)
        _require_one_action(line)
    for turn in line.turns or ():
        _require_content(turn)
    return line


def _said(turns: Any) -> tuple[Turn, ...]:
    """The turns of a bare dialogue that say something, as a keyboard could have typed them."""
    if not isinstance(turns, list):
        raise ValueError("turns is not a list")
    typed = [turn | {"text": _typed(turn["text"])} if _has_text(turn) else turn for turn in turns]
    kept = [turn for turn in typed if not _has_text(turn) or turn["text"].strip()]
    return msgspec.convert({"turns": kept}, _Bare).turns


def _has_text(turn: Any) -> bool:
    return isinstance(turn, dict) and isinstance(turn.get("text"), str)


def _typed(text: str) -> str:
    return _CONTROL.sub(" ", text)


def _require_one_action(line: Line) -> None:
    found = [name for name in ACTIONS if getattr(line, name) is not None]
    if len(found) != 1:
        raise ValueError(f"exactly one thing per line, found {', '.join(found) or 'none'}")
    if found[0] == "presence" and line.agent is None and line.buyer is None:
        raise ValueError("presence needs agent, or the buyer whose agent it is")
    if found[0] not in _WITHOUT_BUYER and line.buyer is None:
        raise ValueError(f"{found[0]} needs buyer")


def _require_content(turn: Turn) -> None:
    if sum(getattr(turn, name) is not None for name in _CONTENT) != 1:
        raise ValueError("a turn has exactly one of text, image, product, order")
