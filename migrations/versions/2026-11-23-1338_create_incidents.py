"""Create incidents: cases, containment, notices, adverse events, risks, corrective actions; patients can be frozen; readers of the log.

A migration runs while the previous version still serves: add, backfill in batches, and only remove in a later release.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from broker.audit.models import Xid8

revision = "202611231338"
down_revision = "202611231343"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "case_number",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("year", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("last", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "year", name=op.f("pk_case_number")),
    )
    op.create_table(
        "incident",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("drill", sa.Boolean(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("reported_by", sa.Text(), nullable=False),
        sa.Column("reported_at", TIME, nullable=False),
        sa.Column("occurred_at", TIME, nullable=True),
        sa.Column("source", sa.Text(), nullable=True),
        sa.Column("severity", sa.Text(), nullable=True),
        sa.Column("sensitive", sa.Boolean(), nullable=True),
        sa.Column("data_types", postgresql.JSONB(), nullable=False),
        sa.Column("patients", sa.Integer(), nullable=True),
        sa.Column("releases", sa.Integer(), nullable=True),
        sa.Column("assessed_at", TIME, nullable=True),
        sa.Column("contained_at", TIME, nullable=True),
        sa.Column("closed_at", TIME, nullable=True),
        sa.Column("summary_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("cause_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("measures_sealed", sa.LargeBinary(), nullable=True),
        sa.CheckConstraint("status IN ('reported', 'assessed', 'investigating', 'closed', 'dismissed')", name=op.f("ck_incident_status")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_incident")),
        sa.UniqueConstraint("number", name=op.f("uq_incident_number")),
        sa.UniqueConstraint("source", name=op.f("uq_incident_source")),
    )
    op.create_index("ix_incident_reported_at", "incident", ["reported_at"])
    op.create_index("ix_incident_status_reported_at", "incident", ["status", "reported_at"])
    op.create_table(
        "log_follower",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("xid", Xid8(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_log_follower")),
    )
    op.create_table(
        "adverse_event",
        sa.Column("patient_key", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("incident_id", sa.Uuid(), nullable=True),
        sa.Column("category", sa.Text(), nullable=False),
        sa.Column("seriousness", sa.Text(), nullable=False),
        sa.Column("occurred_at", TIME, nullable=False),
        sa.Column("reported_at", TIME, nullable=False),
        sa.Column("reported_by", sa.Text(), nullable=False),
        sa.Column("analysed_at", TIME, nullable=True),
        sa.Column("told_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("root_cause_sealed", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(["incident_id"], ["incident.id"], name=op.f("fk_adverse_event_incident_id_incident")),
        sa.ForeignKeyConstraint(["patient_key"], ["patient.patient_key"], name=op.f("fk_adverse_event_patient_key_patient")),
        sa.PrimaryKeyConstraint("patient_key", "id", name=op.f("pk_adverse_event")),
    )
    op.create_index("ix_adverse_event_reported_at", "adverse_event", ["reported_at"])
    op.create_table(
        "incident_containment",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("incident_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("changed", sa.Boolean(), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("lift_asked_by", sa.Text(), nullable=True),
        sa.Column("lift_asked_at", TIME, nullable=True),
        sa.Column("lifted_by", sa.Text(), nullable=True),
        sa.Column("lifted_at", TIME, nullable=True),
        sa.ForeignKeyConstraint(["incident_id"], ["incident.id"], name=op.f("fk_incident_containment_incident_id_incident")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_incident_containment")),
    )
    op.create_index("ix_incident_containment_incident_id", "incident_containment", ["incident_id"])
    op.create_index("ix_incident_containment_kind_target", "incident_containment", ["kind", "target"], postgresql_where=sa.text("lifted_at IS NULL"))
    op.create_table(
        "incident_notice",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("incident_id", sa.Uuid(), nullable=False),
        sa.Column("audience", sa.Text(), nullable=False),
        sa.Column("organization_id", sa.Text(), nullable=True),
        sa.Column("due_at", TIME, nullable=False),
        sa.Column("done_at", TIME, nullable=True),
        sa.Column("done_by", sa.Text(), nullable=True),
        sa.Column("waived", sa.Boolean(), nullable=False),
        sa.Column("how", sa.Text(), nullable=True),
        sa.Column("text_sealed", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(["incident_id"], ["incident.id"], name=op.f("fk_incident_notice_incident_id_incident")),
        sa.ForeignKeyConstraint(["organization_id"], ["organization.id"], name=op.f("fk_incident_notice_organization_id_organization")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_incident_notice")),
    )
    op.create_index("ix_incident_notice_due_at", "incident_notice", ["due_at"], postgresql_where=sa.text("done_at IS NULL"))
    op.create_index("ix_incident_notice_incident_id", "incident_notice", ["incident_id"])
    op.create_table(
        "incident_patient",
        sa.Column("patient_key", sa.Uuid(), nullable=False),
        sa.Column("incident_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["incident_id"], ["incident.id"], name=op.f("fk_incident_patient_incident_id_incident")),
        sa.ForeignKeyConstraint(["patient_key"], ["patient.patient_key"], name=op.f("fk_incident_patient_patient_key_patient")),
        sa.PrimaryKeyConstraint("patient_key", "incident_id", name=op.f("pk_incident_patient")),
    )
    op.create_index("ix_incident_patient_incident_id", "incident_patient", ["incident_id"])
    op.create_table(
        "incident_step",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("incident_id", sa.Uuid(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("text_sealed", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(["incident_id"], ["incident.id"], name=op.f("fk_incident_step_incident_id_incident")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_incident_step")),
    )
    op.create_index("ix_incident_step_incident_id_at", "incident_step", ["incident_id", "at"])
    op.create_table(
        "corrective_action",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("source_ref", sa.Text(), nullable=False),
        sa.Column("changes", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("due_on", sa.Date(), nullable=False),
        sa.Column("opened_at", TIME, nullable=False),
        sa.Column("opened_by", sa.Text(), nullable=False),
        sa.Column("done_at", TIME, nullable=True),
        sa.Column("done_by", sa.Text(), nullable=True),
        sa.Column("evidence", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["owner_id"], ["person.id"], name=op.f("fk_corrective_action_owner_id_person")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_corrective_action")),
    )
    op.create_index("ix_corrective_action_due_on", "corrective_action", ["due_on"], postgresql_where=sa.text("done_at IS NULL"))
    op.create_table(
        "risk",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("treatment", sa.Text(), nullable=False),
        sa.Column("likelihood", sa.Integer(), nullable=False),
        sa.Column("impact", sa.Integer(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("review_on", sa.Date(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("changed_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["owner_id"], ["person.id"], name=op.f("fk_risk_owner_id_person")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_risk")),
    )
    op.add_column("patient", sa.Column("frozen_at", TIME, nullable=True))
    op.execute("GRANT SELECT, INSERT, UPDATE ON case_number, incident, incident_containment, incident_notice, risk, corrective_action TO broker_web")
    op.execute("GRANT SELECT, INSERT ON incident_step, incident_patient TO broker_web")
    op.execute("GRANT SELECT, INSERT, UPDATE (root_cause_sealed, analysed_at) ON adverse_event TO broker_web")
    op.execute("GRANT SELECT, INSERT, UPDATE (xid, seq) ON log_follower TO broker_web")
    op.execute("GRANT UPDATE (frozen_at) ON patient TO broker_web")


def downgrade() -> None:
    op.drop_column("patient", "frozen_at")
    op.drop_table("risk")
    op.drop_table("corrective_action")
    op.drop_table("incident_step")
    op.drop_table("incident_patient")
    op.drop_table("incident_notice")
    op.drop_table("incident_containment")
    op.drop_table("adverse_event")
    op.drop_table("log_follower")
    op.drop_table("incident")
    op.drop_table("case_number")
