"""The command line: `kefu …`.

Commands import what they need when they run, so that `kefu --help` and the small ones are quick.
Exit status: 0 done, 1 done with findings, 2 wrong use or settings, 3 something needed is not
there (a port, a database, a running system).
"""

import sys

import typer

from kefu.cli import contracts, inspection, loading, playing, serving, setup
from kefu.cli.failures import explain

app = typer.Typer(
    name="kefu",
    help="Customer service for online shops: run it, look into it, play days against it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for part in (serving, playing, loading, setup, inspection, contracts):
    part.register(app)


def main() -> None:
    """Runs the command line. What goes wrong becomes a sentence and an exit status."""
    try:
        app()
    except Exception as error:
        explained = explain(error)
        if explained is None:
            raise
        message, status = explained
        sys.stderr.write(f"kefu: {message}\n")
        sys.exit(status)
