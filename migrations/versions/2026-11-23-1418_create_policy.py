"""Create policy: kept revisions, their schedule, decisions with their questions sealed, what OPA tells.

A migration runs while the previous version still serves: add, backfill in batches, and only remove in a later release.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "202611231418"
down_revision = "202611231352"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
TEXTS = postgresql.ARRAY(sa.Text())


def upgrade() -> None:
    op.create_table(
        "policy_revision",
        sa.Column("revision", sa.Text(), nullable=False),
        sa.Column("files", sa.LargeBinary(), nullable=False),
        sa.Column("based_on", sa.Text(), nullable=False),
        sa.Column("author", sa.Uuid(), nullable=False),
        sa.Column("author_natural", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("changed", TEXTS, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("tests", postgresql.JSONB(), nullable=True),
        sa.Column("replay", postgresql.JSONB(), nullable=True),
        sa.CheckConstraint("state IN ('draft', 'tested', 'replayed', 'approved', 'withdrawn')", name=op.f("ck_policy_revision_state")),
        sa.ForeignKeyConstraint(["author"], ["person.id"], name=op.f("fk_policy_revision_author_person")),
        sa.PrimaryKeyConstraint("revision", name=op.f("pk_policy_revision")),
    )
    op.create_table(
        "policy_activation",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("revision", sa.Text(), nullable=False),
        sa.Column("effective_at", TIME, nullable=False),
        sa.Column("decided_by", sa.Uuid(), nullable=False),
        sa.Column("decided_at", TIME, nullable=False),
        sa.Column("way_back", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["revision"], ["policy_revision.revision"], name=op.f("fk_policy_activation_revision_policy_revision")),
        sa.ForeignKeyConstraint(["decided_by"], ["person.id"], name=op.f("fk_policy_activation_decided_by_person")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_policy_activation")),
        sa.UniqueConstraint("effective_at", name=op.f("uq_policy_activation_effective_at")),
    )
    op.create_table(
        "policy_decision",
        sa.Column("patient_key", sa.Uuid(), nullable=False),
        sa.Column("input_hash", sa.Text(), nullable=False),
        sa.Column("revision", sa.Text(), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("question", sa.Text(), nullable=False),
        sa.Column("effect", sa.Text(), nullable=False),
        sa.Column("reasons", TEXTS, nullable=False),
        sa.Column("engine", sa.Text(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("recipient", sa.Text(), nullable=False),
        sa.Column("profile", sa.Text(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("patient_key", "input_hash", "revision", name=op.f("pk_policy_decision")),
    )
    op.create_index("ix_policy_decision_at", "policy_decision", ["at"])
    op.create_index("ix_policy_decision_input_hash", "policy_decision", ["input_hash"])
    op.create_table(
        "opa_decision",
        sa.Column("decision_id", sa.Text(), nullable=False),
        sa.Column("input_hash", sa.Text(), nullable=False),
        sa.Column("revision", sa.Text(), nullable=False),
        sa.Column("allow", sa.Boolean(), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("received_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("decision_id", name=op.f("pk_opa_decision")),
    )
    op.create_index("ix_opa_decision_input_hash", "opa_decision", ["input_hash"])
    op.create_index("ix_opa_decision_received_at", "opa_decision", ["received_at"])
    op.create_table(
        "opa_status",
        sa.Column("instance", sa.Text(), nullable=False),
        sa.Column("revision", sa.Text(), nullable=False),
        sa.Column("problem", sa.Text(), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("instance", name=op.f("pk_opa_status")),
    )
    op.execute("GRANT SELECT, INSERT ON policy_decision, opa_decision, policy_activation TO broker_web")
    op.execute("GRANT SELECT, INSERT, UPDATE ON policy_revision, opa_status TO broker_web")


def downgrade() -> None:
    for table in ("opa_status", "opa_decision", "policy_decision", "policy_activation", "policy_revision"):
        op.drop_table(table)
