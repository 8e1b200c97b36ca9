"""What the shop measured of itself over the day: the services' own metrics, and the verdict."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from kefu.replay.http import Http, Urls
from kefu.replay.people import CHAT
from kefu.replay.report import Report, tables
from kefu.tokens import Issuer

if TYPE_CHECKING:
    from rich.console import RenderableType

FIGURES_SECONDS = 30.0


class ServiceFigures(Struct, frozen=True, kw_only=True):
    """Today's figures of all agents together, as chat_router reports them. Seconds; shares 0-1.

    The 3-minute rate and rounds count what was asked between 08:00 and 24:00 shop time.
    """

    rounds: int
    rounds_within_3min: int
    rate_within_3min: float | None
    unanswered_rounds: int
    first_response_seconds: float | None
    response_seconds: float | None
    buyers_received: int
    buyers_replied: int
    agents: Sequence[Mapping[str, Any]] = ()


class LoadReport(Struct, frozen=True, kw_only=True):
    """The day that was played, what the shop measured, and what the check found."""

    profile: str
    seed: int
    buyers: int
    minutes: float
    peak_factor: float
    service: ServiceFigures
    report: Report


async def read_figures(urls: Urls, issuer: Issuer) -> ServiceFigures:
    """Asks chat_router as a supervisor."""
    http = Http(urls, patience=FIGURES_SECONDS)
    try:
        token = issuer.token("load-supervisor", "supervisor")
        answer = await http.get(CHAT, "/v1/metrics/response_times", token)
    finally:
        await http.close()
    return together(answer.body["items"])


def together(items: Sequence[Mapping[str, Any]]) -> ServiceFigures:
    """The figures of all agents as one: means weighted by what each is a mean of."""
    served = [one for one in items if one["agent_id"] is not None]
    rounds, within = (_sum(items, name) for name in ("rounds", "rounds_within_3min"))
    return ServiceFigures(
        rounds=rounds,
        rounds_within_3min=within,
        rate_within_3min=round(within / rounds, 4) if rounds else None,
        unanswered_rounds=_sum(items, "unanswered_rounds"),
        first_response_seconds=_mean(served, "average_first_response_seconds", "buyers_replied"),
        response_seconds=_mean(served, "average_response_seconds", "rounds"),
        buyers_received=_sum(items, "buyers_received"),
        buyers_replied=_sum(items, "buyers_replied"),
        agents=[{k: v for k, v in one.items() if k != "unreplied_buyer_ids"} for one in items],
    )


def _sum(items: Sequence[Mapping[str, Any]], name: str) -> int:
    return sum(int(one[name]) for one in items)


def _mean(items: Sequence[Mapping[str, Any]], name: str, weight: str) -> float | None:
    counted = [(one[name], one[weight]) for one in items if one[name] is not None]
    total = sum(count for _, count in counted)
    return round(sum(value * count for value, count in counted) / total, 3) if total else None


def load_tables(load: LoadReport) -> "RenderableType":
    """The whole result for a terminal, the verdict last."""
    from rich.console import Group
    from rich.table import Table

    title = f"{load.profile} · seed {load.seed} · {load.buyers} buyers in {load.minutes:g} min"
    table = Table(title=title, title_justify="left")
    table.add_column("", style="bold", no_wrap=True)
    table.add_column("", overflow="fold")
    for name, text in _rows(load):
        table.add_row(name, text)
    return Group(tables(load.report), table)


def _rows(load: LoadReport) -> list[tuple[str, str]]:
    service = load.service
    rate = service.rate_within_3min
    return [
        ("peak", f"{load.peak_factor:.1f} × the day's average"),
        ("first response", _seconds(service.first_response_seconds)),
        ("response", _seconds(service.response_seconds)),
        ("answered within 3 min", "-" if rate is None else f"{rate:.1%} of {service.rounds}"),
        ("buyers", f"{service.buyers_replied} of {service.buyers_received} got an answer"),
        ("verdict", "passed" if load.report.passed else "FAILED"),
    ]


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s on average"
