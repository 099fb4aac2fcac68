"""Create records: patients with their keys, sealed resources, blinded identifiers.

A migration runs while the previous version still serves: add, backfill in batches, and only remove in a later release.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "202611230930"
down_revision = "202611230920"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "key_fingerprint",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_key_fingerprint_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_key_fingerprint")),
    )
    op.create_table(
        "patient",
        sa.Column("patient_key", sa.Uuid(), nullable=False),
        sa.Column("wrapped_key", sa.LargeBinary(), nullable=False),
        sa.Column("fhir_id_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("patient_key", name=op.f("pk_patient")),
    )
    op.create_table(
        "resource",
        sa.Column("patient_key", sa.Uuid(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("id_token", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("last_updated", sa.DateTime(timezone=True), nullable=False),
        sa.Column("clinical_from", sa.DateTime(timezone=True), nullable=True),
        sa.Column("clinical_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("labels", postgresql.ARRAY(sa.BigInteger()), nullable=False),
        sa.Column("links", postgresql.ARRAY(sa.Uuid()), nullable=False),
        sa.Column("content_hash", sa.LargeBinary(), nullable=False),
        sa.Column("superseded", postgresql.ARRAY(sa.LargeBinary()), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["patient_key"], ["patient.patient_key"], name=op.f("fk_resource_patient_key_patient")),
        sa.PrimaryKeyConstraint("patient_key", "type", "id_token", name=op.f("pk_resource")),
    )
    # Bodies are already compressed and sealed: trying again would only cost time.
    op.execute("ALTER TABLE resource ALTER COLUMN body SET STORAGE EXTERNAL")
    op.create_index(op.f("ix_resource_id_token"), "resource", ["id_token"])
    op.create_table(
        "identifier",
        sa.Column("patient_key", sa.Uuid(), nullable=False),
        sa.Column("token", sa.LargeBinary(), nullable=False),
        sa.Column("id_token", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["patient_key"], ["patient.patient_key"], name=op.f("fk_identifier_patient_key_patient")),
        sa.PrimaryKeyConstraint("patient_key", "token", "id_token", name=op.f("pk_identifier")),
    )
    op.create_index(op.f("ix_identifier_token"), "identifier", ["token"])
    op.execute("GRANT SELECT, INSERT ON key_fingerprint TO broker_web")
    op.execute("GRANT SELECT, INSERT, UPDATE (epoch) ON patient TO broker_web")
    op.execute("GRANT SELECT, INSERT, UPDATE ON resource TO broker_web")
    op.execute("GRANT SELECT, INSERT, DELETE ON identifier TO broker_web")


def downgrade() -> None:
    for table in ("identifier", "resource", "patient", "key_fingerprint"):
        op.drop_table(table)
