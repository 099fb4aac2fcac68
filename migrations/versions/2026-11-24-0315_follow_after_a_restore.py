"""Readers of the log go on after a restore, and what was cut off is found without reading every intent (G3, F-22).

A migration runs while the previous version still serves: a column with a constant default and a small index only add. Making the index reads the
log once, about a second for a million entries, in which nothing is recorded.
"""

import sqlalchemy as sa
from alembic import op

revision = "202611240315"
down_revision = "202611240305"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("log_follower", sa.Column("done_seq", sa.BigInteger(), server_default="0", nullable=False))
    op.execute("GRANT UPDATE (done_seq) ON log_follower TO broker_web")
    op.create_index("ix_audit_event_cut_off", "audit_event", ["id"], postgresql_where=sa.text("type = 'release.unknown'"))


def downgrade() -> None:
    op.drop_index("ix_audit_event_cut_off", table_name="audit_event")
    op.drop_column("log_follower", "done_seq")
