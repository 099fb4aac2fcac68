"""Create the patients' way in: one-time codes and sessions.

A migration runs while the previous version still serves: add, backfill in batches, and only remove in a later release.
"""

import sqlalchemy as sa
from alembic import op

revision = "202611231422"
down_revision = "202611231428"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "patient_code",
        sa.Column("patient_key", sa.Uuid(), nullable=False),
        sa.Column("code_hash", sa.LargeBinary(), nullable=False),
        sa.Column("given_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("patient_key", name=op.f("pk_patient_code")),
    )
    op.create_index("ix_patient_code_expires_at", "patient_code", ["expires_at"])
    op.create_table(
        "patient_session",
        sa.Column("patient_key", sa.Uuid(), nullable=False),
        sa.Column("secret_hash", sa.LargeBinary(), nullable=False),
        sa.Column("last_used_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("patient_key", "secret_hash", name=op.f("pk_patient_session")),
    )
    op.create_index("ix_patient_session_expires_at", "patient_session", ["expires_at"])
    op.create_index("ix_patient_session_secret_hash", "patient_session", ["secret_hash"])
    for table in ("patient_code", "patient_session"):
        op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO broker_web")


def downgrade() -> None:
    op.drop_table("patient_session")
    op.drop_table("patient_code")
