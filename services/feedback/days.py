"""The shop's calendar: complaints and orders are counted per local day."""

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

SHOP_ZONE = ZoneInfo("Asia/Shanghai")
"""Every supported platform states its times and its days in this zone."""


def shop_day(moment: datetime) -> str:
    """The local day of an aware moment as `YYYY-MM-DD`, which sorts as it counts."""
    return moment.astimezone(SHOP_ZONE).date().isoformat()


def day_after(day: str, days: int) -> str:
    """The day `days` later (earlier when negative)."""
    return (date.fromisoformat(day) + timedelta(days=days)).isoformat()


def day_start(day: str) -> datetime:
    """The moment a local day begins, aware."""
    return datetime.combine(date.fromisoformat(day), datetime.min.time(), SHOP_ZONE)
