"""Who may call what, and the parameters that several endpoints share."""

from typing import Annotated

from fastapi import Path, Query
from pydantic import StringConstraints

from common.auth.guards import requires
from common.auth.principal import Principal, Role
from common.web.types import ExternalId

Reader = Annotated[Principal, requires(Role.OPERATIONS, Role.SUPERVISOR)]
"""Operations, supervisors and admins."""
ItemReader = Annotated[Principal, requires(Role.OPERATIONS, Role.AGENT)]
"""All staff."""
PolicyMaker = Annotated[Principal, requires(Role.OPERATIONS, Role.ADMIN)]
ShopSystem = Annotated[Principal, requires(Role.SYSTEM)]

TagName = Annotated[
    str, StringConstraints(min_length=1, max_length=64, pattern=r"^[a-z0-9_]+(\.[a-z0-9_]+)?$")
]
ProductPath = Annotated[ExternalId, Path(description="Product id of the platform.")]
ProductFilter = Annotated[ExternalId | None, Query(description="Only this product.")]
TagFilter = Annotated[TagName | None, Query(description="Only this tag.")]
