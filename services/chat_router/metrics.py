"""Response figures per agent and day, from rounds. Pure; see response_times for what a round is."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import msgspec

from .response_times import Round, is_counted, seconds


class AgentFigures(msgspec.Struct, frozen=True, kw_only=True):
    """One agent's figures; `agent_id` None is for buyers whom nobody had yet. Seconds; shares
    between 0 and 1. `rounds` and the 3-minute rate (旺旺3分钟响应率) are over rounds asked
    08:00-24:00 shop time; `reply_rate` (旺旺回复率) is buyers replied to over buyers received."""

    agent_id: str | None
    rounds: int
    rounds_within_3min: int
    rate_within_3min: float | None
    unanswered_rounds: int
    average_response_seconds: float | None
    average_first_response_seconds: float | None
    buyers_received: int
    buyers_replied: int
    reply_rate: float | None
    unreplied_buyer_ids: tuple[str, ...]


def day_span(day: date, zone: ZoneInfo, days: int = 1) -> tuple[datetime, datetime]:
    """Start and end of the `days` shop days that end with `day`."""
    end = datetime.combine(day + timedelta(days=1), time(0), zone)
    return datetime.combine(day - timedelta(days=days - 1), time(0), zone), end


def figures_by_agent(rounds: Iterable[Round], zone: ZoneInfo) -> list[AgentFigures]:
    """The figures of every agent who had a round, by agent id."""
    by_agent: dict[str | None, list[Round]] = defaultdict(list)
    for one in rounds:
        by_agent[one.agent_id].append(one)
    ordered = sorted(by_agent.items(), key=lambda item: (item[0] is None, item[0] or ""))
    return [figures(agent_id, theirs, zone) for agent_id, theirs in ordered]


def figures(agent_id: str | None, rounds: list[Round], zone: ZoneInfo) -> AgentFigures:
    """The figures of these rounds."""
    counted = [one for one in rounds if is_counted(one.asked_at, zone)]
    within = sum(one.within_3min for one in counted)
    received = {one.buyer_id for one in rounds}
    replied = {one.buyer_id for one in rounds if one.answered_at is not None}
    return AgentFigures(
        agent_id=agent_id,
        rounds=len(counted),
        rounds_within_3min=within,
        rate_within_3min=_share(within, len(counted)),
        unanswered_rounds=sum(one.answered_at is None for one in counted),
        average_response_seconds=_average(rounds),
        average_first_response_seconds=_average(one for one in rounds if one.first),
        buyers_received=len(received),
        buyers_replied=len(replied),
        reply_rate=_share(len(replied), len(received)),
        unreplied_buyer_ids=tuple(sorted(received - replied)),
    )


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


def _average(rounds: Iterable[Round]) -> float | None:
    waits = [wait for one in rounds if (wait := seconds(one)) is not None]
    return round(sum(waits) / len(waits), 3) if waits else None
