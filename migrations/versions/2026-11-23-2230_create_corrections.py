"""Create corrections that one person brings and another agrees to.

A migration runs while the previous version still serves: add, backfill in batches, and only remove in a later release.
"""

import sqlalchemy as sa
from alembic import op

revision = "202611232230"
down_revision = "202611232224"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "patient_correction",
        sa.Column("patient_key", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("request_id", sa.Uuid(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("proposed_at", TIME, nullable=False),
        sa.Column("proposed_by", sa.Text(), nullable=False),
        sa.Column("natural_person", sa.Text(), nullable=False),
        sa.Column("decided_at", TIME, nullable=True),
        sa.Column("decided_by", sa.Text(), nullable=True),
        sa.Column("body_sealed", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("status IN ('proposed', 'agreed', 'returned')", name=op.f("ck_patient_correction_status")),
        sa.ForeignKeyConstraint(
            ["patient_key", "request_id"],
            ["patient_request.patient_key", "patient_request.id"],
            name=op.f("fk_patient_correction_patient_key_patient_request"),
        ),
        sa.PrimaryKeyConstraint("patient_key", "id", name=op.f("pk_patient_correction")),
    )
    op.create_index(
        "uq_patient_correction_waiting", "patient_correction", ["patient_key", "request_id"], unique=True,
        postgresql_where=sa.text("status = 'proposed'"),
    )  # fmt: skip
    op.execute("GRANT SELECT, INSERT, UPDATE ON patient_correction TO broker_web")


def downgrade() -> None:
    op.drop_table("patient_correction")
