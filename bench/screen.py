"""What is shown while measuring, and how much is measured."""

from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn


@dataclass(frozen=True)
class Effort:
    """How much: `rounds` of A B A B, and the size of what is measured."""

    rounds: int = 3
    scale: float = 1.0

    def scaled(self, count: int, least: int = 20) -> int:
        """A count at this effort."""
        return max(least, round(count * self.scale))

    def seconds(self, full: float) -> float:
        """A measuring time at this effort."""
        return max(3.0, full * self.scale)


FULL = Effort()
QUICK = Effort(rounds=1, scale=0.2)


class Screen:
    """Progress on a terminal; plain lines where there is none."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console()
        self.progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TimeElapsedColumn(),
            console=self.console,
        )

    def say(self, line: str) -> None:
        """One line that stays."""
        self.progress.console.print(line, highlight=False)
