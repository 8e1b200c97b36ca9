"""The registry behind the SQLModel base class of a service's tables."""

import sqlalchemy as sa
from sqlalchemy.orm import registry

from common.db.backbone import backbone_tables


def service_registry() -> registry:
    """A registry with metadata of its own, the backbone tables already in it.

    Each service declares `class ChatTable(SQLModel, registry=service_registry())` and derives
    its tables from it, so that no service's tables or migrations ever see another's.
    """
    metadata = sa.MetaData()
    backbone_tables(metadata)
    return registry(metadata=metadata)
