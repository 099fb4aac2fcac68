"""The database itself insists that a patient's key is emptied only by an executed order of two people, which nobody can change afterwards (PI-3.5).

A migration runs while the previous version still serves: add, backfill in batches, and only remove in a later release. The previous
version executes its orders before it empties a key, so that it goes on working under this.
"""

from alembic import op

revision = "202611231746"
down_revision = "202611231745"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE OR REPLACE FUNCTION keep_patient_key() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF current_user <> 'broker_web' THEN
                RETURN NEW;
            END IF;
            IF NEW.wrapped_key <> '' OR NEW.fhir_id_sealed <> '' THEN
                RAISE EXCEPTION 'permission denied: a key may be destroyed, not exchanged' USING ERRCODE = 'insufficient_privilege';
            END IF;
            IF OLD.wrapped_key <> '' AND NOT EXISTS (
                SELECT FROM destruction_item i JOIN destruction_order o ON o.id = i.order_id
                WHERE i.patient_key = OLD.patient_key AND o.kind = 'shred' AND o.status = 'executed'
                  AND (SELECT count(DISTINCT p.natural_person)
                       FROM jsonb_array_elements(o.approvals) a
                       JOIN person p ON p.natural_person = a ->> 'natural_person' AND 'person:' || p.id = a ->> 'actor') >= 2
            ) THEN
                RAISE EXCEPTION 'permission denied: a key is destroyed by an executed order of two people' USING ERRCODE = 'insufficient_privilege';
            END IF;
            RETURN NEW;
        END $$
        """
    )
    op.execute(
        """
        CREATE FUNCTION keep_destruction_order() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF current_user = 'broker_web' AND (
                NOT NEW.approvals @> OLD.approvals OR OLD.status = 'cancelled' AND NEW.status <> 'cancelled'
                OR OLD.status = 'executed' AND (NEW.status <> 'executed' OR NEW.approvals <> OLD.approvals OR NEW.executed_at <> OLD.executed_at)
                OR (NEW.id, NEW.number, NEW.kind, NEW.reason, NEW.method, NEW.proposed_by)
                   IS DISTINCT FROM (OLD.id, OLD.number, OLD.kind, OLD.reason, OLD.method, OLD.proposed_by)
            ) THEN
                RAISE EXCEPTION 'permission denied: approvals are only added, and what was executed stays' USING ERRCODE = 'insufficient_privilege';
            END IF;
            RETURN NEW;
        END $$
        """
    )
    op.execute(
        """
        CREATE TRIGGER keep_destruction_order BEFORE UPDATE ON destruction_order
        FOR EACH ROW EXECUTE FUNCTION keep_destruction_order()
        """
    )
    op.execute(
        """
        CREATE FUNCTION keep_destruction_item() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF current_user = 'broker_web' AND NOT EXISTS (
                SELECT FROM destruction_order o WHERE o.id = NEW.order_id AND o.status = 'proposed' AND jsonb_array_length(o.approvals) <= 1
            ) THEN
                RAISE EXCEPTION 'permission denied: what two people approved gets no more patients' USING ERRCODE = 'insufficient_privilege';
            END IF;
            RETURN NEW;
        END $$
        """
    )
    op.execute(
        """
        CREATE TRIGGER keep_destruction_item BEFORE INSERT OR UPDATE OF patient_key, order_id ON destruction_item
        FOR EACH ROW EXECUTE FUNCTION keep_destruction_item()
        """
    )


def downgrade() -> None:
    op.execute("DROP TRIGGER keep_destruction_item ON destruction_item")
    op.execute("DROP FUNCTION keep_destruction_item")
    op.execute("DROP TRIGGER keep_destruction_order ON destruction_order")
    op.execute("DROP FUNCTION keep_destruction_order")
    op.execute(
        """
        CREATE OR REPLACE FUNCTION keep_patient_key() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF current_user = 'broker_web' AND (NEW.wrapped_key <> '' OR NEW.fhir_id_sealed <> '') THEN
                RAISE EXCEPTION 'permission denied: a key may be destroyed, not exchanged' USING ERRCODE = 'insufficient_privilege';
            END IF;
            RETURN NEW;
        END $$
        """
    )
