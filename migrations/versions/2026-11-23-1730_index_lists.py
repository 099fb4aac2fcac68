"""Lists of applications are read from an index in their order, whatever they are searched for, and never sorted as a whole.

A migration runs while the previous version still serves: an index only adds. The one on ``submitted_at`` alone goes, since the new one does its work.
"""

import sqlalchemy as sa
from alembic import op

revision = "202611231730"
down_revision = "202611231700"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_application_organization_id_created_at", "application", ["organization_id", "created_at"])
    op.create_index("ix_application_submitted_at_id", "application", ["submitted_at", "id"])
    op.create_index("ix_application_changed_at_id", "application", ["changed_at", "id"])
    op.create_index("ix_application_status_submitted_at_id", "application", ["status", "submitted_at", "id"])
    op.create_index("ix_application_purpose_submitted_at_id", "application", ["purpose", "submitted_at", "id"])
    op.create_index("ix_application_urgency_submitted_at_id", "application", [sa.text("(form ->> 'urgency')"), "submitted_at", "id"])
    op.create_index("ix_application_number_prefix", "application", ["number"], postgresql_ops={"number": "text_pattern_ops"})
    op.create_index("ix_application_needs", "application", ["needs"], postgresql_using="gin")
    op.drop_index("ix_application_submitted_at", "application")


def downgrade() -> None:
    op.create_index("ix_application_submitted_at", "application", ["submitted_at"])
    for name in (
        "needs",
        "number_prefix",
        "urgency_submitted_at_id",
        "purpose_submitted_at_id",
        "status_submitted_at_id",
        "changed_at_id",
        "submitted_at_id",
        "organization_id_created_at",
    ):
        op.drop_index(f"ix_application_{name}", "application")
