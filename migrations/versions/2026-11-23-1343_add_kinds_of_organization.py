"""Add kinds of organization.

Nursing and infection control have least-necessary profiles of their own. A migration runs while the previous version still serves: it
knows no such rows, and a constraint that allows more refuses nothing that it writes. ``NOT VALID`` keeps the lock short.
"""

from alembic import op

revision = "202611231343"
down_revision = "202611231340"
branch_labels = None
depends_on = None

BEFORE = ("hospital", "department", "laboratory", "imaging", "finance", "quality", "research", "pharmacy", "insurer", "authority")
AFTER = (*BEFORE, "nursing", "infection_control")


def _allow(kinds: tuple[str, ...]) -> None:
    listed = ", ".join(f"'{kind}'" for kind in kinds)
    op.execute("ALTER TABLE organization DROP CONSTRAINT ck_organization_kind")
    op.execute(f"ALTER TABLE organization ADD CONSTRAINT ck_organization_kind CHECK (kind IN ({listed})) NOT VALID")
    op.execute("ALTER TABLE organization VALIDATE CONSTRAINT ck_organization_kind")


def upgrade() -> None:
    _allow(AFTER)


def downgrade() -> None:
    _allow(BEFORE)
