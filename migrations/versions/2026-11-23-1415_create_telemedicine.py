"""Create windows of grants, and remote consultations with their steps.

A migration runs while the previous version still serves: add, backfill in batches, and only remove in a later release.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "202611231415"
down_revision = "202611231350"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
STATES = "'booked', 'confirmed', 'open', 'closed', 'followed-up', 'cancelled', 'missed'"
STEPS = "'book', 'confirm', 'identify', 'open', 'record', 'prescribe', 'close', 'follow-up', 'cancel'"
WAYS = "'identity-card', 'insurance-card', 'known-to-staff', 'passport', 'video-and-card'"


def upgrade() -> None:
    op.create_table(
        "grant_window",
        sa.Column("grant_id", sa.Uuid(), nullable=False),
        sa.Column("opens_at", TIME, nullable=False),
        sa.Column("closes_at", TIME, nullable=False),
        sa.Column("opened_at", TIME, nullable=True),
        sa.Column("closed_at", TIME, nullable=True),
        sa.CheckConstraint("opens_at < closes_at", name=op.f("ck_grant_window_span")),
        sa.ForeignKeyConstraint(["grant_id"], ["sharing_grant.id"], name=op.f("fk_grant_window_grant_id_sharing_grant")),
        sa.PrimaryKeyConstraint("grant_id", name=op.f("pk_grant_window")),
    )
    op.create_table(
        "consultation",
        sa.Column("patient_key", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("application", sa.Text(), nullable=False),
        sa.Column("grant_id", sa.Uuid(), nullable=False),
        sa.Column("booker_id", sa.Uuid(), nullable=False),
        sa.Column("consultant_id", sa.Uuid(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("starts_at", TIME, nullable=False),
        sa.Column("ends_at", TIME, nullable=False),
        sa.Column("identified_by", sa.Text(), nullable=True),
        sa.Column("opened_at", TIME, nullable=True),
        sa.Column("closed_at", TIME, nullable=True),
        sa.Column("follow_up_due", sa.Date(), nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.CheckConstraint(f"status IN ({STATES})", name=op.f("ck_consultation_status")),
        sa.CheckConstraint(f"identified_by IN ({WAYS})", name=op.f("ck_consultation_identified_by")),
        sa.CheckConstraint("starts_at < ends_at", name=op.f("ck_consultation_span")),
        sa.ForeignKeyConstraint(["patient_key"], ["patient.patient_key"], name=op.f("fk_consultation_patient_key_patient")),
        sa.ForeignKeyConstraint(["grant_id"], ["sharing_grant.id"], name=op.f("fk_consultation_grant_id_sharing_grant")),
        sa.ForeignKeyConstraint(["booker_id"], ["person.id"], name=op.f("fk_consultation_booker_id_person")),
        sa.ForeignKeyConstraint(["consultant_id"], ["person.id"], name=op.f("fk_consultation_consultant_id_person")),
        sa.PrimaryKeyConstraint("patient_key", "id", name=op.f("pk_consultation")),
        sa.UniqueConstraint("grant_id", name=op.f("uq_consultation_grant_id")),
    )
    op.create_index("ix_consultation_number", "consultation", ["number"], unique=True)
    op.create_index("ix_consultation_starts_at", "consultation", ["starts_at"])
    op.create_index("ix_consultation_follow_up_due", "consultation", ["follow_up_due"], postgresql_where=sa.text("status IN ('open', 'closed')"))
    op.create_table(
        "consultation_step",
        sa.Column("patient_key", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("consultation_id", sa.Uuid(), nullable=False),
        sa.Column("step", sa.Text(), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=True),
        sa.Column("facts", postgresql.JSONB(), nullable=False),
        sa.Column("note_sealed", sa.LargeBinary(), nullable=True),
        sa.CheckConstraint(f"step IN ({STEPS})", name=op.f("ck_consultation_step_step")),
        sa.ForeignKeyConstraint(["patient_key"], ["patient.patient_key"], name=op.f("fk_consultation_step_patient_key_patient")),
        sa.ForeignKeyConstraint(
            ["patient_key", "consultation_id"],
            ["consultation.patient_key", "consultation.id"],
            name=op.f("fk_consultation_step_patient_key_consultation"),
        ),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_consultation_step_person_id_person")),
        sa.PrimaryKeyConstraint("patient_key", "id", name=op.f("pk_consultation_step")),
    )
    op.create_index("ix_consultation_step_consultation_id_at", "consultation_step", ["consultation_id", "at"])
    op.create_table(
        "consultation_number",
        sa.Column("year", sa.Integer(), nullable=False),
        sa.Column("last", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("year", name=op.f("pk_consultation_number")),
    )
    op.execute("GRANT SELECT, INSERT, UPDATE (opened_at, closed_at) ON grant_window TO broker_web")
    op.execute("GRANT SELECT, INSERT, UPDATE (status, identified_by, opened_at, closed_at, follow_up_due) ON consultation TO broker_web")
    op.execute("GRANT SELECT, INSERT ON consultation_step TO broker_web")
    op.execute("GRANT SELECT, INSERT, UPDATE (last) ON consultation_number TO broker_web")


def downgrade() -> None:
    for table in ("consultation_number", "consultation_step", "consultation", "grant_window"):
        op.drop_table(table)
