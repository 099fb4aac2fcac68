"""Create emergencies and violations; an account can be barred.

A migration runs while the previous version still serves: add, backfill in batches, and only remove in a later release.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "202611231430"
down_revision = "202611231422"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "emergency_access",
        sa.Column("patient_key", sa.Uuid(), nullable=False),
        sa.Column("application", sa.Text(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("natural_person", sa.Text(), nullable=False),
        sa.Column("second_factor", sa.Boolean(), nullable=False),
        sa.Column("opened_at", TIME, nullable=False),
        sa.Column("closes_at", TIME, nullable=False),
        sa.Column("review_due_at", TIME, nullable=False),
        sa.Column("contact_told_at", TIME, nullable=True),
        sa.Column("reviewed_at", TIME, nullable=True),
        sa.Column("reviewed_by", sa.Text(), nullable=True),
        sa.Column("verdict", sa.Text(), nullable=True),
        sa.Column("incident", sa.Text(), nullable=True),
        sa.Column("note_sealed", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(["patient_key"], ["patient.patient_key"], name=op.f("fk_emergency_access_patient_key_patient")),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_emergency_access_person_id_person")),
        sa.PrimaryKeyConstraint("patient_key", "application", name=op.f("pk_emergency_access")),
    )
    op.create_index("ix_emergency_access_application", "emergency_access", ["application"], unique=True)
    op.create_index("ix_emergency_access_review_due_at", "emergency_access", ["review_due_at"], postgresql_where=sa.text("reviewed_at IS NULL"))
    op.create_table(
        "violation",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=True),
        sa.Column("organization_id", sa.Text(), nullable=True),
        sa.Column("grounds", sa.Text(), nullable=False),
        sa.Column("evidence", postgresql.JSONB(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("opened_at", TIME, nullable=False),
        sa.Column("opened_by", sa.Text(), nullable=False),
        sa.Column("hearing_until", TIME, nullable=False),
        sa.Column("sanction", sa.Text(), nullable=True),
        sa.Column("days", sa.Integer(), nullable=True),
        sa.Column("proposed_by", sa.Text(), nullable=True),
        sa.Column("decided_by", sa.Text(), nullable=True),
        sa.Column("decided_at", TIME, nullable=True),
        sa.Column("ends_at", TIME, nullable=True),
        sa.Column("appeal_until", TIME, nullable=True),
        sa.Column("ended_at", TIME, nullable=True),
        sa.Column("in_force", sa.Boolean(), nullable=False),
        sa.Column("told_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("heard_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("reasons_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("appeal_sealed", sa.LargeBinary(), nullable=True),
        sa.CheckConstraint(
            "status IN ('opened', 'heard', 'proposed', 'decided', 'appealed', 'upheld', 'ended', 'dismissed')", name=op.f("ck_violation_status")
        ),
        sa.CheckConstraint("(person_id IS NULL) <> (organization_id IS NULL)", name=op.f("ck_violation_accused")),
        sa.ForeignKeyConstraint(["organization_id"], ["organization.id"], name=op.f("fk_violation_organization_id_organization")),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_violation_person_id_person")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_violation")),
        sa.UniqueConstraint("number", name=op.f("uq_violation_number")),
    )
    op.create_index("ix_violation_opened_at", "violation", ["opened_at"])
    op.create_index("ix_violation_person_id", "violation", ["person_id"])
    op.add_column("person", sa.Column("barred_at", TIME, nullable=True))
    op.execute("GRANT SELECT, INSERT, UPDATE ON emergency_access, violation TO broker_web")


def downgrade() -> None:
    op.drop_column("person", "barred_at")
    op.drop_table("violation")
    op.drop_table("emergency_access")
