"""Show beside each access right when it was last used, so that whoever confirms it knows (PI-3.2b).

A migration runs while the previous version still serves: add, backfill in batches, and only remove in a later release.
"""

import sqlalchemy as sa
from alembic import op

revision = "202611231748"
down_revision = "202611231747"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("recertification", sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("recertification", sa.Column("unused", sa.Boolean(), server_default=sa.false(), nullable=False))


def downgrade() -> None:
    op.drop_column("recertification", "unused")
    op.drop_column("recertification", "last_used_at")
