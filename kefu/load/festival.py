"""The profile `festival`: one festival day, compressed into minutes."""

import hashlib
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from kefu.load.buyers import REMINDER_SECONDS, STORIES, pays_in_the_storm
from kefu.load.curve import CLOSES, arrivals
from kefu.replay.script import Line, Numbered, Script

STORM_SHARE = 0.15
STORM_HOURS = (10.0, 20.0, 20.5)
"""When coupons are released: those who waited order and pay all at once."""

REMINDERS: Mapping[str, Any] = {
    "stages": [
        {
            "stage": 1,
            "anchor": "after_creation",
            "earliest_seconds": REMINDER_SECONDS[0],
            "latest_seconds": REMINDER_SECONDS[1],
            "text": "亲,您拍下的「{title}」还没有付款,应付 {amount} 元,今天付款今天就发。",
        }
    ],
    "quiet_from": "00:00",
    "quiet_until": "00:00",
    "minimum_gap_seconds": 1,
    "holdout_basis_points": 0,
}
CHAT: Mapping[str, Any] = {"heartbeat_timeout_seconds": 10, "grace_seconds": 3}
ABSENT_SECONDS = (3.0, 20.0)
"""Some staff are back before anybody noticed, some lose their buyers to others."""


class Festival(Struct, frozen=True, kw_only=True):
    """How big a day: `minutes` are real ones, for what takes a day otherwise."""

    buyers: int = 200
    minutes: float = 3.0
    seed: int = 1
    agents: Sequence[str] = ()

    @property
    def seconds(self) -> float:
        """How long buyers keep arriving, in real seconds."""
        return self.minutes * 60


def script_of(day: Festival) -> Script:
    """The day as a script. The same day gives the same script, byte for byte."""
    lines = tuple(Numbered(n, line) for n, line in enumerate(_lines(day), start=1))
    raw = b"\n".join(msgspec.json.encode(one.line) for one in lines)
    return Script(hashlib.sha256(raw).hexdigest(), lines)


def _lines(day: Festival) -> Iterator[Line]:
    yield Line(policy={"reminders": dict(REMINDERS), "chat": dict(CHAT)})
    chance = random.Random(day.seed)
    in_storms = round(day.buyers * STORM_SHARE)
    yield from sorted_by_time(
        [
            *_ordinary(day, day.buyers - in_storms, chance),
            *_storms(day, in_storms, chance),
            *_staff(day, chance),
        ]
    )


def sorted_by_time(stories: Sequence[Sequence[Line]]) -> Iterator[Line]:
    """All lines, the stories by their beginnings: a lane keeps the order of its own lines."""
    for story in sorted(stories, key=lambda lines: lines[0].at):
        yield from story


def _ordinary(day: Festival, count: int, chance: random.Random) -> Iterator[list[Line]]:
    stories, shares = zip(*STORIES, strict=True)
    for number, hour in enumerate(arrivals(count, chance), start=1):
        story = chance.choices(stories, weights=shares)[0]
        yield list(story(f"f{number:05d}", hour / CLOSES * day.seconds, chance))


def _storms(day: Festival, count: int, chance: random.Random) -> Iterator[list[Line]]:
    for number in range(1, count + 1):
        hour = STORM_HOURS[number % len(STORM_HOURS)]
        at = hour / CLOSES * day.seconds + chance.uniform(0, 0.5)
        yield list(pays_in_the_storm(f"s{number:05d}", at, chance))


def _staff(day: Festival, chance: random.Random) -> Iterator[list[Line]]:
    """Everybody drops off once, one after the other, and comes back."""
    if not day.agents:
        return
    apart = day.seconds / (len(day.agents) + 1)
    for place, agent in enumerate(chance.sample(list(day.agents), k=len(day.agents)), start=1):
        leaves = place * apart + chance.uniform(-0.2, 0.2) * apart
        back = leaves + min(chance.uniform(*ABSENT_SECONDS), apart)
        yield [
            Line(at=leaves, agent=agent, presence="dropped"),
            Line(at=back, agent=agent, presence="online"),
        ]
