"""Let a person agree that a system fetches for them: redirect addresses of clients, codes, and whom a token is for.

A migration runs while the previous version still serves: new columns have a default or none, which it leaves as it is.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "202611240345"
down_revision = "202611240335"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("client", sa.Column("redirect_uris", postgresql.JSONB(), nullable=False, server_default=sa.text("'[]'")))
    op.add_column("token", sa.Column("person_id", sa.Uuid(), nullable=True))
    op.create_table(
        "authorization_code",
        sa.Column("code_hash", sa.LargeBinary(), nullable=False),
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("grant_id", sa.Uuid(), nullable=False),
        sa.Column("redirect_uri", sa.Text(), nullable=False),
        sa.Column("code_challenge", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.Column("used_at", TIME, nullable=True),
        sa.Column("jti", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["client_id"], ["client.id"], name=op.f("fk_authorization_code_client_id_client")),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_authorization_code_person_id_person")),
        sa.PrimaryKeyConstraint("code_hash", name=op.f("pk_authorization_code")),
    )
    op.create_index("ix_authorization_code_expires_at", "authorization_code", ["expires_at"])
    op.execute("GRANT SELECT, INSERT, DELETE, UPDATE (used_at, jti) ON authorization_code TO broker_web")


def downgrade() -> None:
    op.drop_table("authorization_code")
    op.drop_column("token", "person_id")
    op.drop_column("client", "redirect_uris")
