"""Create the jobs' tables: Procrastinate's own, by the migrations that it ships, up to the version named here.

A later version's further migrations get a migration of ours. A migration runs while the previous version still serves:
add, backfill in batches, and only remove in a later release.
"""

from importlib.resources import files

from alembic import op

revision = "202611231335"
down_revision = "202611231322"
branch_labels = None
depends_on = None

LAST = "03.04.00_50"


def upgrade() -> None:
    folder = files("procrastinate.sql") / "migrations"
    names = sorted(file.name for file in folder.iterdir() if file.name.endswith(".sql"))
    wanted = [name for name in names if name[: len(LAST)] <= LAST]
    if not wanted or not wanted[-1].startswith(LAST):
        raise RuntimeError(f"procrastinate ships no migration {LAST}")
    driver = op.get_bind().connection.driver_connection
    for name in wanted:
        driver.execute((folder / name).read_text(encoding="utf-8"))  # Without parameters: a file is many statements.
    op.execute(
        "GRANT SELECT, INSERT, UPDATE, DELETE ON procrastinate_jobs, procrastinate_workers, procrastinate_periodic_defers, procrastinate_events"
        " TO broker_web"
    )
    op.execute(
        "GRANT USAGE ON SEQUENCE procrastinate_jobs_id_seq, procrastinate_periodic_defers_id_seq, procrastinate_events_id_seq,"
        " procrastinate_workers_id_seq TO broker_web"
    )


def downgrade() -> None:
    op.execute("DROP TABLE procrastinate_events, procrastinate_periodic_defers, procrastinate_jobs, procrastinate_workers CASCADE")
    op.execute(
        "DO $$ DECLARE made record; BEGIN"
        " FOR made IN SELECT oid::regprocedure AS name FROM pg_proc WHERE proname LIKE 'procrastinate\\_%' AND pronamespace = 'public'::regnamespace"
        " LOOP EXECUTE format('DROP FUNCTION %s CASCADE', made.name); END LOOP; END $$"
    )
    op.execute("DROP TYPE procrastinate_job_to_defer_v1, procrastinate_job_status, procrastinate_job_event_type CASCADE")
