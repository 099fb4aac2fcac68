"""Create what is kept of a review: findings, documents, signatures, access rights to confirm.

A migration runs while the previous version still serves: add, backfill in batches, and only remove in a later release.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "202611231450"
down_revision = "202611231430"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "review_finding",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("quarter", sa.Text(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("application", sa.Text(), nullable=True),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("text_sealed", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("severity IN ('low', 'medium', 'high')", name=op.f("ck_review_finding_severity")),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_review_finding_person_id_person")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_review_finding")),
        sa.UniqueConstraint("quarter", "ordinal", name=op.f("uq_review_finding_quarter_ordinal")),
    )
    op.create_table(
        "review_document",
        sa.Column("quarter", sa.Text(), nullable=False),
        sa.Column("document", postgresql.JSONB(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_review_document_person_id_person")),
        sa.PrimaryKeyConstraint("quarter", name=op.f("pk_review_document")),
    )
    op.create_table(
        "review_signature",
        sa.Column("quarter", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("natural_person", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.CheckConstraint("role IN ('auditor', 'information_manager')", name=op.f("ck_review_signature_role")),
        sa.ForeignKeyConstraint(["quarter"], ["review_document.quarter"], name=op.f("fk_review_signature_quarter_review_document")),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_review_signature_person_id_person")),
        sa.PrimaryKeyConstraint("quarter", "role", name=op.f("pk_review_signature")),
        sa.UniqueConstraint("quarter", "natural_person", name=op.f("uq_review_signature_quarter_natural_person")),
    )
    op.create_table(
        "recertification",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("quarter", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("due_at", TIME, nullable=False),
        sa.Column("answer", sa.Text(), nullable=True),
        sa.Column("answered_by", sa.Uuid(), nullable=True),
        sa.Column("answered_at", TIME, nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("outcome_at", TIME, nullable=True),
        sa.CheckConstraint("kind IN ('role', 'client', 'grant')", name=op.f("ck_recertification_kind")),
        sa.CheckConstraint("answer IN ('keep', 'revoke')", name=op.f("ck_recertification_answer")),
        sa.CheckConstraint("outcome IN ('kept', 'revoked', 'unanswered', 'gone', 'last')", name=op.f("ck_recertification_outcome")),
        sa.ForeignKeyConstraint(["organization_id"], ["organization.id"], name=op.f("fk_recertification_organization_id_organization")),
        sa.ForeignKeyConstraint(["answered_by"], ["person.id"], name=op.f("fk_recertification_answered_by_person")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_recertification")),
        sa.UniqueConstraint("quarter", "kind", "subject", name=op.f("uq_recertification_quarter_kind_subject")),
    )
    op.create_index("ix_recertification_due_at", "recertification", ["due_at"], postgresql_where=sa.text("outcome IS NULL"))
    op.execute("GRANT SELECT, INSERT ON review_finding, review_document, review_signature TO broker_web")
    op.execute("GRANT SELECT, INSERT, UPDATE (answer, answered_by, answered_at, outcome, outcome_at) ON recertification TO broker_web")


def downgrade() -> None:
    for table in ("recertification", "review_signature", "review_document", "review_finding"):
        op.drop_table(table)
