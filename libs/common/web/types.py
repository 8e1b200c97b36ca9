"""Field types that endpoints share: bounded, and free of what a table cannot hold.

PostgreSQL stores no null byte, and control characters are of no use to anyone but an attacker
(log and terminal injection). Bounds match those of the events (common.contracts.vocabulary), so
that what passes here passes there.
"""

import re
from datetime import UTC, date, datetime
from functools import cache
from importlib.resources import files
from typing import Annotated
from zoneinfo import available_timezones

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
)
from pydantic import AwareDatetime as PydanticAwareDatetime

from common.contracts.vocabulary import MAX_FEN

_RFC3339 = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
LATEST = datetime(2200, 1, 1, tzinfo=UTC)

ShopId = Annotated[
    str,
    StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.-]+$"),
    Field(description="A shop. Always the token's own; any other is refused.", examples=["demo"]),
]
ExternalId = Annotated[
    str,
    StringConstraints(
        min_length=1,
        max_length=128,
        pattern=r"""^[^\s\x00-\x20\x7f-\xa0/\\"'<>`]+$""",
    ),
    Field(description="An identifier given by a shop system or a platform."),
]
Uuid = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"),
    Field(description="An identifier given by this product."),
]
Line = Annotated[
    str,
    StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f-\x9f]+$"),
    Field(description="One line of text, without control characters."),
]
Text = Annotated[
    str,
    StringConstraints(
        min_length=1, max_length=4000, pattern=r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]+$"
    ),
    Field(description="Text of several lines, without other control characters."),
]
Fen = Annotated[
    int,
    Field(strict=True, ge=0, le=MAX_FEN, description="Money in whole fen, never negative."),
]
Version = Annotated[int, Field(ge=0, le=2**53 - 1, description="Version of a resource.")]


def _rfc3339(value: object) -> object:
    if isinstance(value, str) and not _RFC3339.fullmatch(value):
        raise ValueError("a time is written as in RFC 3339, with its offset")
    if not isinstance(value, str | datetime):
        raise ValueError("a time is a string as in RFC 3339")
    return value


def _utc(value: datetime) -> datetime:
    if not EARLIEST <= value <= LATEST:
        raise ValueError("a time lies between 1970 and 2200")
    return value.astimezone(UTC)


AwareDatetime = Annotated[
    PydanticAwareDatetime,
    BeforeValidator(_rfc3339),
    AfterValidator(_utc),
    Field(
        description="RFC 3339 with an offset; answered in UTC.", examples=["2026-03-08T10:10:15Z"]
    ),
]


def _in_the_calendar(day: str) -> str:
    date.fromisoformat(day)
    return day


Day = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"),
    AfterValidator(_in_the_calendar),
    Field(description="A local day of the shop.", json_schema_extra={"format": "date"}),
]


def is_time_zone(name: str) -> bool:
    """Whether this is a name of the IANA database, such as Asia/Shanghai."""
    return name in _listed_zones() or name in available_timezones()


@cache
def _listed_zones() -> frozenset[str]:
    # One file of names; `available_timezones` opens the file of every zone there is, 30 ms of
    # the loop for each rule that is written.
    return frozenset((files("tzdata") / "zones").read_text("utf-8").split())


class Body(BaseModel):
    """Base of request bodies: unknown members are refused, so that a slip shows at once."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class View(BaseModel):
    """Base of answers."""

    model_config = ConfigDict(frozen=True, from_attributes=True)
