"""Create obligations: the ledger of what recipients owe, recalls and what was done about them.

A migration runs while the previous version still serves: add, backfill in batches, and only remove in a later release.
"""

import sqlalchemy as sa
from alembic import op

revision = "202611231350"
down_revision = "202611231345"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "recall",
        sa.Column("patient_key", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("event", sa.Uuid(), nullable=True),
        sa.Column("issued_at", TIME, nullable=False),
        sa.Column("issued_by", sa.Text(), nullable=False),
        sa.Column("due_on", sa.Date(), nullable=False),
        sa.ForeignKeyConstraint(["patient_key"], ["patient.patient_key"], name=op.f("fk_recall_patient_key_patient")),
        sa.PrimaryKeyConstraint("patient_key", "id", name=op.f("pk_recall")),
        sa.UniqueConstraint("event", name=op.f("uq_recall_event")),
    )
    op.create_index("ix_recall_id", "recall", ["id"], unique=True)
    op.create_index("ix_recall_number", "recall", ["number"], unique=True)
    op.create_table(
        "recall_notice",
        sa.Column("patient_key", sa.Uuid(), nullable=False),
        sa.Column("recall_id", sa.Uuid(), nullable=False),
        sa.Column("application", sa.Text(), nullable=False),
        sa.Column("recipient_id", sa.Text(), nullable=False),
        sa.Column("releases", sa.Integer(), nullable=False),
        sa.Column("done", sa.Text(), nullable=True),
        sa.Column("method", sa.Text(), nullable=True),
        sa.Column("evidence_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("evidence_digest", sa.Text(), nullable=True),
        sa.Column("answered_at", TIME, nullable=True),
        sa.Column("answered_by", sa.Text(), nullable=True),
        sa.Column("escalated_at", TIME, nullable=True),
        sa.ForeignKeyConstraint(
            ["patient_key", "recall_id"], ["recall.patient_key", "recall.id"], name=op.f("fk_recall_notice_patient_key_recall_id_recall")
        ),
        sa.ForeignKeyConstraint(["recipient_id"], ["organization.id"], name=op.f("fk_recall_notice_recipient_id_organization")),
        sa.PrimaryKeyConstraint("patient_key", "recall_id", "application", name=op.f("pk_recall_notice")),
    )
    op.create_index("ix_recall_notice_recall_id", "recall_notice", ["recall_id"])
    op.create_index("ix_recall_notice_recipient_id", "recall_notice", ["recipient_id"])
    op.create_table(
        "obligation",
        sa.Column("patient_key", sa.Uuid(), nullable=False),
        sa.Column("grant_id", sa.Uuid(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("due_on", sa.Date(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("application", sa.Text(), nullable=False),
        sa.Column("recipient_id", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("releases", sa.Integer(), nullable=False),
        sa.Column("first_release", sa.Uuid(), nullable=False),
        sa.Column("first_at", TIME, nullable=False),
        sa.Column("last_at", TIME, nullable=False),
        sa.Column("method", sa.Text(), nullable=True),
        sa.Column("evidence_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("evidence_digest", sa.Text(), nullable=True),
        sa.Column("answered_at", TIME, nullable=True),
        sa.Column("answered_by", sa.Text(), nullable=True),
        sa.Column("escalated_at", TIME, nullable=True),
        sa.CheckConstraint("status IN ('open', 'fulfilled', 'kept', 'waived')", name=op.f("ck_obligation_status")),
        sa.ForeignKeyConstraint(["grant_id"], ["sharing_grant.id"], name=op.f("fk_obligation_grant_id_sharing_grant")),
        sa.ForeignKeyConstraint(["patient_key"], ["patient.patient_key"], name=op.f("fk_obligation_patient_key_patient")),
        sa.ForeignKeyConstraint(["recipient_id"], ["organization.id"], name=op.f("fk_obligation_recipient_id_organization")),
        sa.PrimaryKeyConstraint("patient_key", "grant_id", "code", "due_on", name=op.f("pk_obligation")),
    )
    op.create_index("ix_obligation_application_code", "obligation", ["application", "code"])
    op.create_index("ix_obligation_due_on", "obligation", ["due_on"], postgresql_where=sa.text("status = 'open'"))
    op.create_index("ix_obligation_id", "obligation", ["id"], unique=True)
    op.create_index("ix_obligation_recipient_id_due_on", "obligation", ["recipient_id", "due_on"])
    op.execute("GRANT SELECT, INSERT, UPDATE ON obligation, recall_notice TO broker_web")
    op.execute("GRANT SELECT, INSERT ON recall TO broker_web")


def downgrade() -> None:
    op.drop_table("obligation")
    op.drop_table("recall_notice")
    op.drop_table("recall")
