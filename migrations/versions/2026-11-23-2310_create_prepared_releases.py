"""Keep what the next whole release may send of one patient, sealed; count every change of a patient's records.

A migration runs while the previous version still serves: add, backfill in batches, and only remove in a later release.
"""

import sqlalchemy as sa
from alembic import op

revision = "202611232310"
down_revision = "202611232258"
branch_labels = None
depends_on = None

SHARED = "00000000-0000-0000-0000-000000000000"


def upgrade() -> None:
    # Apart from the patient's row: a withdrawal writes there, and would wait for whoever is taking in records of the patient.
    op.create_table(
        "record_changes",
        sa.Column("patient_key", sa.Uuid(), nullable=False),
        sa.Column("changes", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["patient_key"], ["patient.patient_key"], name=op.f("fk_record_changes_patient_key_patient")),
        sa.PrimaryKeyConstraint("patient_key", name=op.f("pk_record_changes")),
    )
    op.execute("GRANT SELECT ON record_changes TO broker_web")
    op.create_table(
        "prepared_release",
        sa.Column("patient_key", sa.Uuid(), nullable=False),
        sa.Column("grant_id", sa.Uuid(), nullable=False),
        sa.Column("basis", sa.LargeBinary(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("changes", sa.BigInteger(), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("watched", sa.ARRAY(sa.Uuid()), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["patient_key"], ["patient.patient_key"], name=op.f("fk_prepared_release_patient_key_patient")),
        sa.PrimaryKeyConstraint("patient_key", "grant_id", name=op.f("pk_prepared_release")),
    )
    op.create_index("ix_prepared_release_made_at", "prepared_release", ["made_at"])
    # Sealed bytes don't compress, and the planner's samples of them would be copies.
    op.execute("ALTER TABLE prepared_release ALTER COLUMN body SET STORAGE EXTERNAL, ALTER COLUMN body SET STATISTICS 0")
    op.execute("GRANT SELECT, INSERT, DELETE, UPDATE (basis, epoch, changes, made_at, watched, body) ON prepared_release TO broker_web")
    # Whoever writes records, by whatever way, moves the number on, and nobody else can, since both functions act as their owner;
    # shared resources are compared one by one and have none.
    op.execute(
        f"""
        CREATE FUNCTION count_changes() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
        BEGIN
            INSERT INTO record_changes AS r (patient_key, changes)
            SELECT DISTINCT c.patient_key, 1 FROM changed c WHERE c.patient_key <> '{SHARED}' ORDER BY 1
            ON CONFLICT (patient_key) DO UPDATE SET changes = r.changes + 1;
            RETURN NULL;
        END $$
        """
    )
    for event, table in (("INSERT", "NEW"), ("UPDATE", "NEW"), ("DELETE", "OLD")):
        op.execute(
            f"CREATE TRIGGER count_changes_{event.lower()} AFTER {event} ON resource REFERENCING {table} TABLE AS changed"
            " FOR EACH STATEMENT EXECUTE FUNCTION count_changes()"
        )
    # A key that goes takes what was prepared under it along, whoever destroys it, and so does a patient of whom nothing is released any more.
    op.execute(
        """
        CREATE FUNCTION forget_prepared() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
        BEGIN
            DELETE FROM prepared_release WHERE patient_key = NEW.patient_key;
            RETURN NULL;
        END $$
        """
    )
    op.execute("CREATE TRIGGER forget_prepared AFTER UPDATE OF wrapped_key, frozen_at ON patient FOR EACH ROW EXECUTE FUNCTION forget_prepared()")


def downgrade() -> None:
    op.execute("DROP TRIGGER forget_prepared ON patient")
    op.execute("DROP FUNCTION forget_prepared")
    for event in ("insert", "update", "delete"):
        op.execute(f"DROP TRIGGER count_changes_{event} ON resource")
    op.execute("DROP FUNCTION count_changes")
    op.drop_table("prepared_release")
    op.drop_table("record_changes")
