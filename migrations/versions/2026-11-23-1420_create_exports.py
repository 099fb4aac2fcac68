"""Create bulk exports.

A migration runs while the previous version still serves: add, backfill in batches, and only remove in a later release.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "202611231420"
down_revision = "202611231405"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
TABLES = ("export", "export_chunk", "export_part", "export_segment", "export_file")


def upgrade() -> None:
    op.create_table(
        "export",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("grant_id", sa.Uuid(), nullable=False),
        sa.Column("application", sa.Text(), nullable=False),
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("claims", postgresql.JSONB(), nullable=False),
        sa.Column("asked", postgresql.JSONB(), nullable=False),
        sa.Column("patients", postgresql.ARRAY(sa.Uuid()), nullable=True),
        sa.Column("request", sa.Text(), nullable=False),
        sa.Column("form", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("transaction_time", TIME, nullable=False),
        sa.Column("finished_at", TIME, nullable=True),
        sa.Column("expires_at", TIME, nullable=False),
        sa.CheckConstraint("status IN ('accepted', 'running', 'done', 'cancelled', 'expired')", name=op.f("ck_export_status")),
        sa.CheckConstraint("form IN ('stu3', 'stu4')", name=op.f("ck_export_form")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_export")),
    )
    op.create_index("ix_export_client_id_created_at", "export", ["client_id", "created_at"])
    op.create_index("ix_export_expires_at", "export", ["expires_at"])
    op.create_table(
        "export_chunk",
        sa.Column("export_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("cut", sa.Integer(), nullable=False),
        sa.Column("patients", sa.Integer(), nullable=False),
        sa.CheckConstraint("status IN ('waiting', 'done')", name=op.f("ck_export_chunk_status")),
        sa.ForeignKeyConstraint(["export_id"], ["export.id"], name=op.f("fk_export_chunk_export_id_export")),
        sa.PrimaryKeyConstraint("export_id", "number", name=op.f("pk_export_chunk")),
    )
    op.create_table(
        "export_part",
        sa.Column("patient_key", sa.Uuid(), nullable=False),
        sa.Column("export_id", sa.Uuid(), nullable=False),
        sa.Column("chunk", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=True),
        sa.Column("basis", sa.Text(), nullable=True),
        sa.Column("object", sa.Text(), nullable=True),
        sa.CheckConstraint("status IN ('waiting', 'written', 'nothing', 'failed')", name=op.f("ck_export_part_status")),
        sa.ForeignKeyConstraint(["export_id"], ["export.id"], name=op.f("fk_export_part_export_id_export")),
        sa.ForeignKeyConstraint(["patient_key"], ["patient.patient_key"], name=op.f("fk_export_part_patient_key_patient")),
        sa.PrimaryKeyConstraint("patient_key", "export_id", name=op.f("pk_export_part")),
    )
    op.create_index("ix_export_part_export_id_chunk_position", "export_part", ["export_id", "chunk", "position"])
    op.create_table(
        "export_segment",
        sa.Column("patient_key", sa.Uuid(), nullable=False),
        sa.Column("export_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("resources", sa.Integer(), nullable=False),
        sa.Column("plain_bytes", sa.BigInteger(), nullable=False),
        sa.Column("packed_bytes", sa.BigInteger(), nullable=False),
        sa.Column("manifest", sa.LargeBinary(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.Column("object_from", sa.BigInteger(), nullable=True),
        sa.Column("sealed_bytes", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("kind IN ('output', 'deleted')", name=op.f("ck_export_segment_kind")),
        sa.CheckConstraint("(body IS NULL) = (object_from IS NOT NULL)", name=op.f("ck_export_segment_body")),
        sa.ForeignKeyConstraint(
            ["patient_key", "export_id"], ["export_part.patient_key", "export_part.export_id"], name="fk_export_segment_part", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("patient_key", "export_id", "kind", "type", name=op.f("pk_export_segment")),
    )
    # Sealed bytes don't compress; PostgreSQL needn't try.
    op.execute("ALTER TABLE export_segment ALTER COLUMN body SET STORAGE EXTERNAL")
    op.create_table(
        "export_file",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("export_id", sa.Uuid(), nullable=False),
        sa.Column("chunk", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("resources", sa.Integer(), nullable=False),
        sa.Column("plain_bytes", sa.BigInteger(), nullable=False),
        sa.Column("packed_bytes", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["export_id"], ["export.id"], name=op.f("fk_export_file_export_id_export")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_export_file")),
    )
    op.create_index("ix_export_file_export_id_chunk", "export_file", ["export_id", "chunk"])
    op.execute("GRANT SELECT, INSERT, UPDATE ON export TO broker_web")
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON export_chunk, export_part, export_segment, export_file TO broker_web")


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_table(table)
