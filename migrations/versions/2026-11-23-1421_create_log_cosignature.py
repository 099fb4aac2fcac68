"""What witnesses said of published checkpoints.

A migration runs while the previous version still serves: this one adds a table that the previous version does not know.
"""

import sqlalchemy as sa
import sqlmodel
from alembic import op

revision = "202611231421"
down_revision = "202611231420"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "log_cosignature",
        sa.Column("size", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("witness", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("line", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("size", "witness", name=op.f("pk_log_cosignature")),
    )
    op.create_index("ix_log_cosignature_witness_size", "log_cosignature", ["witness", "size"])
    op.execute("CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON log_cosignature FOR EACH ROW EXECUTE FUNCTION log_is_append_only()")
    op.execute("CREATE TRIGGER no_truncate BEFORE TRUNCATE ON log_cosignature FOR EACH STATEMENT EXECUTE FUNCTION log_is_append_only()")
    op.execute("ALTER TABLE log_cosignature ENABLE ALWAYS TRIGGER append_only")
    op.execute("ALTER TABLE log_cosignature ENABLE ALWAYS TRIGGER no_truncate")
    op.execute("REVOKE ALL ON log_cosignature FROM PUBLIC")
    op.execute("GRANT SELECT ON log_cosignature TO broker_web, broker_log")
    op.execute("GRANT INSERT ON log_cosignature TO broker_log")


def downgrade() -> None:
    op.drop_table("log_cosignature")
