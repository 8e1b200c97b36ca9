"""Downloads are made once and never seen half done."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.parts import cache
from tests.parts.errors import PartUnavailable


@pytest.fixture(autouse=True)
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KEFU_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "recipe"
    path.write_text("one")
    return path


def test_what_is_kept_is_filled_once(recipe: Path) -> None:
    fills: list[Path] = []

    def fill(target: Path) -> None:
        fills.append(target)
        (target / "jar").write_text("content")

    first = cache.kept("jars", recipe, fill)
    assert cache.kept("jars", recipe, fill) == first
    assert (first / "jar").read_text() == "content"
    assert len(fills) == 1


def test_another_recipe_is_filled_anew(recipe: Path) -> None:
    first = cache.kept("jars", recipe, lambda target: None)
    recipe.write_text("two")
    assert cache.kept("jars", recipe, lambda target: None) != first


def test_a_download_that_fails_leaves_nothing_and_is_tried_again(
    recipe: Path, cache_folder: Path
) -> None:
    def fail(target: Path) -> None:
        (target / "half").write_text("half")
        raise PartUnavailable("no network")

    with pytest.raises(PartUnavailable, match="no network"):
        cache.kept("jars", recipe, fail)
    assert [path for path in cache_folder.iterdir() if path.is_dir()] == []

    whole = cache.kept("jars", recipe, lambda target: None)
    assert list(whole.iterdir()) == []


def test_two_that_want_the_same_at_once_fill_it_once(recipe: Path) -> None:
    fills: list[Path] = []
    started, go_on = threading.Event(), threading.Event()

    def slow_fill(target: Path) -> None:
        fills.append(target)
        started.set()
        assert go_on.wait(20)

    threads = [
        threading.Thread(target=cache.kept, args=("jars", recipe, slow_fill)) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    assert started.wait(20)
    go_on.set()
    for thread in threads:
        thread.join(20)
    assert len(fills) == 1


def test_a_package_client_that_fails_says_why() -> None:
    with pytest.raises(PartUnavailable, match=r"fetching the moon failed: .*too far"):
        cache.run_fetch("the moon", ["sh", "-c", "echo too far; exit 3"])
