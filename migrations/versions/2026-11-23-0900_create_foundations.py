"""Create the two roles that requests and the sequencer speak as.

A migration runs while the previous version still serves: add, backfill in batches, and only remove in a later release.
"""

from alembic import op

revision = "202611230900"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Roles belong to the whole server, so another database of it, or the operator, may have made them already.
    for role in ("broker_web", "broker_log"):
        op.execute(
            f"""
            DO $$ BEGIN
              IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') THEN
                CREATE ROLE {role} NOLOGIN;
              END IF;
            EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
            END $$
            """
        )
        op.execute(f"GRANT USAGE ON SCHEMA public TO {role}")
        op.execute(f"DO $$ BEGIN EXECUTE format('GRANT {role} TO %I', current_user); END $$")
    op.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")


def downgrade() -> None:
    pass  # The roles may own rights in another database of this server.
