"""The capability pages name tests; a page whose test is gone promises what nobody checks."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGES = sorted((ROOT / "docs" / "common").glob("*.md"))


def known_tests() -> set[str]:
    names: set[str] = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        names.add(path.stem)
        names.update(re.findall(r"def (test_\w+)", path.read_text()))
    return names


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_test_that_a_page_names_exists(page: Path) -> None:
    named = set(re.findall(r"`(test_\w+)(?:\.py)?`", page.read_text()))
    assert named - known_tests() == set()


def test_there_are_pages_to_check() -> None:
    assert {"bus.md", "runtime.md", "outbox.md", "timers.md"} <= {page.name for page in PAGES}
