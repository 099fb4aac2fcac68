"""A patient's key may be destroyed and never exchanged, and records may go only with their key, whoever holds the web process's login.

A migration runs while the previous version still serves: add, backfill in batches, and only remove in a later release.
"""

from alembic import op

revision = "202611231520"
down_revision = "202611231450"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE FUNCTION keep_patient_key() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF current_user = 'broker_web' AND (NEW.wrapped_key <> '' OR NEW.fhir_id_sealed <> '') THEN
                RAISE EXCEPTION 'permission denied: a key may be destroyed, not exchanged' USING ERRCODE = 'insufficient_privilege';
            END IF;
            RETURN NEW;
        END $$
        """
    )
    op.execute(
        """
        CREATE TRIGGER keep_patient_key BEFORE UPDATE OF wrapped_key, fhir_id_sealed ON patient
        FOR EACH ROW EXECUTE FUNCTION keep_patient_key()
        """
    )
    op.execute(
        """
        CREATE FUNCTION keep_records() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF current_user = 'broker_web' AND EXISTS (SELECT FROM patient p WHERE p.patient_key = OLD.patient_key AND p.wrapped_key <> '') THEN
                RAISE EXCEPTION 'permission denied: records go only with their key' USING ERRCODE = 'insufficient_privilege';
            END IF;
            RETURN OLD;
        END $$
        """
    )
    op.execute("CREATE TRIGGER keep_records BEFORE DELETE ON resource FOR EACH ROW EXECUTE FUNCTION keep_records()")


def downgrade() -> None:
    op.execute("DROP TRIGGER keep_records ON resource")
    op.execute("DROP FUNCTION keep_records")
    op.execute("DROP TRIGGER keep_patient_key ON patient")
    op.execute("DROP FUNCTION keep_patient_key")
