"""Rows of feedback that change often keep room on their pages."""

from alembic import op

from common.db.backbone import fill_pages_again, leave_room_for_updates

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

CHANGING = ("threads", "hits", "daily_hits", "daily_orders", "spikes", "tasks")


def upgrade() -> None:
    leave_room_for_updates(op, *CHANGING)


def downgrade() -> None:
    fill_pages_again(op, *CHANGING)
