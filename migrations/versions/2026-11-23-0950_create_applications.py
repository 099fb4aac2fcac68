"""Create applications.

A migration runs while the previous version still serves: add, backfill in batches, and only remove in a later release.
"""

import sqlalchemy as sa
import sqlmodel
from alembic import op

revision = "202611230950"
down_revision = "202611230940"
branch_labels = None
depends_on = None


def upgrade() -> None:
    pass


def downgrade() -> None:
    pass
