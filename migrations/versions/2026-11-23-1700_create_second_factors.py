"""Create second factors, single sign-on, and what sessions say of themselves.

A migration runs while the previous version still serves: add, backfill in batches, and only remove in a later release.
"""

import sqlalchemy as sa
from alembic import op

revision = "202611231700"
down_revision = "202611231520"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
TABLES = ("second_factor", "recovery_code", "webauthn_challenge", "password_link", "factor_reset", "sso_link", "sso_attempt")


def of_person(table: str, column: str = "person_id") -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], ["person.id"], name=op.f(f"fk_{table}_{column}_person"))


def extend_what_is_there() -> None:
    op.add_column("person", sa.Column("must_change_password", sa.Boolean(), server_default=sa.false(), nullable=False))
    # A volatile default rewrites the table; sessions are few and short-lived.
    op.add_column("person_session", sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False))
    op.add_column("person_session", sa.Column("proved_at", TIME, server_default=sa.func.now(), nullable=False))
    op.add_column("person_session", sa.Column("second_at", TIME, nullable=True))
    op.add_column("person_session", sa.Column("method", sa.Text(), server_default="password", nullable=False))
    op.add_column("person_session", sa.Column("agent", sa.Text(), server_default="", nullable=False))
    op.add_column("person_session", sa.Column("sid", sa.Text(), nullable=True))
    op.create_unique_constraint(op.f("uq_person_session_id"), "person_session", ["id"])
    op.create_check_constraint(op.f("ck_person_session_method"), "person_session", "method IN ('password', 'passkey', 'sso')")
    op.create_index("ix_person_session_sid", "person_session", ["sid"])
    op.execute("GRANT UPDATE (secret_hash, proved_at, second_at, expires_at) ON person_session TO broker_web")


def create_factors() -> None:
    op.create_table(
        "second_factor",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("added_at", TIME, nullable=False),
        sa.Column("confirmed_at", TIME, nullable=True),
        sa.Column("last_used_at", TIME, nullable=True),
        sa.Column("disabled_at", TIME, nullable=True),
        sa.Column("secret_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("last_step", sa.BigInteger(), nullable=True),
        sa.Column("credential_id", sa.LargeBinary(), nullable=True),
        sa.Column("public_key", sa.LargeBinary(), nullable=True),
        sa.Column("sign_count", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("kind IN ('totp', 'webauthn')", name=op.f("ck_second_factor_kind")),
        sa.CheckConstraint("(kind = 'totp') = (secret_sealed IS NOT NULL)", name=op.f("ck_second_factor_secret")),
        of_person("second_factor"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_second_factor")),
        sa.UniqueConstraint("credential_id", name=op.f("uq_second_factor_credential_id")),
    )
    op.create_index("ix_second_factor_person_id", "second_factor", ["person_id"])
    op.create_table(
        "recovery_code",
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("code_hash", sa.LargeBinary(), nullable=False),
        of_person("recovery_code"),
        sa.PrimaryKeyConstraint("person_id", "code_hash", name=op.f("pk_recovery_code")),
    )
    op.create_table(
        "webauthn_challenge",
        sa.Column("challenge_hash", sa.LargeBinary(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=True),
        sa.Column("expires_at", TIME, nullable=False),
        of_person("webauthn_challenge"),
        sa.PrimaryKeyConstraint("challenge_hash", name=op.f("pk_webauthn_challenge")),
    )
    op.create_index("ix_webauthn_challenge_expires_at", "webauthn_challenge", ["expires_at"])


def create_resets() -> None:
    op.create_table(
        "password_link",
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("secret_hash", sa.LargeBinary(), nullable=False),
        sa.Column("made_by", sa.Uuid(), nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        of_person("password_link"),
        of_person("password_link", "made_by"),
        sa.PrimaryKeyConstraint("person_id", name=op.f("pk_password_link")),
        sa.UniqueConstraint("secret_hash", name=op.f("uq_password_link_secret_hash")),
    )
    op.create_table(
        "factor_reset",
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("asked_by", sa.Uuid(), nullable=False),
        sa.Column("asked_at", TIME, nullable=False),
        of_person("factor_reset"),
        of_person("factor_reset", "asked_by"),
        sa.PrimaryKeyConstraint("person_id", name=op.f("pk_factor_reset")),
    )


def create_sso() -> None:
    op.create_table(
        "sso_link",
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("linked_at", TIME, nullable=False),
        of_person("sso_link"),
        sa.PrimaryKeyConstraint("issuer", "subject", name=op.f("pk_sso_link")),
    )
    op.create_index("ix_sso_link_person_id", "sso_link", ["person_id"])
    op.create_table(
        "sso_attempt",
        sa.Column("state_hash", sa.LargeBinary(), nullable=False),
        sa.Column("browser_hash", sa.LargeBinary(), nullable=False),
        sa.Column("onward", sa.Text(), nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("state_hash", name=op.f("pk_sso_attempt")),
    )
    op.create_index("ix_sso_attempt_expires_at", "sso_attempt", ["expires_at"])


def upgrade() -> None:
    extend_what_is_there()
    create_factors()
    create_resets()
    create_sso()
    for table in TABLES:
        op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO broker_web")


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_table(table)
    for column in ("sid", "agent", "method", "second_at", "proved_at", "id"):
        op.drop_column("person_session", column)
    op.drop_column("person", "must_change_password")
