"""Opening hours, in the shop's own time."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from chat_router.shop_settings import OpeningHours, ShopSettings, is_open_at

DAILY = tuple(OpeningHours(weekday=day, opens="09:00", closes="23:00") for day in range(7))


def shop_time(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("Asia/Shanghai")).astimezone(UTC)


@pytest.mark.parametrize(
    "moment, is_open",
    [
        ("2026-03-02T08:59:59", False),
        ("2026-03-02T09:00:00", True),
        ("2026-03-02T22:59:59", True),
        ("2026-03-02T23:00:00", False),
        ("2026-03-03T00:30:00", False),
    ],
)
def test_hours_are_shop_time_and_end_before_their_end(moment: str, is_open: bool) -> None:
    settings = ShopSettings(shop_id="demo", hours=DAILY)

    assert is_open_at(settings, shop_time(moment)) is is_open


def test_shop_without_hours_is_always_open() -> None:
    assert is_open_at(ShopSettings(shop_id="demo"), shop_time("2026-03-02T03:00:00"))


def test_until_midnight_means_until_the_last_second() -> None:
    settings = ShopSettings(
        shop_id="demo", hours=(OpeningHours(weekday=0, opens="09:00", closes="24:00"),)
    )

    assert is_open_at(settings, shop_time("2026-03-02T23:59:59"))
    assert not is_open_at(settings, shop_time("2026-03-03T00:00:00"))


def test_holiday_is_closed_all_day() -> None:
    settings = ShopSettings(shop_id="demo", hours=DAILY, closed_dates=("2026-03-02",))

    assert not is_open_at(settings, shop_time("2026-03-02T12:00:00"))
    assert is_open_at(settings, shop_time("2026-03-03T12:00:00"))


def test_greeting_is_chinese_first_with_english_beneath() -> None:
    settings = ShopSettings(shop_id="demo", greeting_zh="您好", greeting_en="Hello")

    assert settings.greeting == "您好\nHello"
    assert ShopSettings(shop_id="demo", greeting_zh="", greeting_en="Hi").greeting == "Hi"
