"""Create suggestions and complaints; feedback may be about one release.

A migration runs while the previous version still serves: add, backfill in batches, and only remove in a later release.
"""

import sqlalchemy as sa
from alembic import op

revision = "202611231428"
down_revision = "202611231421"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("feedback", sa.Column("release_id", sa.Uuid(), nullable=True))
    op.create_table(
        "concern",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=True),
        sa.Column("patient_token", sa.LargeBinary(), nullable=True),
        sa.Column("application", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("raised_at", TIME, nullable=False),
        sa.Column("due_at", TIME, nullable=False),
        sa.Column("answered_at", TIME, nullable=True),
        sa.Column("text_sealed", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("kind IN ('suggestion', 'complaint')", name=op.f("ck_concern_kind")),
        sa.CheckConstraint("state IN ('open', 'answered', 'closed')", name=op.f("ck_concern_state")),
        sa.CheckConstraint("(person_id IS NULL) <> (patient_token IS NULL)", name=op.f("ck_concern_raised_by")),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_concern_person_id_person")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_concern")),
        sa.UniqueConstraint("number", name=op.f("uq_concern_number")),
    )
    op.create_index("ix_concern_raised_at", "concern", ["raised_at"])
    op.create_index("ix_concern_person_id", "concern", ["person_id"])
    op.create_index("ix_concern_patient_token", "concern", ["patient_token"])
    op.create_index("ix_concern_due_at", "concern", ["due_at"], postgresql_where=sa.text("state = 'open'"))
    op.create_table(
        "concern_answer",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("concern_id", sa.Uuid(), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("corrective_action", sa.Text(), nullable=True),
        sa.Column("text_sealed", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["concern_id"], ["concern.id"], name=op.f("fk_concern_answer_concern_id_concern")),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_concern_answer_person_id_person")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_concern_answer")),
    )
    op.create_index("ix_concern_answer_concern_id", "concern_answer", ["concern_id"])
    op.create_table(
        "concern_number",
        sa.Column("prefix", sa.Text(), nullable=False),
        sa.Column("year", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("last", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("prefix", "year", name=op.f("pk_concern_number")),
    )
    op.execute("GRANT SELECT, INSERT, UPDATE (state, answered_at) ON concern TO broker_web")
    op.execute("GRANT SELECT, INSERT ON concern_answer TO broker_web")
    op.execute("GRANT SELECT, INSERT, UPDATE (last) ON concern_number TO broker_web")


def downgrade() -> None:
    for table in ("concern_number", "concern_answer", "concern"):
        op.drop_table(table)
    op.drop_column("feedback", "release_id")
