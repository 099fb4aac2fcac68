"""Keep the evidence of a case with its place in the log, its hash and its receipt; and what a sanction ended, so that an appeal gives it back.

A migration runs while the previous version still serves: add, backfill in batches, and only remove in a later release. Cases that the previous
version opens meanwhile have no entries; pages work them out from the log.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "202611240250"
down_revision = "202611232310"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("violation", sa.Column("entries", postgresql.JSONB(), server_default=sa.text("'[]'::jsonb"), nullable=False))
    op.add_column("violation", sa.Column("agreement_before", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    op.drop_column("violation", "agreement_before")
    op.drop_column("violation", "entries")
