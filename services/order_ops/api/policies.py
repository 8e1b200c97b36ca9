"""The shop's reminder policy."""

from datetime import datetime
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import msgspec
from fastapi import APIRouter, Request, Response
from pydantic import AfterValidator, Field, model_validator

from common.web.etags import IfMatch, etag, not_modified
from common.web.serving import RunningService
from common.web.types import Body, Fen, Line, Text, View, is_time_zone

from .. import store
from ..reminder_policies import (
    Anchor,
    PolicyTerms,
    ReminderPolicy,
    SetReminderPolicy,
    Stage,
    default_policy,
)
from .callers import PolicyReader, Supervisor

router = APIRouter(prefix="/v1", tags=["reminders"])

MAX_SPAN_SECONDS = 30 * 86_400
_DAY_SECONDS = 86_400


def _known_zone(name: str) -> str:
    if not is_time_zone(name):
        raise ValueError("not a time zone such as Asia/Shanghai")
    ZoneInfo(name)
    return name


Clock = Annotated[
    str,
    Field(
        pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$",
        description="HH:MM shop time.",
        examples=["22:00"],
    ),
]
Zone = Annotated[str, Field(max_length=64, examples=["Asia/Shanghai"]), AfterValidator(_known_zone)]
Span = Annotated[int, Field(strict=True, ge=0, le=MAX_SPAN_SECONDS, description="Seconds.")]


class StageBody(Body):
    """One stage: a moment between `earliest_seconds` and `latest_seconds` from its anchor.

    `text` may use `{title}`, `{amount}` and `{hours_left}`.
    """

    stage: int = Field(strict=True, ge=1, le=20)
    anchor: Anchor
    earliest_seconds: Span
    latest_seconds: Span
    text: Annotated[Text, Field(max_length=1000)]

    @model_validator(mode="after")
    def _is_a_range(self) -> "StageBody":
        if self.earliest_seconds > self.latest_seconds:
            raise ValueError("earliest_seconds must not be greater than latest_seconds")
        return self


class PolicyBody(Body):
    """When the shop reminds buyers to pay.

    `grades`: member grades that may be reminded, empty for all. `minimum_fen`: smaller amounts
    are not reminded. `holdout_basis_points` of 10,000 orders are never reminded, to measure what
    reminding earns. Nothing is sent between `quiet_from` and `quiet_until`; equal times mean no
    quiet hours. What could not be decided `late_tolerance_seconds` after its time is expired;
    `minimum_gap_seconds` is the least time between two stages of one order.
    """

    enabled: bool
    stages: list[StageBody] = Field(max_length=20)
    max_per_day: int = Field(strict=True, ge=0, le=10)
    quiet_from: Clock
    quiet_until: Clock
    time_zone: Zone
    minimum_fen: Fen
    grades: list[Annotated[Line, Field(max_length=64)]] = Field(max_length=50)
    recent_purchase_seconds: int = Field(strict=True, ge=0, le=15 * _DAY_SECONDS)
    live_chat_seconds: int = Field(strict=True, ge=0, le=_DAY_SECONDS)
    minimum_gap_seconds: int = Field(strict=True, ge=0, le=_DAY_SECONDS)
    late_tolerance_seconds: int = Field(strict=True, ge=60, le=_DAY_SECONDS)
    acknowledge_seconds: int = Field(strict=True, ge=30, le=_DAY_SECONDS)
    holdout_basis_points: int = Field(strict=True, ge=0, le=5000)

    @model_validator(mode="after")
    def _stages_are_distinct(self) -> "PolicyBody":
        numbers = [stage.stage for stage in self.stages]
        if len(set(numbers)) != len(numbers):
            raise ValueError("two stages have the same number")
        return self

    def terms(self) -> PolicyTerms:
        """The same as the use case takes it."""
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        fields["stages"] = tuple(Stage(**stage.model_dump()) for stage in self.stages)
        fields["grades"] = tuple(self.grades)
        return PolicyTerms(**fields)


class StageView(View):
    """One stage of the policy."""

    stage: int
    anchor: Anchor
    earliest_seconds: int
    latest_seconds: int
    text: str


class PolicyView(View):
    """The policy in force. `edition` 0 is the default that nobody has changed."""

    enabled: bool
    stages: list[StageView]
    max_per_day: int
    quiet_from: str
    quiet_until: str
    time_zone: str
    minimum_fen: int
    grades: list[str]
    recent_purchase_seconds: int
    live_chat_seconds: int
    minimum_gap_seconds: int
    late_tolerance_seconds: int
    acknowledge_seconds: int
    holdout_basis_points: int
    edition: int
    changed_by: str
    changed_at: datetime | None


@router.get("/reminder_policies/current", response_model=PolicyView)
async def get_policy(
    caller: PolicyReader, service: RunningService, request: Request, response: Response
) -> Any:
    """The shop's reminder policy, with its edition as ETag."""
    async with service.database.read() as conn:
        row = await store.policy(conn, caller.shop_id)
    shown = row or msgspec.to_builtins(default_policy(caller.shop_id))
    headers = {"ETag": etag(shown["edition"])}
    if not_modified(request.headers.get("if-none-match"), shown["edition"]):
        return Response(status_code=304, headers=headers)
    response.headers.update(headers)
    return PolicyView.model_validate(shown)


@router.put("/reminder_policies/current")
async def put_policy(
    caller: Supervisor,
    expected: IfMatch,
    body: PolicyBody,
    service: RunningService,
    response: Response,
) -> PolicyView:
    """Replace the shop's reminder policy, naming the edition that it replaces."""
    command = SetReminderPolicy(
        shop_id=caller.shop_id,
        expected=expected,
        terms=body.terms(),
        actor=caller.subject,
    )
    policy: ReminderPolicy = await service.submit(command)
    response.headers["ETag"] = etag(policy.edition)
    return PolicyView.model_validate(policy)
