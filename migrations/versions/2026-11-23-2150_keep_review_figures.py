"""Keep the figures of a quarter as pages show them, with the moment of which they speak (RS-7.1).

A migration runs while the previous version still serves: add, backfill in batches, and only remove in a later release. What is kept here is reckoned
from other tables and may be emptied at any time.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "202611232150"
down_revision = "202611231751"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "review_figures",
        sa.Column("quarter", sa.Text(), nullable=False),
        sa.Column("document", postgresql.JSONB(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("quarter", name=op.f("pk_review_figures")),
    )
    op.execute("GRANT SELECT, INSERT, UPDATE ON review_figures TO broker_web")


def downgrade() -> None:
    op.drop_table("review_figures")
