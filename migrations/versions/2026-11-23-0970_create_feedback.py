"""Create feedback.

A migration runs while the previous version still serves: add, backfill in batches, and only remove in a later release.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "202611230970"
down_revision = "202611230960"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "feedback",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("grant_id", sa.Uuid(), nullable=False),
        sa.Column("application", sa.Text(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=True),
        sa.Column("client_id", sa.Text(), nullable=True),
        sa.Column("at", TIME, nullable=False),
        sa.Column("used", sa.Boolean(), nullable=False),
        sa.Column("purpose_met", sa.Text(), nullable=True),
        sa.Column("elements_used", postgresql.JSONB(), nullable=False),
        sa.Column("examinations_avoided", sa.Integer(), nullable=False),
        sa.Column("data_problems", postgresql.JSONB(), nullable=False),
        sa.Column("onward_disclosure", sa.Boolean(), nullable=False),
        sa.Column("deletion_done", sa.Boolean(), nullable=False),
        sa.Column("comment_sealed", sa.LargeBinary(), nullable=True),
        sa.CheckConstraint("(person_id IS NULL) <> (client_id IS NULL)", name=op.f("ck_feedback_author")),
        sa.CheckConstraint("examinations_avoided >= 0", name=op.f("ck_feedback_examinations_avoided")),
        sa.ForeignKeyConstraint(["grant_id"], ["sharing_grant.id"], name=op.f("fk_feedback_grant_id_sharing_grant")),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_feedback_person_id_person")),
        sa.ForeignKeyConstraint(["client_id"], ["client.id"], name=op.f("fk_feedback_client_id_client")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_feedback")),
    )
    op.create_index("ix_feedback_grant_id_at", "feedback", ["grant_id", "at"])
    op.create_index("ix_feedback_at", "feedback", ["at"])
    op.execute("GRANT SELECT, INSERT ON feedback TO broker_web")


def downgrade() -> None:
    op.drop_table("feedback")
