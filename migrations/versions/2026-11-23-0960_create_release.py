"""Create release: the manifest of each sending.

A migration runs while the previous version still serves: add, backfill in batches, and only remove in a later release.
"""

import sqlalchemy as sa
from alembic import op

revision = "202611230960"
down_revision = "202611230950"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "release",
        sa.Column("patient_key", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("grant_id", sa.Uuid(), nullable=False),
        sa.Column("application", sa.Text(), nullable=False),
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("intent", sa.Uuid(), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("items", sa.Integer(), nullable=False),
        sa.Column("held_back", sa.Integer(), nullable=False),
        sa.Column("body_bytes", sa.Integer(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("plan", sa.Text(), nullable=False),
        sa.Column("policy_revision", sa.Text(), nullable=False),
        sa.Column("manifest", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("outcome IN ('sent', 'partial', 'failed')", name=op.f("ck_release_outcome")),
        sa.PrimaryKeyConstraint("patient_key", "id", name=op.f("pk_release")),
    )
    op.create_index("ix_release_id", "release", ["id"])
    op.create_index("ix_release_grant_id_sent_at", "release", ["grant_id", "sent_at"])
    op.execute("GRANT SELECT, INSERT ON release TO broker_web")


def downgrade() -> None:
    op.drop_table("release")
