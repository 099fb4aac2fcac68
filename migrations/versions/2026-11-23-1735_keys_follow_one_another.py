"""Which keys an installation has had, and which signed its log, from when to when.

A migration runs while the previous version still serves: this one adds tables that the previous version does not know.
"""

import sqlalchemy as sa
import sqlmodel
from alembic import op

revision = "202611231735"
down_revision = "202611231730"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "installation_key",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("kid", sa.Text(), nullable=False),
        sa.Column("public", sa.Text(), nullable=True),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("retired_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("kind", "kid", name=op.f("pk_installation_key")),
    )
    op.execute("REVOKE ALL ON installation_key FROM PUBLIC")
    # A process that serves tells of the keys that it starts with; only the owner retires one.
    op.execute("GRANT SELECT ON installation_key TO broker_web, broker_log")
    op.execute("GRANT INSERT (kind, kid, public, since) ON installation_key TO broker_web")
    op.create_table(
        "log_key",
        sa.Column("vkey", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("first_size", sa.BigInteger(), nullable=False),
        sa.Column("first_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_size", sa.BigInteger(), nullable=True),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("vkey", name=op.f("pk_log_key")),
    )
    op.execute(
        """
        CREATE FUNCTION log_key_ends_once() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
          IF (NEW.vkey, NEW.first_size, NEW.first_at) IS DISTINCT FROM (OLD.vkey, OLD.first_size, OLD.first_at) OR OLD.last_at IS NOT NULL THEN
            RAISE EXCEPTION 'a key of the log ends once' USING ERRCODE = 'insufficient_privilege';
          END IF;
          RETURN NEW;
        END $$
        """
    )
    op.execute("CREATE TRIGGER ends_once BEFORE UPDATE ON log_key FOR EACH ROW EXECUTE FUNCTION log_key_ends_once()")
    op.execute("CREATE TRIGGER append_only BEFORE DELETE ON log_key FOR EACH ROW EXECUTE FUNCTION log_is_append_only()")
    op.execute("CREATE TRIGGER no_truncate BEFORE TRUNCATE ON log_key FOR EACH STATEMENT EXECUTE FUNCTION log_is_append_only()")
    for trigger in ("ends_once", "append_only", "no_truncate"):
        op.execute(f"ALTER TABLE log_key ENABLE ALWAYS TRIGGER {trigger}")
    op.execute("REVOKE ALL ON log_key FROM PUBLIC")
    op.execute("GRANT SELECT ON log_key TO broker_web, broker_log")
    op.execute("GRANT INSERT ON log_key TO broker_log")
    op.execute("GRANT UPDATE (last_size, last_at) ON log_key TO broker_log")


def downgrade() -> None:
    op.drop_table("log_key")
    op.execute("DROP FUNCTION log_key_ends_once()")
    op.drop_table("installation_key")
