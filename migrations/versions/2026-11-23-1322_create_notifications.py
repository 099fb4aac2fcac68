"""Create notifications: inbox, channels, outbox.

A migration runs while the previous version still serves: add, backfill in batches, and only remove in a later release.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "202611231322"
down_revision = "202611230970"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "notification",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("recipient", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("facts", postgresql.JSONB(), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("once", sa.Text(), nullable=True),
        sa.Column("read_at", TIME, nullable=True),
        sa.Column("read_by", sa.Uuid(), nullable=True),
        sa.ForeignKeyConstraint(["read_by"], ["person.id"], name=op.f("fk_notification_read_by_person")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notification")),
        sa.UniqueConstraint("once", name=op.f("uq_notification_once")),
    )
    op.create_index("ix_notification_recipient_at_id", "notification", ["recipient", "at", "id"])
    op.create_table(
        "notification_channel",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("recipient", sa.Text(), nullable=False),
        sa.Column("way", sa.Text(), nullable=False),
        sa.Column("address_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("secret_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.CheckConstraint("way IN ('mail', 'webhook')", name=op.f("ck_notification_channel_way")),
        sa.CheckConstraint("(way = 'webhook') = (secret_sealed IS NOT NULL)", name=op.f("ck_notification_channel_secret")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notification_channel")),
    )
    op.create_index("ix_notification_channel_recipient", "notification_channel", ["recipient"])
    op.create_table(
        "notification_delivery",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("notification_id", sa.Uuid(), nullable=False),
        sa.Column("channel_id", sa.Uuid(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_at", TIME, nullable=False),
        sa.Column("done_at", TIME, nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.CheckConstraint("status IN ('waiting', 'sent', 'failed')", name=op.f("ck_notification_delivery_status")),
        sa.ForeignKeyConstraint(["notification_id"], ["notification.id"], name=op.f("fk_notification_delivery_notification_id_notification")),
        sa.ForeignKeyConstraint(
            ["channel_id"], ["notification_channel.id"], name=op.f("fk_notification_delivery_channel_id_notification_channel"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notification_delivery")),
    )
    op.create_index("ix_notification_delivery_next_at", "notification_delivery", ["next_at"], postgresql_where=sa.text("status = 'waiting'"))
    op.create_index("ix_notification_delivery_channel_id", "notification_delivery", ["channel_id"])
    op.execute("GRANT SELECT, INSERT, UPDATE (read_at, read_by) ON notification TO broker_web")
    op.execute("GRANT SELECT, INSERT, DELETE ON notification_channel TO broker_web")
    op.execute("GRANT SELECT, INSERT, UPDATE (status, attempts, next_at, done_at, error) ON notification_delivery TO broker_web")


def downgrade() -> None:
    for table in ("notification_delivery", "notification_channel", "notification"):
        op.drop_table(table)
