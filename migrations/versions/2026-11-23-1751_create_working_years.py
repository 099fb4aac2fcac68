"""Create the working calendar that a hospital enters.

A migration runs while the previous version still serves: add, backfill in batches, and only remove in a later release.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "202611231751"
down_revision = "202611231749"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "working_year",
        sa.Column("year", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("version", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("off", ARRAY(sa.Date()), nullable=False),
        sa.Column("worked", ARRAY(sa.Date()), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("published_on", sa.Date(), nullable=False),
        sa.Column("entered_by", sa.Text(), nullable=False),
        sa.Column("entered_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("year BETWEEN 2008 AND 2100", name=op.f("ck_working_year_year")),
        sa.PrimaryKeyConstraint("year", "version", name=op.f("pk_working_year")),
    )
    op.execute("GRANT SELECT, INSERT ON working_year TO broker_web")


def downgrade() -> None:
    op.drop_table("working_year")
