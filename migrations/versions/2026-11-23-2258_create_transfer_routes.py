"""Create the register of routes by which data may leave the mainland (PIPL 38 to 41).

A migration runs while the previous version still serves: add, backfill in batches, and only remove in a later release.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "202611232258"
down_revision = "202611232230"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "transfer_route",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("recipient_id", sa.Text(), nullable=False),
        sa.Column("route", sa.Text(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("valid_from", TIME, nullable=False),
        sa.Column("valid_until", TIME, nullable=True),
        sa.Column("purposes", JSONB(), nullable=False),
        sa.Column("classes", JSONB(), nullable=False),
        sa.Column("persons_limit", sa.Integer(), nullable=True),
        sa.Column("impact_assessment", sa.Text(), nullable=False),
        sa.Column("foreign_authority", sa.Boolean(), nullable=False),
        sa.Column("authority_approval", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("proposed_by", sa.Text(), nullable=False),
        sa.Column("proposed_at", TIME, nullable=False),
        sa.Column("confirmed_by", sa.Text(), nullable=True),
        sa.Column("confirmed_at", TIME, nullable=True),
        sa.Column("ended_at", TIME, nullable=True),
        sa.CheckConstraint("state IN ('proposed', 'confirmed', 'ended')", name=op.f("ck_transfer_route_state")),
        sa.CheckConstraint("valid_until IS NULL OR valid_from < valid_until", name=op.f("ck_transfer_route_term")),
        sa.CheckConstraint("persons_limit IS NULL OR persons_limit > 0", name=op.f("ck_transfer_route_persons")),
        sa.CheckConstraint("confirmed_by IS NULL OR confirmed_by <> proposed_by", name=op.f("ck_transfer_route_four_eyes")),
        sa.CheckConstraint("state <> 'confirmed' OR confirmed_by IS NOT NULL", name=op.f("ck_transfer_route_confirmed")),
        sa.CheckConstraint("state <> 'ended' OR ended_at IS NOT NULL", name=op.f("ck_transfer_route_ended")),
        sa.ForeignKeyConstraint(["recipient_id"], ["organization.id"], name=op.f("fk_transfer_route_recipient_id_organization")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_transfer_route")),
    )
    op.create_index("ix_transfer_route_recipient_id", "transfer_route", ["recipient_id"])
    op.execute("GRANT SELECT, INSERT, UPDATE (state, confirmed_by, confirmed_at, ended_at) ON transfer_route TO broker_web")


def downgrade() -> None:
    op.drop_table("transfer_route")
