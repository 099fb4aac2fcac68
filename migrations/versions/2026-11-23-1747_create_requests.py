"""Create requests of patients and their steps.

A migration runs while the previous version still serves: add, backfill in batches, and only remove in a later release.
"""

import sqlalchemy as sa
from alembic import op

revision = "202611231747"
down_revision = "202611231746"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "patient_request_number",
        sa.Column("year", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("last", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("year", name=op.f("pk_patient_request_number")),
    )
    op.create_table(
        "patient_request",
        sa.Column("patient_key", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("received_at", TIME, nullable=False),
        sa.Column("received_by", sa.Text(), nullable=False),
        sa.Column("due_on", sa.Date(), nullable=False),
        sa.Column("extended", sa.Boolean(), nullable=False),
        sa.Column("answered_at", TIME, nullable=True),
        sa.Column("decided_by", sa.Text(), nullable=True),
        sa.Column("ground", sa.Text(), nullable=True),
        sa.Column("order_number", sa.Text(), nullable=True),
        sa.Column("lifted_at", TIME, nullable=True),
        sa.Column("text_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("asker_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("answer_sealed", sa.LargeBinary(), nullable=True),
        sa.CheckConstraint(
            "kind IN ('copy', 'portability', 'correction', 'restriction', 'deletion', 'explanation')", name=op.f("ck_patient_request_kind")
        ),
        sa.CheckConstraint("by IN ('self', 'guardian', 'next-of-kin')", name=op.f("ck_patient_request_by")),
        sa.CheckConstraint(
            "status IN ('to-identify', 'received', 'ordered', 'fulfilled', 'refused', 'appealed', 'upheld', 'withdrawn')",
            name=op.f("ck_patient_request_status"),
        ),
        sa.ForeignKeyConstraint(["patient_key"], ["patient.patient_key"], name=op.f("fk_patient_request_patient_key_patient")),
        sa.PrimaryKeyConstraint("patient_key", "id", name=op.f("pk_patient_request")),
    )
    op.create_index("ix_patient_request_id", "patient_request", ["id"], unique=True)
    op.create_index("ix_patient_request_number", "patient_request", ["number"], unique=True)
    op.create_index("ix_patient_request_status_due_on", "patient_request", ["status", "due_on"])
    op.create_index("ix_patient_request_received_at", "patient_request", ["received_at"])
    op.create_table(
        "patient_request_step",
        sa.Column("patient_key", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("request_id", sa.Uuid(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("text_sealed", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(
            ["patient_key", "request_id"],
            ["patient_request.patient_key", "patient_request.id"],
            name=op.f("fk_patient_request_step_patient_key_patient_request"),
        ),
        sa.PrimaryKeyConstraint("patient_key", "id", name=op.f("pk_patient_request_step")),
    )
    op.create_index("ix_patient_request_step_request_id", "patient_request_step", ["request_id", "at"])
    op.execute("GRANT SELECT, INSERT, UPDATE ON patient_request_number, patient_request TO broker_web")
    op.execute("GRANT SELECT, INSERT ON patient_request_step TO broker_web")


def downgrade() -> None:
    op.drop_table("patient_request_step")
    op.drop_table("patient_request")
    op.drop_table("patient_request_number")
