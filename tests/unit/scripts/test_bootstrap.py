"""A bare machine gets one sentence that says what to install; a ready one is left alone."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
# Interpreters that answer the two questions which the script asks.
TOO_OLD = """#!/bin/sh
case "$*" in
    *version_info*3,\\ 11*) exit 1 ;;
    *print*) echo 3.9.2 ;;
esac
"""
WITHOUT_VENV = """#!/bin/sh
case "$*" in
    *ensurepip*) exit 1 ;;
    *print*) echo 3.12 ;;
esac
"""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """As much of a fresh clone as the script reads."""
    folder = tmp_path / "clone"
    (folder / "scripts").mkdir(parents=True)
    for name in ("scripts/bootstrap", "pyproject.toml", *map(str, locks())):
        shutil.copy(ROOT / name, folder / name)
    return folder


def locks() -> list[Path]:
    return [path.relative_to(ROOT) for path in ROOT.glob("requirements*.lock")]


def program(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    path.chmod(0o755)
    return path


def bootstrap(
    clone: Path, python: str, path: str | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [clone / "scripts" / "bootstrap"],
        env={**os.environ, "PYTHON": python, "PATH": path or os.environ["PATH"]},
        capture_output=True,
        text=True,
    )


def test_too_old_a_python_gets_a_sentence_that_says_what_to_install(
    clone: Path, tmp_path: Path
) -> None:
    done = bootstrap(clone, str(program(tmp_path, "python-old", TOO_OLD)))
    assert done.returncode == 1
    assert "needs Python 3.11 or newer and found 3.9.2" in done.stderr
    assert "apt install python3" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (clone / ".venv").exists()


def test_a_python_without_venv_gets_a_sentence_that_names_the_package(
    clone: Path, tmp_path: Path
) -> None:
    done = bootstrap(clone, str(program(tmp_path, "python-bare", WITHOUT_VENV)))
    assert done.returncode == 1
    assert "apt install python3.12-venv" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_no_python_at_all_gets_the_sentence_too(clone: Path) -> None:
    done = bootstrap(clone, "/no/such/python")
    assert done.returncode == 1
    assert "found none" in done.stderr


def test_a_version_that_is_only_a_broken_shim_is_passed_over(clone: Path, tmp_path: Path) -> None:
    shims = tmp_path / "shims"
    shims.mkdir()
    for name in ("python3.13", "python3.12", "python3.14"):
        program(shims, name, "#!/bin/sh\necho 'command not found' >&2\nexit 127\n")
    program(shims, "python3.11", WITHOUT_VENV)
    for name in ("python3", "python"):
        program(shims, name, TOO_OLD)
    done = bootstrap(clone, "", path=f"{shims}:/usr/bin:/bin")
    assert done.returncode == 1
    assert "which python3.11 lacks" in done.stderr


def test_every_lock_pins_by_hash_and_names_no_index() -> None:
    assert len(locks()) == 3
    for lock in [*locks(), *(p.relative_to(ROOT) for p in ROOT.glob("tests/parts/wheels/*.lock"))]:
        text = (ROOT / lock).read_text()
        pins = [line for line in text.splitlines() if "==" in line and line[0].isalpha()]
        assert pins
        assert all(pin.endswith("\\") for pin in pins)  # hashes follow
        for word in ("://", "--index-url", "--find-links", "--trusted-host", " @ "):
            assert word not in text, f"{lock} holds {word}"


def test_the_larger_environments_hold_the_runtime_unchanged() -> None:
    def pins(name: str) -> set[str]:
        lines = (ROOT / name).read_text().splitlines()
        return {line.rstrip(" \\") for line in lines if "==" in line and line[0].isalpha()}

    assert pins("requirements.lock") <= pins("requirements-dev.lock")
    assert pins("requirements-dev.lock") <= pins("requirements-bench.lock")


def test_make_alone_explains_itself() -> None:
    shown = subprocess.run(["make", "-C", ROOT], capture_output=True, text=True, check=True).stdout
    for target in ("run", "demo", "test", "lint", "format", "migrations", "contracts", "bench"):
        assert f"{target} " in shown
