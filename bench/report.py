"""What a run leaves: a table on the screen, a plot, and summary.json, all in bench/results/."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.measures import Finding, Series

RESULTS = Path(__file__).parent / "results"


def save(findings: Sequence[Finding], machine: Sequence[str], folder: Path = RESULTS) -> None:
    """Write summary.json, table.md and plot.png."""
    folder.mkdir(parents=True, exist_ok=True)
    listed = [finding.summary() for finding in findings]
    (folder / "summary.json").write_text(json.dumps(listed, ensure_ascii=False, indent=2) + "\n")
    (folder / "table.md").write_text(markdown(findings, machine))
    plot(findings, folder / "plot.png")


def show(findings: Sequence[Finding], console: Console) -> None:
    """The table."""
    table = Table(title="Benchmarks", caption="medians; in brackets the lowest and highest run")
    for name in ("", "what", "ours", "peer", "ratio", "mark", ""):
        table.add_column(name)
    for one in findings:
        verdict = "[green]reached[/]" if one.reached else "[red]missed[/]"
        peer = f"{figure(one.peer)}\n{one.peer_is}" if one.peer else "–"
        ratio = f"{one.ratio:.2f}" if one.ratio else "–"
        ours = f"{figure(one.ours)} {one.unit}"
        table.add_row(one.id, one.what, ours, peer, ratio, str(one.mark), verdict)
    console.print(table)
    for one in findings:
        if not one.reached:
            console.print(f"[red]{one.id} missed[/]: {one.note}", highlight=False)
            console.print("\n".join(f"  {line}" for line in one.profile), highlight=False)


def markdown(findings: Sequence[Finding], machine: Sequence[str]) -> str:
    """The table as docs/benchmarks.md has it."""
    lines = [
        f"{datetime.now(UTC):%Y-%m-%d}; {'; '.join(machine)}",
        "",
        "| # | what | ours | peer | ratio | mark | |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in findings:
        peer = f"{figure(one.peer)} ({one.peer_is})" if one.peer else "–"
        ratio = f"{one.ratio:.2f}" if one.ratio else "–"
        verdict = "reached" if one.reached else "**missed**"
        cells = (one.id, one.what, f"{figure(one.ours)} {one.unit}", peer, ratio, one.mark, verdict)
        lines.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    for one in findings:
        lines += ["", f"{one.id}: {one.note}."] if one.note else []
        lines += ["", *(f"- {line}" for line in one.profile)] if one.profile else []
    return "\n".join(lines) + "\n"


def figure(series: Series) -> str:
    """Median and spread."""
    low, high = series.spread
    if low == high:
        return number(low)
    return f"{number(series.median)} [{number(low)}–{number(high)}]"


def number(value: float) -> str:
    """Three digits that mean something."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def plot(findings: Sequence[Finding], path: Path) -> None:
    """How far each finding is from its mark: 1 is the mark, above it is better."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    shown = [(f"{one.id}  {one.what}", margin(one), one.reached) for one in findings][::-1]
    figure_, axes = pyplot.subplots(figsize=(10, 0.6 + 0.45 * len(shown)))
    colours = ["tab:green" if reached else "tab:red" for _, _, reached in shown]
    bars = axes.barh([name for name, _, _ in shown], [m for _, m, _ in shown], color=colours)
    axes.bar_label(bars, fmt=" %.2f")
    axes.axvline(1.0, color="black", linewidth=1)
    axes.set_xscale("log")
    axes.set_xlabel("times the mark (1 = reached; to the right is better)")
    axes.margins(x=0.15)
    figure_.tight_layout()
    figure_.savefig(path, dpi=120)
    pyplot.close(figure_)


def margin(finding: Finding) -> float:
    """How many times better than its mark a finding is."""
    value = finding.ours.median if finding.mark.of == "figure" else finding.ratio
    assert value is not None
    better = value / finding.mark.limit
    return better if finding.mark.sense == "at least" else 1 / better
