"""Writes the contracts as documents, and finds where documents and code disagree.

`kefu contracts export` calls `export`, `kefu contracts check` calls `check`, and a release calls
`release`. The folder is docs/contracts/:

    asyncapi.yaml           the whole bus, AsyncAPI 3.0
    schemas/<name>.v1.json  one JSON Schema per event
    released/               the schemas as they were last released, and ACCEPTED.txt: lines of
                            `breaking_changes` that were looked at and taken all the same
"""

import json
from collections.abc import Mapping
from pathlib import Path

import yaml

from .asyncapi import asyncapi_document
from .compatibility import breaking_changes
from .schemas import Schema, all_schemas

ASYNCAPI = Path("asyncapi.yaml")
SCHEMAS = Path("schemas")
RELEASED = Path("released")
ACCEPTED = RELEASED / "ACCEPTED.txt"

_ACCEPTED_HEADER = """\
# Breaking changes since the last release that were accepted all the same, one line each,
# word for word as `kefu contracts check` prints them. Say why in a comment above the line.
"""


def documents() -> dict[Path, str]:
    """Every generated document by its path in the folder."""
    schemas = {SCHEMAS / f"{name}.json": _json(schema) for name, schema in all_schemas().items()}
    return {ASYNCAPI: _yaml(asyncapi_document()), **schemas}


def export(folder: Path) -> list[Path]:
    """Writes all documents, removes schemas of events that are gone; returns what it touched."""
    wanted = documents()
    touched = [path for path, text in wanted.items() if _write(folder / path, text)]
    for path in _leftovers(folder, wanted):
        (folder / path).unlink()
        touched.append(path)
    return sorted(touched)


def stale(folder: Path) -> list[str]:
    """What `export` would change, in words; empty when the documents are up to date."""
    wanted = documents()
    differing = [
        f"{path}: differs from the code, run `make contracts`"
        for path, text in wanted.items()
        if _read(folder / path) != text
    ]
    left = [f"{path}: has no event any more" for path in _leftovers(folder, wanted)]
    return differing + left


def broken(folder: Path) -> list[str]:
    """Breaking changes since the last release that nobody has accepted."""
    accepted = _accepted(folder)
    changes = breaking_changes(released_schemas(folder), all_schemas())
    return [change for change in changes if change not in accepted]


def check(folder: Path) -> list[str]:
    """All that keeps the contracts from being merged; empty when there is nothing."""
    return stale(folder) + broken(folder)


def release(folder: Path) -> list[Path]:
    """Freezes the present schemas as the last released ones and forgets accepted changes."""
    frozen = {RELEASED / f"{name}.json": _json(made) for name, made in all_schemas().items()}
    for path in set(_files(folder, RELEASED)) - frozen.keys():
        (folder / path).unlink()
    for path, text in frozen.items():
        _write(folder / path, text)
    _write(folder / ACCEPTED, _ACCEPTED_HEADER)
    return sorted(frozen)


def released_schemas(folder: Path) -> dict[str, Schema]:
    """The schemas of the last release by event name."""
    paths = _files(folder, RELEASED)
    return {path.stem: json.loads((folder / path).read_text("utf-8")) for path in paths}


def _accepted(folder: Path) -> set[str]:
    lines = (_read(folder / ACCEPTED) or "").splitlines()
    return {line.strip() for line in lines if line.strip() and not line.startswith("#")}


def _leftovers(folder: Path, wanted: Mapping[Path, str]) -> list[Path]:
    return [path for path in _files(folder, SCHEMAS) if path not in wanted]


def _files(folder: Path, inside: Path) -> list[Path]:
    return sorted(path.relative_to(folder) for path in (folder / inside).glob("*.json"))


def _read(path: Path) -> str | None:
    return path.read_text("utf-8") if path.exists() else None


def _write(path: Path, text: str) -> bool:
    if _read(path) == text:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8", newline="\n")
    return True


def _json(document: Schema) -> str:
    return json.dumps(document, ensure_ascii=False, indent=2) + "\n"


def _yaml(document: object) -> str:
    text: str = yaml.dump(
        document,
        Dumper=_PlainDumper,
        allow_unicode=True,
        sort_keys=False,
        width=100,
    )
    return "# Made by `kefu contracts export` from libs/common/contracts; do not edit.\n" + text


class _PlainDumper(yaml.SafeDumper):
    """Writes a repeated part out in full: anchors are poorly read by AsyncAPI tools."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style="|" if "\n" in text else None
    )


_PlainDumper.add_representer(str, _text)
