"""Create applications: applications, patients, assessments, decisions, grants, numbers, idempotency keys.

A migration runs while the previous version still serves: add, backfill in batches, and only remove in a later release.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "202611230950"
down_revision = "202611230940"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
ACTIONS = (
    "'edit', 'submit', 'assess', 'endorse', 'approve', 'narrow', 'return', 'refuse', 'withdraw', 'suspend', 'resume', 'revoke', 'close', 'expire'"
)


def upgrade() -> None:
    op.create_table(
        "application",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Text(), nullable=True),
        sa.Column("requester_id", sa.Uuid(), nullable=False),
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("recipient_id", sa.Text(), nullable=True),
        sa.Column("on_behalf", sa.Boolean(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=True),
        sa.Column("form", postgresql.JSONB(), nullable=False),
        sa.Column("patients_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("justification_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("content_hash", sa.Text(), nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("changed_at", TIME, nullable=False),
        sa.Column("submitted_at", TIME, nullable=True),
        sa.Column("decided_at", TIME, nullable=True),
        sa.CheckConstraint(
            "status IN ('draft', 'submitted', 'endorsed', 'approved', 'refused', 'returned', 'withdrawn')", name=op.f("ck_application_status")
        ),
        sa.CheckConstraint("(number IS NULL) = (submitted_at IS NULL)", name=op.f("ck_application_numbered")),
        sa.ForeignKeyConstraint(["requester_id"], ["person.id"], name=op.f("fk_application_requester_id_person")),
        sa.ForeignKeyConstraint(["organization_id"], ["organization.id"], name=op.f("fk_application_organization_id_organization")),
        sa.ForeignKeyConstraint(["recipient_id"], ["organization.id"], name=op.f("fk_application_recipient_id_organization")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_application")),
        sa.UniqueConstraint("number", name=op.f("uq_application_number")),
    )
    op.create_index("ix_application_created_at_id", "application", ["created_at", "id"])
    op.create_index("ix_application_recipient_id_created_at", "application", ["recipient_id", "created_at"])
    op.create_index("ix_application_requester_id_created_at", "application", ["requester_id", "created_at"])
    op.create_index("ix_application_submitted_at", "application", ["submitted_at"])
    op.create_table(
        "application_patient",
        sa.Column("patient_key", sa.Uuid(), nullable=False),
        sa.Column("application_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("typed_sealed", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["application_id"], ["application.id"], name=op.f("fk_application_patient_application_id_application")),
        sa.ForeignKeyConstraint(["patient_key"], ["patient.patient_key"], name=op.f("fk_application_patient_patient_key_patient")),
        sa.PrimaryKeyConstraint("patient_key", "application_id", name=op.f("pk_application_patient")),
    )
    op.create_index("ix_application_patient_application_id_position", "application_patient", ["application_id", "position"], unique=True)
    op.create_table(
        "application_assessment",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("application_id", sa.Uuid(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("content_hash", sa.Text(), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("effect", sa.Text(), nullable=False),
        sa.Column("revision", sa.Text(), nullable=False),
        sa.Column("engine", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["application_id"], ["application.id"], name=op.f("fk_application_assessment_application_id_application")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_application_assessment")),
        sa.UniqueConstraint("application_id", "ordinal", name=op.f("uq_application_assessment_application_id_ordinal")),
    )
    op.create_table(
        "application_assessment_patient",
        sa.Column("patient_key", sa.Uuid(), nullable=False),
        sa.Column("assessment_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("effect", sa.Text(), nullable=False),
        sa.Column("reasons", postgresql.JSONB(), nullable=False),
        sa.Column("plan", postgresql.JSONB(none_as_null=True), nullable=True),
        sa.Column("obligations", postgresql.JSONB(), nullable=False),
        sa.Column("necessity", postgresql.JSONB(), nullable=False),
        sa.Column("consents", postgresql.JSONB(), nullable=False),
        sa.Column("consent_epoch", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["assessment_id"], ["application_assessment.id"], name=op.f("fk_application_assessment_patient_assessment_id_application_assessment")
        ),
        sa.ForeignKeyConstraint(["patient_key"], ["patient.patient_key"], name=op.f("fk_application_assessment_patient_patient_key_patient")),
        sa.PrimaryKeyConstraint("patient_key", "assessment_id", name=op.f("pk_application_assessment_patient")),
    )
    op.create_index("ix_application_assessment_patient_assessment_id_position", "application_assessment_patient", ["assessment_id", "position"])
    op.create_table(
        "application_decision",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("application_id", sa.Uuid(), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=True),
        sa.Column("natural_person", sa.Text(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("content_hash", sa.Text(), nullable=False),
        sa.Column("assessment_id", sa.Uuid(), nullable=True),
        sa.Column("assessed", sa.Text(), nullable=True),
        sa.Column("reason_code", sa.Text(), nullable=True),
        sa.Column("reason_sealed", sa.LargeBinary(), nullable=True),
        sa.CheckConstraint(f"action IN ({ACTIONS})", name=op.f("ck_application_decision_action")),
        sa.ForeignKeyConstraint(["application_id"], ["application.id"], name=op.f("fk_application_decision_application_id_application")),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_application_decision_person_id_person")),
        sa.ForeignKeyConstraint(
            ["assessment_id"], ["application_assessment.id"], name=op.f("fk_application_decision_assessment_id_application_assessment")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_application_decision")),
    )
    op.create_index("ix_application_decision_application_id_version", "application_decision", ["application_id", "version"])
    op.create_index("ix_application_decision_at", "application_decision", ["at"])
    op.create_index(
        "uq_application_decision_four_eyes",
        "application_decision",
        ["application_id", "round", "natural_person"],
        unique=True,
        postgresql_where=sa.text("action IN ('submit', 'endorse', 'approve', 'narrow')"),
    )
    op.create_table(
        "sharing_grant",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("application_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("requester_id", sa.Uuid(), nullable=False),
        sa.Column("recipient_id", sa.Text(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("lawful_basis", sa.Text(), nullable=False),
        sa.Column("terms", postgresql.JSONB(), nullable=False),
        sa.Column("patients_digest", sa.Text(), nullable=False),
        sa.Column("content_hash", sa.Text(), nullable=False),
        sa.Column("consents", postgresql.JSONB(), nullable=False),
        sa.Column("approved_by", sa.Integer(), nullable=False),
        sa.Column("approved_at", TIME, nullable=False),
        sa.Column("valid_from", TIME, nullable=False),
        sa.Column("valid_until", TIME, nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("status_at", TIME, nullable=False),
        sa.Column("releases_limit", sa.Integer(), nullable=True),
        sa.Column("releases_used", sa.Integer(), nullable=False),
        sa.Column("first_released_at", TIME, nullable=True),
        sa.CheckConstraint("status IN ('active', 'suspended', 'revoked', 'expired', 'closed')", name=op.f("ck_sharing_grant_status")),
        sa.CheckConstraint(
            "releases_used >= 0 AND (releases_limit IS NULL OR releases_used <= releases_limit)", name=op.f("ck_sharing_grant_releases")
        ),
        sa.ForeignKeyConstraint(["application_id"], ["application.id"], name=op.f("fk_sharing_grant_application_id_application")),
        sa.ForeignKeyConstraint(["requester_id"], ["person.id"], name=op.f("fk_sharing_grant_requester_id_person")),
        sa.ForeignKeyConstraint(["recipient_id"], ["organization.id"], name=op.f("fk_sharing_grant_recipient_id_organization")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sharing_grant")),
        sa.UniqueConstraint("application_id", name=op.f("uq_sharing_grant_application_id")),
        sa.UniqueConstraint("number", name=op.f("uq_sharing_grant_number")),
    )
    op.create_index("ix_sharing_grant_requester_id_first_released_at", "sharing_grant", ["requester_id", "first_released_at"])
    op.create_index("ix_sharing_grant_valid_until", "sharing_grant", ["valid_until"], postgresql_where=sa.text("status IN ('active', 'suspended')"))
    op.create_table(
        "grant_patient",
        sa.Column("patient_key", sa.Uuid(), nullable=False),
        sa.Column("grant_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["grant_id"], ["sharing_grant.id"], name=op.f("fk_grant_patient_grant_id_sharing_grant")),
        sa.ForeignKeyConstraint(["patient_key"], ["patient.patient_key"], name=op.f("fk_grant_patient_patient_key_patient")),
        sa.PrimaryKeyConstraint("patient_key", "grant_id", name=op.f("pk_grant_patient")),
    )
    op.create_index("ix_grant_patient_grant_id", "grant_patient", ["grant_id"])
    op.create_table(
        "application_number",
        sa.Column("year", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("last", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("year", name=op.f("pk_application_number")),
    )
    op.create_table(
        "idempotency_key",
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("request_hash", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("answer_sealed", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("actor", "key", name=op.f("pk_idempotency_key")),
    )
    op.create_index("ix_idempotency_key_created_at", "idempotency_key", ["created_at"])
    op.execute("GRANT SELECT, INSERT, UPDATE ON application, application_number TO broker_web")
    op.execute("GRANT SELECT, INSERT, DELETE ON application_patient TO broker_web")
    # What was assessed and decided is never changed, and of a grant only its state and its counting.
    op.execute("GRANT SELECT, INSERT ON application_assessment, application_assessment_patient, application_decision, grant_patient TO broker_web")
    op.execute("GRANT SELECT, INSERT, UPDATE (status, status_at, releases_used, first_released_at) ON sharing_grant TO broker_web")
    op.execute("GRANT SELECT, INSERT, DELETE, UPDATE (answer_sealed) ON idempotency_key TO broker_web")


def downgrade() -> None:
    for table in (
        "idempotency_key",
        "application_number",
        "grant_patient",
        "sharing_grant",
        "application_decision",
        "application_assessment_patient",
        "application_assessment",
        "application_patient",
        "application",
    ):
        op.drop_table(table)
