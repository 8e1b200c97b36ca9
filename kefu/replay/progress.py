"""The progress of a replay, live on a terminal, or one line now and then elsewhere."""

import sys
import time
from typing import TYPE_CHECKING

from kefu.replay.records import Delivered

if TYPE_CHECKING:
    from rich.live import Live

    from kefu.replay.run import Replay

PLAIN_EVERY_SECONDS = 5.0


def summary_line(replay: "Replay") -> str:
    """Where it stands, in one line."""
    done = len(replay.player.done) if replay.player else 0
    messages = [p for p in replay.actions.planned.values() if p.kind == "message"]
    acknowledged = sum(p.action in replay.actions.acknowledged for p in messages)
    shown = sum(isinstance(record, Delivered) for record in replay.journal.records)
    parts = [
        f"{time.monotonic() - replay.began:6.1f} s",
        replay.stage,
        f"steps {done}/{len(replay.plan.steps)}",
        f"messages {len(messages)} sent, {acknowledged} acknowledged",
        f"events shown {shown}",
    ]
    if replay.http.outage.seconds > 1:
        parts.append(f"waiting for the system since {replay.http.outage.seconds:.0f} s")
    return " · ".join(parts)


class Progress:
    """Shows `summary_line` while the block lasts."""

    def __init__(self) -> None:
        self._live: Live | None = None
        self._printed_at = float("-inf")

    def __enter__(self) -> "Progress":
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.live import Live

            self._live = Live(
                "", console=Console(stderr=True), refresh_per_second=4, transient=True
            )
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def watch(self, replay: "Replay") -> None:
        """See `Watcher`."""
        if self._live is not None:
            self._live.update(summary_line(replay))
        elif time.monotonic() - self._printed_at > PLAIN_EVERY_SECONDS:
            self._printed_at = time.monotonic()
            sys.stderr.write(summary_line(replay) + "\n")
            sys.stderr.flush()
