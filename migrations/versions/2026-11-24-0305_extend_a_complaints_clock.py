"""Let the day be moved by which a complaint is answered: where several departments must agree it has a longer clock (QA-4.2).

A migration runs while the previous version still serves: add, backfill in batches, and only remove in a later release.
"""

from alembic import op

revision = "202611240305"
down_revision = "202611240250"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("GRANT UPDATE (due_at) ON concern TO broker_web")


def downgrade() -> None:
    op.execute("REVOKE UPDATE (due_at) ON concern FROM broker_web")
