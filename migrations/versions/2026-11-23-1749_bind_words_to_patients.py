"""Say which complaint is whose, so that its words lie under the patient's key; and let words that name a destroyed patient be overwritten (PI-3.5).

A migration runs while the previous version still serves: add, backfill in batches, and only remove in a later release. Words that are
there are sealed anew by the worker (``feedback.reseal`` and the like of obligations, incidents, retention): a migration holds no keys.
"""

import sqlalchemy as sa
from alembic import op

revision = "202611231749"
down_revision = "202611231748"
branch_labels = None
depends_on = None

#: The planner's samples of a column are copies of it.
SECRETS = (
    ("concern", "text_sealed"),
    ("concern_answer", "text_sealed"),
    ("incident", "summary_sealed"),
    ("incident", "cause_sealed"),
    ("incident", "measures_sealed"),
    ("incident_step", "text_sealed"),
    ("incident_notice", "text_sealed"),
    ("violation", "told_sealed"),
    ("violation", "heard_sealed"),
    ("violation", "reasons_sealed"),
    ("violation", "appeal_sealed"),
    ("obligation", "evidence_sealed"),
    ("recall_notice", "evidence_sealed"),
)


def upgrade() -> None:
    op.create_table(
        "concern_patient",
        sa.Column("patient_key", sa.Uuid(), nullable=False),
        sa.Column("concern_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["patient_key"], ["patient.patient_key"], name=op.f("fk_concern_patient_patient_key_patient")),
        sa.ForeignKeyConstraint(["concern_id"], ["concern.id"], name=op.f("fk_concern_patient_concern_id_concern")),
        sa.PrimaryKeyConstraint("patient_key", "concern_id", name=op.f("pk_concern_patient")),
    )
    op.create_index("ix_concern_patient_concern_id", "concern_patient", ["concern_id"], unique=True)
    op.execute("GRANT SELECT, INSERT ON concern_patient TO broker_web")
    op.execute("GRANT UPDATE (text_sealed) ON concern TO broker_web")
    op.execute("GRANT UPDATE (text_sealed) ON concern_answer TO broker_web")
    op.execute("GRANT UPDATE (text_sealed) ON incident_step TO broker_web")
    for table, column in SECRETS:
        op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} SET STATISTICS 0")


def downgrade() -> None:
    op.execute("REVOKE UPDATE (text_sealed) ON incident_step FROM broker_web")
    op.execute("REVOKE UPDATE (text_sealed) ON concern_answer FROM broker_web")
    op.execute("REVOKE UPDATE (text_sealed) ON concern FROM broker_web")
    op.drop_table("concern_patient")
