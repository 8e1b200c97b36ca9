"""The taxonomy, and the shop's policy for tasks and spikes."""

from typing import Annotated

import msgspec
from fastapi import APIRouter, Response
from pydantic import Field

from common.contracts import OwnerRole
from common.web.etags import IfMatch, etag
from common.web.serving import RunningService
from common.web.types import AwareDatetime, Body, View
from feedback.api.callers import ItemReader, PolicyMaker, Reader
from feedback.commands import PolicySet, SetPolicy
from feedback.judging import policy_of_shop
from feedback.policies import DEADLINE_HOURS
from feedback.spikes import SpikeRules
from feedback.taxonomy import current_taxonomy

router = APIRouter(prefix="/v1", tags=["policies"])

Hours = Annotated[int, Field(strict=True, ge=1, le=24 * 90)]


class TaxonomyTag(View):
    """One kind of complaint."""

    tag: str
    zh: str
    en: str
    owner_role: OwnerRole


class TaxonomyCategory(View):
    """A group of tags."""

    category: str
    zh: str
    en: str
    tags: list[TaxonomyTag]


class TaxonomyView(View):
    """The taxonomy that new items are tagged with."""

    version: int
    categories: list[TaxonomyCategory]


class RulesBody(Body):
    """How strict the spike test is; docs/services/feedback.md explains each number."""

    window_days: Annotated[int, Field(strict=True, ge=1, le=14)] = 3
    guard_days: Annotated[int, Field(strict=True, ge=0, le=28)] = 4
    baseline_days: Annotated[int, Field(strict=True, ge=7, le=180)] = 28
    lag_days: Annotated[int, Field(strict=True, ge=1, le=60)] = 14
    min_hits: Annotated[int, Field(strict=True, ge=2, le=1000)] = 3
    page_fdr: Annotated[float, Field(ge=1e-9, le=0.2)] = 0.01
    digest_p: Annotated[float, Field(ge=1e-9, le=0.1)] = 0.001
    prior_hits: Annotated[float, Field(ge=0.01, le=100)] = 0.5
    prior_rate: Annotated[float, Field(ge=1e-6, le=1)] = 0.01


class PolicyBody(Body):
    """A whole policy; a department that is left out keeps its default."""

    deadline_hours: dict[OwnerRole, Hours] = Field(default_factory=dict)
    proof_days: Annotated[int, Field(strict=True, ge=1, le=90)] = 7
    rules: RulesBody = RulesBody()


class PolicyView(View):
    """The policy that holds."""

    deadline_hours: dict[str, int]
    proof_days: int
    rules: RulesBody
    changed_by: str
    changed_at: AwareDatetime | None
    version: int


class PolicyAccepted(View):
    """The version that now holds."""

    version: int


@router.get("/taxonomies/current")
async def current(_caller: ItemReader, response: Response) -> TaxonomyView:
    """The taxonomy, with Chinese and English names."""
    taxonomy = current_taxonomy()
    response.headers["ETag"] = etag(taxonomy.version)
    categories = [
        TaxonomyCategory(
            category=category.id,
            zh=category.zh,
            en=category.en,
            tags=[
                TaxonomyTag(
                    tag=rule.id, zh=rule.zh, en=rule.en, owner_role=rule.owner or category.owner
                )
                for rule in category.tags
            ],
        )
        for category in taxonomy.categories
    ]
    return TaxonomyView(version=taxonomy.version, categories=categories)


@router.get("/policies/current")
async def get_policy(caller: Reader, service: RunningService, response: Response) -> PolicyView:
    """Deadlines per department and the rules of the spike test."""
    async with service.database.read() as conn:
        policy = await policy_of_shop(conn, caller.shop_id)
    response.headers["ETag"] = etag(policy.edition)
    return PolicyView.model_validate(
        msgspec.to_builtins(policy) | {"changed_at": policy.changed_at, "version": policy.edition}
    )


@router.put("/policies/current")
async def put_policy(
    caller: PolicyMaker,
    service: RunningService,
    body: PolicyBody,
    expected: IfMatch,
    response: Response,
) -> PolicyAccepted:
    """Replace the policy."""
    command = SetPolicy(
        shop_id=caller.shop_id,
        deadline_hours=DEADLINE_HOURS | body.deadline_hours,
        proof_days=body.proof_days,
        rules=SpikeRules(**body.rules.model_dump()),
        by=caller.subject,
        expected=expected,
    )
    accepted: PolicySet = await service.submit(command)
    response.headers["ETag"] = etag(accepted.edition)
    return PolicyAccepted(version=accepted.edition)
