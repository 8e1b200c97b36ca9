import sqlalchemy as sa
from alembic import op

from common.db.backbone import create_backbone, drop_backbone
from common.db.types import UtcDateTime

revision = "0001"
down_revision = None


def upgrade() -> None:
    create_backbone(op)
    op.create_table(
        "tallies",
        sa.Column("shop_id", sa.Text, primary_key=True),
        sa.Column("product_id", sa.Text, primary_key=True),
        sa.Column("count", sa.Integer, nullable=False),
        sa.Column("texts", sa.JSON, nullable=False),
        sa.Column("changed_at", UtcDateTime, nullable=True),
        sa.Column("version", sa.Integer, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("tallies")
    drop_backbone(op)
