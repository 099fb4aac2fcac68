"""Create retention: holds, destruction orders; keys and words may be destroyed.

A migration runs while the previous version still serves: add, backfill in batches, and only remove in a later release.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "202611231405"
down_revision = "202611231418"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
SECRETS = (
    ("patient", "wrapped_key"),
    ("patient", "fhir_id_sealed"),
    ("application", "justification_sealed"),
    ("application", "patients_sealed"),
    ("application_decision", "reason_sealed"),
    ("application_submission", "justification_sealed"),
    ("application_attachment", "name_sealed"),
    ("application_attachment", "body_sealed"),
    ("idempotency_key", "answer_sealed"),
    ("feedback", "comment_sealed"),
)


def upgrade() -> None:
    op.create_table(
        "destruction_order",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("proposed_at", TIME, nullable=False),
        sa.Column("proposed_by", sa.Text(), nullable=False),
        sa.Column("approvals", postgresql.JSONB(), nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("what_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("executed_at", TIME, nullable=True),
        sa.Column("event", sa.Uuid(), nullable=True),
        sa.Column("scrubbed_at", TIME, nullable=True),
        sa.Column("scrub", postgresql.JSONB(none_as_null=True), nullable=True),
        sa.CheckConstraint("kind IN ('shred', 'paper', 'media')", name=op.f("ck_destruction_order_kind")),
        sa.CheckConstraint("status IN ('proposed', 'executed', 'cancelled')", name=op.f("ck_destruction_order_status")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_destruction_order")),
        sa.UniqueConstraint("number", name=op.f("uq_destruction_order_number")),
    )
    op.create_index("ix_destruction_order_proposed_at", "destruction_order", ["proposed_at"])
    op.create_table(
        "destruction_item",
        sa.Column("patient_key", sa.Uuid(), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=True),
        sa.Column("removed", postgresql.JSONB(none_as_null=True), nullable=True),
        sa.Column("done_at", TIME, nullable=True),
        sa.ForeignKeyConstraint(["order_id"], ["destruction_order.id"], name=op.f("fk_destruction_item_order_id_destruction_order")),
        sa.ForeignKeyConstraint(["patient_key"], ["patient.patient_key"], name=op.f("fk_destruction_item_patient_key_patient")),
        sa.PrimaryKeyConstraint("patient_key", "order_id", name=op.f("pk_destruction_item")),
    )
    op.create_index("ix_destruction_item_order_id", "destruction_item", ["order_id"])
    op.create_table(
        "retention_hold",
        sa.Column("patient_key", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("reason_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("placed_at", TIME, nullable=False),
        sa.Column("placed_by", sa.Text(), nullable=False),
        sa.Column("released_at", TIME, nullable=True),
        sa.Column("released_by", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["patient_key"], ["patient.patient_key"], name=op.f("fk_retention_hold_patient_key_patient")),
        sa.PrimaryKeyConstraint("patient_key", "id", name=op.f("pk_retention_hold")),
    )
    op.create_index("ix_retention_hold_id", "retention_hold", ["id"], unique=True)
    op.execute("GRANT SELECT, INSERT, UPDATE ON retention_hold, destruction_order, destruction_item TO broker_web")
    # Destroying a key: what stands in these columns may be overwritten, and the rows of the records may go.
    op.execute("GRANT UPDATE (wrapped_key, fhir_id_sealed) ON patient TO broker_web")
    op.execute("GRANT DELETE ON resource TO broker_web")
    op.execute("GRANT UPDATE (reason_sealed) ON application_decision TO broker_web")
    op.execute("GRANT UPDATE (justification_sealed) ON application_submission TO broker_web")
    op.execute("GRANT UPDATE (comment_sealed) ON feedback TO broker_web")
    # The planner's samples of a column are copies of it.
    for table, column in SECRETS:
        op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} SET STATISTICS 0")


def downgrade() -> None:
    op.drop_table("retention_hold")
    op.drop_table("destruction_item")
    op.drop_table("destruction_order")
