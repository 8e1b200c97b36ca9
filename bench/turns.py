"""A B A B: the things that are compared run in turn, so that a busy minute hits them all."""

from collections.abc import Awaitable, Callable, Mapping

from bench.measures import Series
from bench.screen import Effort, Screen

Run = Callable[[], Awaitable[float]]


async def in_turns(
    runs: Mapping[str, Run], effort: Effort, screen: Screen, *, title: str
) -> dict[str, Series]:
    """`effort.rounds` rounds of every run, in the order given; the series of each."""
    figures: dict[str, list[float]] = {name: [] for name in runs}
    task = screen.progress.add_task(title, total=effort.rounds * len(runs))
    for round_ in range(1, effort.rounds + 1):
        for name, run in runs.items():
            screen.progress.update(task, description=f"{title}: {name}")
            figure = await run()
            figures[name].append(figure)
            screen.say(f"  {title}, round {round_}: {name} {figure:,.1f}")
            screen.progress.advance(task)
    screen.progress.remove_task(task)
    return {name: Series.of(values) for name, values in figures.items()}
