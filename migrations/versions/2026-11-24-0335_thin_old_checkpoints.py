"""Old checkpoints that are followed by another of the same hour may go, by a rule that the database holds itself (QA-5).

A migration runs while the previous version still serves: it deletes nothing and goes on.
"""

from alembic import op

revision = "202611240335"
down_revision = "202611240315"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE FUNCTION log_checkpoint_thins() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
          IF OLD.at < now() - interval '7 days'
            AND NOT EXISTS (SELECT FROM log_cosignature w WHERE w.size = OLD.size)
            AND date_trunc('hour', OLD.at, 'UTC') = (
              SELECT date_trunc('hour', c.at, 'UTC') FROM log_checkpoint c WHERE c.size > OLD.size ORDER BY c.size LIMIT 1)
          THEN
            RETURN OLD;
          END IF;
          RAISE EXCEPTION 'DELETE on log_checkpoint: the log is append-only; old checkpoints that nobody cosigned go up to the last of an hour'
            USING ERRCODE = 'insufficient_privilege';
        END $$
        """
    )
    op.execute("CREATE TRIGGER thins_by_rule BEFORE DELETE ON log_checkpoint FOR EACH ROW EXECUTE FUNCTION log_checkpoint_thins()")
    op.execute("ALTER TABLE log_checkpoint ENABLE ALWAYS TRIGGER thins_by_rule")
    op.execute("DROP TRIGGER append_only ON log_checkpoint")
    op.execute("CREATE TRIGGER append_only BEFORE UPDATE ON log_checkpoint FOR EACH ROW EXECUTE FUNCTION log_is_append_only()")
    op.execute("ALTER TABLE log_checkpoint ENABLE ALWAYS TRIGGER append_only")
    op.execute("GRANT DELETE ON log_checkpoint TO broker_log")


def downgrade() -> None:
    op.execute("REVOKE DELETE ON log_checkpoint FROM broker_log")
    op.execute("DROP TRIGGER append_only ON log_checkpoint")
    op.execute("CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON log_checkpoint FOR EACH ROW EXECUTE FUNCTION log_is_append_only()")
    op.execute("ALTER TABLE log_checkpoint ENABLE ALWAYS TRIGGER append_only")
    op.execute("DROP TRIGGER thins_by_rule ON log_checkpoint")
    op.execute("DROP FUNCTION log_checkpoint_thins()")
