"""New migrations: the difference between a service's models and what its migrations make."""

from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa
from alembic import command
from alembic.script import ScriptDirectory

from common.db.migrate import alembic_config

if TYPE_CHECKING:
    from common.runtime import ServiceDefinition


def create_migration(definition: "ServiceDefinition", message: str) -> Path:
    """Writes the next migration of a service, compared on an empty SQLite database."""
    engine = sa.create_engine("sqlite://")
    with engine.connect() as connection:
        config = alembic_config(definition.migrations, {"connection": connection})
        command.upgrade(config, "head")
        made = command.revision(
            config, message=message, autogenerate=True, rev_id=_next_id(definition.migrations)
        )
    revision = made[0] if isinstance(made, list) else made
    if revision is None:
        raise RuntimeError("no migration was made")
    return Path(revision.path)


def _next_id(folder: Path) -> str:
    head = ScriptDirectory.from_config(alembic_config(folder)).get_current_head()
    return f"{int(head or '0') + 1:04d}"
