"""Create consent: consents as they stand now, and every version there ever was.

A migration runs while the previous version still serves: add, backfill in batches, and only remove in a later release.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "202611230940"
down_revision = "202611230930"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "consent",
        sa.Column("patient_key", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("dialect", sa.Text(), nullable=False),
        sa.Column("speaks_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("issued_from", sa.DateTime(timezone=True), nullable=True),
        sa.Column("issued_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("identifiers", postgresql.ARRAY(sa.LargeBinary()), nullable=False),
        sa.Column("request_token", sa.LargeBinary(), nullable=True),
        sa.Column("content_hash", sa.LargeBinary(), nullable=False),
        sa.Column("filed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("replaced_by", sa.Uuid(), nullable=True),
        sa.Column("residual", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("status IN ('active', 'inactive')", name=op.f("ck_consent_status")),
        sa.ForeignKeyConstraint(["patient_key"], ["patient.patient_key"], name=op.f("fk_consent_patient_key_patient")),
        sa.PrimaryKeyConstraint("patient_key", "id", name=op.f("pk_consent")),
    )
    op.create_index(op.f("ix_consent_id"), "consent", ["id"])
    op.create_index("ix_consent_identifiers", "consent", ["identifiers"], postgresql_using="gin")
    op.create_index(op.f("ix_consent_request_token"), "consent", ["request_token"])
    op.create_table(
        "consent_version",
        sa.Column("patient_key", sa.Uuid(), nullable=False),
        sa.Column("consent_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("change", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("residual", sa.LargeBinary(), nullable=False),
        sa.Column("evidence", sa.LargeBinary(), nullable=True),
        sa.CheckConstraint("status IN ('active', 'inactive')", name=op.f("ck_consent_version_status")),
        sa.ForeignKeyConstraint(
            ["patient_key", "consent_id"], ["consent.patient_key", "consent.id"], name=op.f("fk_consent_version_patient_key_consent")
        ),
        sa.PrimaryKeyConstraint("patient_key", "consent_id", "version", name=op.f("pk_consent_version")),
    )
    # What is in force changes; what was said and done is only ever added to.
    op.execute("GRANT SELECT, INSERT, UPDATE ON consent TO broker_web")
    op.execute("GRANT SELECT, INSERT ON consent_version TO broker_web")


def downgrade() -> None:
    for table in ("consent_version", "consent"):
        op.drop_table(table)
