"""Create upstream servers.

A migration runs while the previous version still serves: add, backfill in batches, and only remove in a later release.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "202611231745"
down_revision = "202611231735"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "upstream_server",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("base_url", sa.Text(), nullable=False),
        sa.Column("token_endpoint", sa.Text(), nullable=True),
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("export_path", sa.Text(), nullable=False),
        sa.Column("types", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("every_minutes", sa.Integer(), nullable=False),
        sa.Column("max_age_hours", sa.Integer(), nullable=True),
        sa.Column("full_every_days", sa.Integer(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("full", sa.Boolean(), nullable=False),
        sa.Column("since", TIME, nullable=True),
        sa.Column("began_at", TIME, nullable=True),
        sa.Column("done", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("pending", sa.Text(), nullable=True),
        sa.Column("accepted", sa.BigInteger(), nullable=False),
        sa.Column("refused", sa.BigInteger(), nullable=False),
        sa.Column("succeeded_at", TIME, nullable=True),
        sa.Column("fully_at", TIME, nullable=True),
        sa.Column("stale_after", TIME, nullable=True),
        sa.Column("tried_at", TIME, nullable=True),
        sa.Column("error", sa.Text(), nullable=False),
        sa.CheckConstraint("mode IN ('search', 'bulk')", name=op.f("ck_upstream_server_mode")),
        sa.ForeignKeyConstraint(["organization_id"], ["organization.id"], name=op.f("fk_upstream_server_organization_id_organization")),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_upstream_server")),
    )
    op.create_table(
        "upstream_resource",
        sa.Column("patient_key", sa.Uuid(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("id_token", sa.Uuid(), nullable=False),
        sa.Column("server", sa.Text(), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("gone", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["patient_key"], ["patient.patient_key"], name=op.f("fk_upstream_resource_patient_key_patient")),
        sa.ForeignKeyConstraint(["server"], ["upstream_server.name"], name=op.f("fk_upstream_resource_server_upstream_server")),
        sa.PrimaryKeyConstraint("patient_key", "type", "id_token", name=op.f("pk_upstream_resource")),
    )
    op.create_index("ix_upstream_resource_server_type_round", "upstream_resource", ["server", "type", "round"])
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON upstream_server, upstream_resource TO broker_web")


def downgrade() -> None:
    op.drop_table("upstream_resource")
    op.drop_table("upstream_server")
