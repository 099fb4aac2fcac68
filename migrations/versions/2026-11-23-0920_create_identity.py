"""Create identity: organisations, people, roles, clients, tokens, sessions, failed logins.

A migration runs while the previous version still serves: add, backfill in batches, and only remove in a later release.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "202611230920"
down_revision = "202611230910"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
KINDS = "'hospital', 'department', 'laboratory', 'imaging', 'finance', 'quality', 'research', 'pharmacy', 'insurer', 'authority'"
STATUSES = "status IN ('active', 'suspended')"


def upgrade() -> None:
    op.create_table(
        "organization",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("parent_id", sa.Text(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("relationship", sa.Text(), nullable=False),
        sa.Column("jurisdiction", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("agreement_until", TIME, nullable=True),
        sa.Column("name_zh", sa.Text(), nullable=False),
        sa.Column("name_en", sa.Text(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.CheckConstraint(f"kind IN ({KINDS})", name=op.f("ck_organization_kind")),
        sa.CheckConstraint("relationship IN ('internal', 'external')", name=op.f("ck_organization_relationship")),
        sa.CheckConstraint(STATUSES, name=op.f("ck_organization_status")),
        sa.ForeignKeyConstraint(["parent_id"], ["organization.id"], name=op.f("fk_organization_parent_id_organization")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_organization")),
    )
    op.create_table(
        "person",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("username", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("natural_person", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("language", sa.Text(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.CheckConstraint(STATUSES, name=op.f("ck_person_status")),
        sa.CheckConstraint("language IN ('zh', 'en')", name=op.f("ck_person_language")),
        sa.ForeignKeyConstraint(["organization_id"], ["organization.id"], name=op.f("fk_person_organization_id_organization")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_person")),
        sa.UniqueConstraint("username", name=op.f("uq_person_username")),
    )
    op.create_index("ix_person_natural_person", "person", ["natural_person"])
    op.create_table(
        "role_held",
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_role_held_person_id_person")),
        sa.ForeignKeyConstraint(["organization_id"], ["organization.id"], name=op.f("fk_role_held_organization_id_organization")),
        sa.PrimaryKeyConstraint("person_id", "role", "organization_id", name=op.f("pk_role_held")),
    )
    op.create_table(
        "client",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("jwks", postgresql.JSONB(), nullable=False),
        sa.Column("jwks_uri", sa.Text(), nullable=True),
        sa.Column("resource_server", sa.Boolean(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.CheckConstraint(STATUSES, name=op.f("ck_client_status")),
        sa.ForeignKeyConstraint(["organization_id"], ["organization.id"], name=op.f("fk_client_organization_id_organization")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_client")),
    )
    op.create_index("ix_client_organization_id", "client", ["organization_id"])
    op.create_table(
        "used_jti",
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("jti", sa.Text(), nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("client_id", "jti", name=op.f("pk_used_jti")),
    )
    op.create_index("ix_used_jti_expires_at", "used_jti", ["expires_at"])
    op.create_table(
        "token",
        sa.Column("jti", sa.Text(), nullable=False),
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("grant_id", sa.Uuid(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("issued_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.Column("revoked_at", TIME, nullable=True),
        sa.ForeignKeyConstraint(["client_id"], ["client.id"], name=op.f("fk_token_client_id_client")),
        sa.PrimaryKeyConstraint("jti", name=op.f("pk_token")),
    )
    op.create_index("ix_token_client_id_issued_at", "token", ["client_id", "issued_at"])
    op.create_index("ix_token_expires_at", "token", ["expires_at"])
    op.create_table(
        "person_session",
        sa.Column("secret_hash", sa.LargeBinary(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("last_used_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_person_session_person_id_person")),
        sa.PrimaryKeyConstraint("secret_hash", name=op.f("pk_person_session")),
    )
    op.create_index("ix_person_session_person_id", "person_session", ["person_id"])
    op.create_index("ix_person_session_expires_at", "person_session", ["expires_at"])
    op.create_table(
        "failed_login",
        sa.Column("name", sa.LargeBinary(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("last_at", TIME, nullable=False),
        sa.Column("locked_until", TIME, nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_failed_login")),
    )
    op.create_index("ix_failed_login_last_at", "failed_login", ["last_at"])
    op.execute("GRANT SELECT, INSERT, UPDATE ON organization, person, client TO broker_web")
    op.execute("GRANT SELECT, INSERT, DELETE ON role_held TO broker_web")
    # PostgreSQL lets only somebody with UPDATE lock the rows that are to be deleted, so that two never delete the same.
    op.execute("GRANT SELECT, INSERT, DELETE, UPDATE (expires_at) ON used_jti TO broker_web")
    # Of a token that was issued nothing may change but that it was revoked; it goes when it could no longer be used.
    op.execute("GRANT SELECT, INSERT, DELETE, UPDATE (revoked_at) ON token TO broker_web")
    op.execute("GRANT SELECT, INSERT, DELETE, UPDATE (last_used_at) ON person_session TO broker_web")
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON failed_login TO broker_web")


def downgrade() -> None:
    for table in ("failed_login", "person_session", "token", "used_jti", "client", "role_held", "person", "organization"):
        op.drop_table(table)
