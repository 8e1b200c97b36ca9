"""A shop's own rules: opening hours, greeting, time-outs, affinity, warning, what counts."""

from datetime import datetime, time
from typing import Annotated, Self
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Meta

from common.runtime import Work

_CLOCK_PATTERN = r"^([01][0-9]|2[0-3]):[0-5][0-9]$|^24:00$"

TimeOfDay = Annotated[str, Meta(pattern=_CLOCK_PATTERN)]


class OpeningHours(msgspec.Struct, frozen=True, kw_only=True):
    """One span of one weekday (0 = Monday), shop time; `closes` may be 24:00."""

    weekday: Annotated[int, Meta(ge=0, le=6)]
    opens: TimeOfDay
    closes: TimeOfDay


class ShopSettings(msgspec.Struct, kw_only=True):
    """The rules of a shop; a shop that never set any has these defaults.

    No `hours` at all means always open. `closed_dates` are holidays, `YYYY-MM-DD`.
    `near_hours` and `far_hours` are the tiers of last-agent affinity.
    """

    shop_id: str
    timezone: str = "Asia/Shanghai"
    hours: tuple[OpeningHours, ...] = ()
    closed_dates: tuple[str, ...] = ()
    greeting_zh: str = "亲,您好!已收到您的消息,客服马上就来。"
    greeting_en: str = "Hello! We have your message; an agent will be with you in a moment."
    closed_greeting_zh: str = "亲,现在不在营业时间,您的留言已收到,开门后会按先后顺序尽快回复您。"
    closed_greeting_en: str = "We are closed now. Your message is kept and answered first thing."
    heartbeat_timeout_seconds: int = 60
    grace_seconds: int = 60
    near_hours: int = 24
    far_hours: int = 72
    warning_seconds: int = 100
    transfer_wait_seconds: int = 120
    idle_close_seconds: int = 1800
    default_capacity: int = 5
    bot_replies_count: bool = False
    edition: int = 0

    @property
    def zone(self) -> ZoneInfo:
        """The shop's time zone."""
        return ZoneInfo(self.timezone)

    @property
    def greeting(self) -> str:
        """What a buyer is told at once (自动问候), Chinese first."""
        return _both(self.greeting_zh, self.greeting_en)

    @property
    def closed_greeting(self) -> str:
        """What a buyer is told at once outside opening hours."""
        return _both(self.closed_greeting_zh, self.closed_greeting_en)


class EditedSettings(ShopSettings, kw_only=True):
    """The same row while it is being edited: locked, where messages only read it."""

    @classmethod
    def fresh(cls, shop_id: str) -> Self:
        """The defaults of a shop without settings of its own."""
        return cls(shop_id=shop_id)


def _both(chinese: str, english: str) -> str:
    return "\n".join(text for text in (chinese, english) if text)


def is_open_at(settings: ShopSettings, now: datetime) -> bool:
    """Whether the shop serves buyers at `now`. A span's end is not part of it."""
    if not settings.hours:
        return True
    local = now.astimezone(settings.zone)
    if local.date().isoformat() in settings.closed_dates:
        return False
    return any(_covers(span, local) for span in settings.hours)


def _covers(span: OpeningHours, local: datetime) -> bool:
    if span.weekday != local.weekday():
        return False
    return time.fromisoformat(span.opens) <= local.time() and (
        span.closes == "24:00" or local.time() < time.fromisoformat(span.closes)
    )


def settings_of(work: Work, shop_id: str) -> ShopSettings:
    """The shop's rules, or the defaults."""
    return work.get(ShopSettings, shop_id) or ShopSettings(shop_id=shop_id)
