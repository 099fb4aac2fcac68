"""Create what else the consent registry keeps: disclosures, subscriptions, notices, askings with their evidence, who was told of a withdrawal.

A migration runs while the previous version still serves: add, backfill in batches, and only remove in a later release.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "202611231345"
down_revision = "202611231338"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
TABLES = (
    "consent_withdrawal_told",
    "consent_evidence",
    "consent_asking",
    "consent_notice",
    "consent_change_told",
    "consent_subscription",
    "consent_disclosure",
)


def _of_consent(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["patient_key", "consent_id"], ["consent.patient_key", "consent.id"], name=op.f(f"fk_{table}_patient_key_consent_id_consent")
    )


def upgrade() -> None:
    op.create_table(
        "consent_disclosure",
        sa.Column("patient_key", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("consent_id", sa.Uuid(), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        _of_consent("consent_disclosure"),
        sa.PrimaryKeyConstraint("patient_key", "id", name=op.f("pk_consent_disclosure")),
    )
    op.create_index(op.f("ix_consent_disclosure_patient_key_consent_id"), "consent_disclosure", ["patient_key", "consent_id"])
    op.create_table(
        "consent_subscription",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("given", sa.LargeBinary(), nullable=False),
        sa.Column("events", sa.BigInteger(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("until", TIME, nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_at", TIME, nullable=False),
        sa.CheckConstraint("status IN ('requested', 'active', 'error', 'off')", name=op.f("ck_consent_subscription_status")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_consent_subscription")),
    )
    op.create_index(op.f("ix_consent_subscription_owner"), "consent_subscription", ["owner"])
    op.create_table(
        "consent_change_told",
        sa.Column("patient_key", sa.Uuid(), nullable=False),
        sa.Column("subscription_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("consent_id", sa.Uuid(), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_at", TIME, nullable=False),
        sa.Column("done_at", TIME, nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.CheckConstraint("status IN ('waiting', 'sent', 'failed')", name=op.f("ck_consent_change_told_status")),
        sa.ForeignKeyConstraint(
            ["subscription_id"], ["consent_subscription.id"], name=op.f("fk_consent_change_told_subscription_id_consent_subscription")
        ),
        _of_consent("consent_change_told"),
        sa.PrimaryKeyConstraint("patient_key", "subscription_id", "number", name=op.f("pk_consent_change_told")),
    )
    op.create_index("ix_consent_change_told_next_at", "consent_change_told", ["next_at"], postgresql_where=sa.text("status = 'waiting'"))
    op.create_table(
        "consent_notice",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("content", postgresql.JSONB(), nullable=False),
        sa.Column("made_at", TIME, nullable=False),
        sa.Column("made_by", sa.Text(), nullable=False),
        sa.Column("retired_at", TIME, nullable=True),
        sa.CheckConstraint("version > 0", name=op.f("ck_consent_notice_version")),
        sa.PrimaryKeyConstraint("name", "version", name=op.f("pk_consent_notice")),
    )
    op.create_table(
        "consent_asking",
        sa.Column("patient_key", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("notice", sa.Text(), nullable=False),
        sa.Column("notice_version", sa.Integer(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.Column("asked", sa.LargeBinary(), nullable=False),
        sa.Column("consent_id", sa.Uuid(), nullable=True),
        sa.Column("at", TIME, nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("record", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("answer IN ('given', 'refused')", name=op.f("ck_consent_asking_answer")),
        sa.ForeignKeyConstraint(
            ["notice", "notice_version"],
            ["consent_notice.name", "consent_notice.version"],
            name=op.f("fk_consent_asking_notice_notice_version_consent_notice"),
        ),
        sa.ForeignKeyConstraint(["patient_key"], ["patient.patient_key"], name=op.f("fk_consent_asking_patient_key_patient")),
        _of_consent("consent_asking"),
        sa.PrimaryKeyConstraint("patient_key", "id", name=op.f("pk_consent_asking")),
    )
    op.create_index(op.f("ix_consent_asking_patient_key_asked"), "consent_asking", ["patient_key", "asked"])
    op.create_table(
        "consent_evidence",
        sa.Column("patient_key", sa.Uuid(), nullable=False),
        sa.Column("asking_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("content_hash", sa.LargeBinary(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("kind IN ('document', 'image', 'questionnaire-response', 'witness')", name=op.f("ck_consent_evidence_kind")),
        sa.ForeignKeyConstraint(
            ["patient_key", "asking_id"],
            ["consent_asking.patient_key", "consent_asking.id"],
            name=op.f("fk_consent_evidence_patient_key_asking_id_consent_asking"),
        ),
        sa.PrimaryKeyConstraint("patient_key", "asking_id", "number", name=op.f("pk_consent_evidence")),
    )
    op.create_table(
        "consent_withdrawal_told",
        sa.Column("patient_key", sa.Uuid(), nullable=False),
        sa.Column("consent_id", sa.Uuid(), nullable=False),
        sa.Column("recipient", sa.Text(), nullable=False),
        sa.Column("releases", sa.Integer(), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("acknowledged_at", TIME, nullable=True),
        sa.Column("acknowledged_by", sa.Text(), nullable=True),
        sa.Column("destroyed", sa.Boolean(), nullable=True),
        _of_consent("consent_withdrawal_told"),
        sa.PrimaryKeyConstraint("patient_key", "consent_id", "recipient", name=op.f("pk_consent_withdrawal_told")),
    )
    op.create_index(
        "ix_consent_withdrawal_told_recipient", "consent_withdrawal_told", ["recipient"], postgresql_where=sa.text("acknowledged_at IS NULL")
    )
    for table in ("consent_disclosure", "consent_asking", "consent_evidence"):
        op.execute(f"GRANT SELECT, INSERT ON {table} TO broker_web")
    op.execute("GRANT SELECT, INSERT, UPDATE (status, events, attempts, next_at) ON consent_subscription TO broker_web")
    op.execute("GRANT SELECT, INSERT, UPDATE (status, attempts, next_at, done_at, error) ON consent_change_told TO broker_web")
    op.execute("GRANT SELECT, INSERT, UPDATE (retired_at) ON consent_notice TO broker_web")
    op.execute("GRANT SELECT, INSERT, UPDATE (acknowledged_at, acknowledged_by, destroyed) ON consent_withdrawal_told TO broker_web")


def downgrade() -> None:
    for table in TABLES:
        op.drop_table(table)
