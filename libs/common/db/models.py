"""What the tables of a service are declared with: their registry, and indexes of some rows."""

import sqlalchemy as sa
from sqlalchemy.orm import registry

from common.db.backbone import backbone_tables


def partial_index(name: str, *columns: str, where: str, unique: bool = False) -> sa.Index:
    """An index of the rows that meet a condition, on either database.

    A query uses it only if it states the condition in the same words.
    """
    only = sa.text(where)
    return sa.Index(name, *columns, unique=unique, postgresql_where=only, sqlite_where=only)


def service_registry() -> registry:
    """A registry with metadata of its own, the backbone tables already in it.

    Each service declares `class ChatTable(SQLModel, registry=service_registry())` and derives
    its tables from it, so that no service's tables or migrations ever see another's.
    """
    metadata = sa.MetaData()
    backbone_tables(metadata)
    return registry(metadata=metadata)
