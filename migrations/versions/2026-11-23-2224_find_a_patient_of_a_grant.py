"""Find one patient of a grant, next to a key, without reading all of the grant's: for calls about what is not there (B15).

A migration runs while the previous version still serves: the new index does all that the old one did.
"""

from alembic import op

revision = "202611232224"
down_revision = "202611232150"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_grant_patient_grant_id_patient_key", "grant_patient", ["grant_id", "patient_key"])
    op.drop_index("ix_grant_patient_grant_id", table_name="grant_patient")


def downgrade() -> None:
    op.create_index("ix_grant_patient_grant_id", "grant_patient", ["grant_id"])
    op.drop_index("ix_grant_patient_grant_id_patient_key", table_name="grant_patient")
