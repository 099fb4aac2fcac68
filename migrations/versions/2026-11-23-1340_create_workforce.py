"""Create the registers of qualifications and training.

A migration runs while the previous version still serves: add, backfill in batches, and only remove in a later release.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "202611231340"
down_revision = "202611231335"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "credential",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("book", sa.Text(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=True),
        sa.Column("organization_id", sa.Text(), nullable=True),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("scope", postgresql.JSONB(), nullable=False),
        sa.Column("issuer", sa.Text(), nullable=True),
        sa.Column("issued_on", sa.Date(), nullable=False),
        sa.Column("valid_until", TIME, nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("changed_at", TIME, nullable=False),
        sa.CheckConstraint("book IN ('qualification', 'training')", name=op.f("ck_credential_book")),
        sa.CheckConstraint("status IN ('active', 'suspended', 'withdrawn')", name=op.f("ck_credential_status")),
        sa.CheckConstraint("(person_id IS NULL) <> (organization_id IS NULL)", name=op.f("ck_credential_holder")),
        sa.CheckConstraint("book = 'qualification' OR person_id IS NOT NULL", name=op.f("ck_credential_trained")),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_credential_person_id_person")),
        sa.ForeignKeyConstraint(["organization_id"], ["organization.id"], name=op.f("fk_credential_organization_id_organization")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_credential")),
    )
    op.create_index("ix_credential_person_id", "credential", ["person_id"])
    op.create_index("ix_credential_organization_id", "credential", ["organization_id"])
    op.create_index("ix_credential_valid_until", "credential", ["valid_until"], postgresql_where=sa.text("status = 'active'"))
    op.create_index(
        "uq_credential_entry",
        "credential",
        ["person_id", "organization_id", "code", "number", "issued_on", "valid_until"],
        unique=True,
        postgresql_nulls_not_distinct=True,
    )
    op.create_table(
        "credential_demand",
        sa.Column("step", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.CheckConstraint("step IN ('apply', 'endorse', 'decide', 'receive')", name=op.f("ck_credential_demand_step")),
        sa.PrimaryKeyConstraint("step", "code", name=op.f("pk_credential_demand")),
    )
    op.execute("GRANT SELECT, INSERT, UPDATE (status, changed_at) ON credential TO broker_web")
    op.execute("GRANT SELECT, INSERT, DELETE ON credential_demand TO broker_web")


def downgrade() -> None:
    for table in ("credential_demand", "credential"):
        op.drop_table(table)
