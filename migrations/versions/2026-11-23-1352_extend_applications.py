"""Extend applications: steps besides endorsement, deadlines, renewals, attachments, delegations, owners of data, terms of use, frequency.

A migration runs while the previous version still serves: add, backfill in batches, and only remove in a later release.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "202611231352"
down_revision = "202611231358"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
ACTIONS = (
    "'edit', 'submit', 'assess', 'endorse', 'agree', 'legality', 'necessity', 'concur', 'recuse', 'approve', 'narrow', 'return', 'refuse', "
    "'withdraw', 'suspend', 'resume', 'revoke', 'close', 'expire', 'accept', 'replace'"
)
BEFORE = (
    "'edit', 'submit', 'assess', 'endorse', 'approve', 'narrow', 'return', 'refuse', 'withdraw', 'suspend', 'resume', 'revoke', 'close', 'expire'"
)


def _checked(table: str, name: str, condition: str) -> None:
    """Add a check without holding the table while its rows are read."""
    op.execute(f"ALTER TABLE {table} ADD CONSTRAINT {name} CHECK ({condition}) NOT VALID")
    op.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT {name}")


def upgrade() -> None:
    op.add_column("application", sa.Column("parent_id", sa.Uuid(), nullable=True))
    op.add_column("application", sa.Column("relation", sa.Text(), nullable=True))
    op.add_column("application", sa.Column("needs", postgresql.JSONB(), nullable=False, server_default="[]"))
    op.add_column("application", sa.Column("due_at", TIME, nullable=True))
    op.create_foreign_key(op.f("fk_application_parent_id_application"), "application", "application", ["parent_id"], ["id"])
    _checked("application", "ck_application_parent", "(parent_id IS NULL) = (relation IS NULL)")
    _checked("application", "ck_application_relation", "relation IN ('renewal', 'amendment')")
    op.create_index("ix_application_due_at", "application", ["due_at"], postgresql_where=sa.text("status IN ('submitted', 'endorsed')"))
    op.create_index("ix_application_parent_id", "application", ["parent_id"])
    op.add_column("application_decision", sa.Column("on_behalf_of", sa.Uuid(), nullable=True))
    op.add_column("application_decision", sa.Column("place", sa.Text(), nullable=True))
    op.create_foreign_key(op.f("fk_application_decision_on_behalf_of_person"), "application_decision", "person", ["on_behalf_of"], ["id"])
    op.execute("ALTER TABLE application_decision DROP CONSTRAINT ck_application_decision_action")
    _checked("application_decision", "ck_application_decision_action", f"action IN ({ACTIONS})")
    op.drop_index("uq_application_decision_four_eyes", "application_decision")
    op.create_index(
        "uq_application_decision_four_eyes",
        "application_decision",
        ["application_id", "round", "natural_person"],
        unique=True,
        postgresql_where=sa.text("action IN ('submit', 'endorse', 'agree', 'concur', 'approve', 'narrow')"),
    )
    op.execute("ALTER TABLE sharing_grant DROP CONSTRAINT ck_sharing_grant_status")
    _checked("sharing_grant", "ck_sharing_grant_status", "status IN ('awaiting', 'active', 'suspended', 'revoked', 'expired', 'closed')")
    op.drop_index("ix_sharing_grant_valid_until", "sharing_grant")
    op.create_index(
        "ix_sharing_grant_valid_until", "sharing_grant", ["valid_until"], postgresql_where=sa.text("status IN ('awaiting', 'active', 'suspended')")
    )
    op.add_column("sharing_grant", sa.Column("frequency_limit", sa.Integer(), nullable=True))
    op.add_column("sharing_grant", sa.Column("frequency_seconds", sa.Integer(), nullable=True))
    op.add_column("sharing_grant", sa.Column("frequency_used", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("sharing_grant", sa.Column("frequency_since", TIME, nullable=True))
    _checked("sharing_grant", "ck_sharing_grant_frequency", "(frequency_limit IS NULL) = (frequency_seconds IS NULL)")
    _checked(
        "sharing_grant", "ck_sharing_grant_frequency_used", "frequency_used >= 0 AND (frequency_limit IS NULL OR frequency_used <= frequency_limit)"
    )
    op.execute("GRANT UPDATE (frequency_used, frequency_since) ON sharing_grant TO broker_web")
    _submissions_and_attachments()
    _offices()
    _agreements()


def _submissions_and_attachments() -> None:
    op.create_table(
        "application_submission",
        sa.Column("application_id", sa.Uuid(), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("form", postgresql.JSONB(), nullable=False),
        sa.Column("patients", postgresql.JSONB(), nullable=False),
        sa.Column("attachments", postgresql.JSONB(), nullable=False),
        sa.Column("justification_sealed", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(["application_id"], ["application.id"], name=op.f("fk_application_submission_application_id_application")),
        sa.PrimaryKeyConstraint("application_id", "round", name=op.f("pk_application_submission")),
    )
    op.create_table(
        "application_attachment",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("application_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("added_by", sa.Uuid(), nullable=False),
        sa.Column("added_at", TIME, nullable=False),
        sa.Column("name_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("body_sealed", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["application_id"], ["application.id"], name=op.f("fk_application_attachment_application_id_application")),
        sa.ForeignKeyConstraint(["added_by"], ["person.id"], name=op.f("fk_application_attachment_added_by_person")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_application_attachment")),
    )
    op.create_index("ix_application_attachment_application_id", "application_attachment", ["application_id"])
    op.execute("GRANT SELECT, INSERT ON application_submission TO broker_web")
    op.execute("GRANT SELECT, INSERT, DELETE ON application_attachment TO broker_web")


def _offices() -> None:
    op.create_table(
        "delegation",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("delegate_id", sa.Uuid(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("since", TIME, nullable=False),
        sa.Column("until", TIME, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=False),
        sa.CheckConstraint("since < until", name=op.f("ck_delegation_order")),
        sa.CheckConstraint("delegate_id <> person_id", name=op.f("ck_delegation_other")),
        sa.CheckConstraint("role IN ('department_head', 'information_manager')", name=op.f("ck_delegation_role")),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_delegation_person_id_person")),
        sa.ForeignKeyConstraint(["delegate_id"], ["person.id"], name=op.f("fk_delegation_delegate_id_person")),
        sa.ForeignKeyConstraint(["created_by"], ["person.id"], name=op.f("fk_delegation_created_by_person")),
        sa.ForeignKeyConstraint(["organization_id"], ["organization.id"], name=op.f("fk_delegation_organization_id_organization")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_delegation")),
    )
    op.create_index("ix_delegation_delegate_id_until", "delegation", ["delegate_id", "until"])
    op.create_index("ix_delegation_person_id_until", "delegation", ["person_id", "until"])
    op.create_table(
        "data_owner",
        sa.Column("data_class", sa.Text(), nullable=False),
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["organization_id"], ["organization.id"], name=op.f("fk_data_owner_organization_id_organization")),
        sa.PrimaryKeyConstraint("data_class", name=op.f("pk_data_owner")),
    )
    op.execute("GRANT SELECT, INSERT, UPDATE (until) ON delegation TO broker_web")
    op.execute("GRANT SELECT, INSERT, DELETE ON data_owner TO broker_web")


def _agreements() -> None:
    op.create_table(
        "network",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name_zh", sa.Text(), nullable=False),
        sa.Column("name_en", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_network")),
    )
    op.create_table(
        "network_member",
        sa.Column("network_id", sa.Text(), nullable=False),
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["network_id"], ["network.id"], name=op.f("fk_network_member_network_id_network")),
        sa.ForeignKeyConstraint(["organization_id"], ["organization.id"], name=op.f("fk_network_member_organization_id_organization")),
        sa.PrimaryKeyConstraint("network_id", "organization_id", name=op.f("pk_network_member")),
    )
    op.create_table(
        "agreement",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("organization_id", sa.Text(), nullable=True),
        sa.Column("network_id", sa.Text(), nullable=True),
        sa.Column("title_zh", sa.Text(), nullable=False),
        sa.Column("title_en", sa.Text(), nullable=False),
        sa.Column("text_zh", sa.Text(), nullable=False),
        sa.Column("text_en", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("published_at", TIME, nullable=False),
        sa.Column("published_by", sa.Uuid(), nullable=False),
        sa.CheckConstraint("organization_id IS NULL OR network_id IS NULL", name=op.f("ck_agreement_binds")),
        sa.ForeignKeyConstraint(["organization_id"], ["organization.id"], name=op.f("fk_agreement_organization_id_organization")),
        sa.ForeignKeyConstraint(["network_id"], ["network.id"], name=op.f("fk_agreement_network_id_network")),
        sa.ForeignKeyConstraint(["published_by"], ["person.id"], name=op.f("fk_agreement_published_by_person")),
        sa.PrimaryKeyConstraint("id", "version", name=op.f("pk_agreement")),
    )
    op.create_table(
        "agreement_acceptance",
        sa.Column("agreement_id", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["agreement_id", "version"], ["agreement.id", "agreement.version"], name=op.f("fk_agreement_acceptance_agreement_id_agreement")
        ),
        sa.ForeignKeyConstraint(["organization_id"], ["organization.id"], name=op.f("fk_agreement_acceptance_organization_id_organization")),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_agreement_acceptance_person_id_person")),
        sa.PrimaryKeyConstraint("agreement_id", "version", "organization_id", name=op.f("pk_agreement_acceptance")),
    )
    op.execute("GRANT SELECT, INSERT, UPDATE (name_zh, name_en) ON network TO broker_web")
    op.execute("GRANT SELECT, INSERT, DELETE ON network_member TO broker_web")
    op.execute("GRANT SELECT, INSERT ON agreement, agreement_acceptance TO broker_web")


def downgrade() -> None:
    for table in ("agreement_acceptance", "agreement", "network_member", "network", "data_owner", "delegation", "application_attachment"):
        op.drop_table(table)
    op.drop_table("application_submission")
    for column in ("frequency_since", "frequency_used", "frequency_seconds", "frequency_limit"):
        op.drop_column("sharing_grant", column)
    op.execute("ALTER TABLE sharing_grant DROP CONSTRAINT ck_sharing_grant_status")
    _checked("sharing_grant", "ck_sharing_grant_status", "status IN ('active', 'suspended', 'revoked', 'expired', 'closed')")
    op.drop_index("ix_sharing_grant_valid_until", "sharing_grant")
    op.create_index("ix_sharing_grant_valid_until", "sharing_grant", ["valid_until"], postgresql_where=sa.text("status IN ('active', 'suspended')"))
    op.drop_index("uq_application_decision_four_eyes", "application_decision")
    op.execute("ALTER TABLE application_decision DROP CONSTRAINT ck_application_decision_action")
    _checked("application_decision", "ck_application_decision_action", f"action IN ({BEFORE})")
    op.create_index(
        "uq_application_decision_four_eyes",
        "application_decision",
        ["application_id", "round", "natural_person"],
        unique=True,
        postgresql_where=sa.text("action IN ('submit', 'endorse', 'approve', 'narrow')"),
    )
    for column in ("place", "on_behalf_of"):
        op.drop_column("application_decision", column)
    for column in ("due_at", "needs", "relation", "parent_id"):
        op.drop_column("application", column)
