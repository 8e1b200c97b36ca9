"""Policies count their changes themselves, as those of the other services do."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "policies", sa.Column("edition", sa.Integer(), nullable=False, server_default="0")
    )
    op.execute("UPDATE policies SET edition = version")


def downgrade() -> None:
    op.drop_column("policies", "edition")
