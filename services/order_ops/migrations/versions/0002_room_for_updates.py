"""Rows of order_ops that change often keep room on their pages."""

from alembic import op

from common.db.backbone import fill_pages_again, leave_room_for_updates

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

CHANGING = ("orders", "buyers", "reminders", "memos")


def upgrade() -> None:
    leave_room_for_updates(op, *CHANGING)


def downgrade() -> None:
    fill_pages_again(op, *CHANGING)
