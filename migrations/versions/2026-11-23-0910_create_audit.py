"""Create audit.

A migration runs while the previous version still serves: add, backfill in batches, and only remove in a later release.
"""

from typing import Any

import sqlalchemy as sa
import sqlmodel
from alembic import op

revision = "202611230910"
down_revision = "202611230900"
branch_labels = None
depends_on = None

#: SHA-256 of nothing: the root of the empty tree.
EMPTY_ROOT = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

APPEND_ONLY = ("audit_event", "log_entry", "log_tile", "log_checkpoint")

#: What a request may write. Not ``xid`` and ``seq``: a row with a transaction id of its own choice could slip past the sequencer.
WRITABLE = "id, at, type, actor, application, grant_id, recipient, purpose, patient_key, subject, release_id, outcome, leaf"


class Xid8(sa.types.UserDefinedType[str]):
    """PostgreSQL's 64-bit transaction id."""

    cache_ok = True

    def get_col_spec(self, **_kw: Any) -> str:
        """The column's type in DDL."""
        return "XID8"


def text() -> sqlmodel.sql.sqltypes.AutoString:
    return sqlmodel.sql.sqltypes.AutoString()


def create_tables() -> None:
    op.create_table(
        "audit_event",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("xid", Xid8(), server_default=sa.text("pg_current_xact_id()"), nullable=False),
        sa.Column("seq", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("type", text(), nullable=False),
        sa.Column("actor", text(), nullable=False),
        sa.Column("application", text(), nullable=True),
        sa.Column("grant_id", text(), nullable=True),
        sa.Column("recipient", text(), nullable=True),
        sa.Column("purpose", text(), nullable=True),
        sa.Column("patient_key", sa.Uuid(), nullable=True),
        sa.Column("subject", text(), nullable=True),
        sa.Column("release_id", sa.Uuid(), nullable=True),
        sa.Column("outcome", text(), nullable=True),
        sa.Column("leaf", text(), nullable=False),
        sa.CheckConstraint("octet_length(leaf) <= 2048", name=op.f("ck_audit_event_leaf_size")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_event")),
    )
    op.create_index("ix_audit_event_xid_seq", "audit_event", ["xid", "seq"], unique=True)
    op.create_index("ix_audit_event_patient_key_id", "audit_event", ["patient_key", "id"], postgresql_where=sa.text("patient_key IS NOT NULL"))
    op.create_index("ix_audit_event_application_id", "audit_event", ["application", "id"], postgresql_where=sa.text("application IS NOT NULL"))
    op.create_index("ix_audit_event_release_id", "audit_event", ["release_id"], postgresql_where=sa.text("release_id IS NOT NULL"))
    op.create_table(
        "log_entry",
        sa.Column("index", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("index", name=op.f("pk_log_entry")),
        sa.UniqueConstraint("event_id", name=op.f("uq_log_entry_event_id")),
    )
    op.create_table(
        "log_tile",
        sa.Column("level", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("hashes", sa.LargeBinary(), nullable=False),
        sa.Column("root", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("level", "number", name=op.f("pk_log_tile")),
    )
    op.create_table(
        "log_checkpoint",
        sa.Column("size", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("root", sa.LargeBinary(), nullable=False),
        sa.Column("note", text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("size", name=op.f("pk_log_checkpoint")),
    )
    op.create_table(
        "log_state",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("root", sa.LargeBinary(), nullable=False),
        sa.Column("cursor_xid", Xid8(), nullable=False),
        sa.Column("cursor_seq", sa.BigInteger(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_log_state_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_log_state")),
    )
    op.execute(f"INSERT INTO log_state VALUES (1, 0, '\\x{EMPTY_ROOT}', '0', 0, 0)")
    # Hashes don't compress; trying costs time on every tile.
    op.execute("ALTER TABLE log_tile ALTER COLUMN hashes SET STORAGE EXTERNAL")


def forbid_rewriting() -> None:
    """Triggers that hold for everyone, owner included. ALWAYS: a session that plays replica is held as well."""
    op.execute(
        """
        CREATE FUNCTION log_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
          RAISE EXCEPTION '% on %: the log is append-only', TG_OP, TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
        END $$
        """
    )
    op.execute(
        """
        CREATE FUNCTION log_state_only_grows() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
          IF NEW.id <> OLD.id OR NEW.size < OLD.size OR NEW.fence < OLD.fence OR (NEW.size = OLD.size AND NEW.root <> OLD.root) THEN
            RAISE EXCEPTION 'the log only grows' USING ERRCODE = 'insufficient_privilege';
          END IF;
          RETURN NEW;
        END $$
        """
    )
    for table in APPEND_ONLY:
        op.execute(f"CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION log_is_append_only()")
    op.execute("CREATE TRIGGER append_only BEFORE INSERT OR DELETE ON log_state FOR EACH ROW EXECUTE FUNCTION log_is_append_only()")
    op.execute("CREATE TRIGGER only_grows BEFORE UPDATE ON log_state FOR EACH ROW EXECUTE FUNCTION log_state_only_grows()")
    op.execute("ALTER TABLE log_state ENABLE ALWAYS TRIGGER only_grows")
    for table in (*APPEND_ONLY, "log_state"):
        op.execute(f"CREATE TRIGGER no_truncate BEFORE TRUNCATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION log_is_append_only()")
        op.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER append_only")
        op.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER no_truncate")


def grant() -> None:
    for table in (*APPEND_ONLY, "log_state"):
        op.execute(f"REVOKE ALL ON {table} FROM PUBLIC")
        op.execute(f"GRANT SELECT ON {table} TO broker_web")
    # The sequencer orders leaves; about whom they are is not its business.
    op.execute("GRANT SELECT (id, xid, seq, leaf) ON audit_event TO broker_log")
    op.execute("GRANT SELECT ON log_entry, log_tile, log_checkpoint, log_state TO broker_log")
    op.execute(f"GRANT INSERT ({WRITABLE}) ON audit_event TO broker_web")
    op.execute("GRANT INSERT ON log_entry, log_tile, log_checkpoint TO broker_log")
    op.execute("GRANT UPDATE (size, root, cursor_xid, cursor_seq, fence) ON log_state TO broker_log")


def upgrade() -> None:
    create_tables()
    forbid_rewriting()
    grant()


def downgrade() -> None:
    for table in ("log_state", "log_checkpoint", "log_tile", "log_entry", "audit_event"):
        op.drop_table(table)
    op.execute("DROP FUNCTION log_state_only_grows(), log_is_append_only()")
