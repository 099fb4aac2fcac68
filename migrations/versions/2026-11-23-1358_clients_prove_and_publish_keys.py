"""Clients may be bound to proofs of possession, publish their keys at an address, and have a key that releases are encrypted to.

A migration runs while the previous version still serves: new columns have a default, which it leaves as it is.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "202611231358"
down_revision = "202611231415"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("client", sa.Column("dpop", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("client", sa.Column("encryption_jwk", postgresql.JSONB(), nullable=True))
    op.create_table(
        "fetched_jwks",
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("uri", sa.Text(), nullable=False),
        sa.Column("jwks", postgresql.JSONB(), nullable=True),
        sa.Column("fetched_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["client_id"], ["client.id"], name=op.f("fk_fetched_jwks_client_id_client")),
        sa.PrimaryKeyConstraint("client_id", name=op.f("pk_fetched_jwks")),
    )
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON fetched_jwks TO broker_web")
    op.add_column("release", sa.Column("signature", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("release", "signature")
    op.drop_table("fetched_jwks")
    op.drop_column("client", "encryption_jwk")
    op.drop_column("client", "dpop")
