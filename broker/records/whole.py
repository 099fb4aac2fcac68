"""Everything that is kept of one patient, for whoever must see what stays behind beside what would leave."""

from __future__ import annotations

from uuid import UUID

from sqlmodel import Session

from broker.crypto import Keys
from broker.records.patients import open_vault
from broker.records.release_reads import Opened, Row, open_rows

#: More of one patient than this is not looked at.
MOST = 5_000

_SQL = "SELECT patient_key, type, id_token, version, last_updated, body FROM resource WHERE patient_key = %s ORDER BY type, id_token LIMIT %s"


def whole(session: Session, keys: Keys, patient_key: UUID) -> list[Opened]:
    """The patient's resources, opened, by type. Whoever asks has recorded why. Raises NotFound for an unknown patient."""
    vault = open_vault(session, keys, patient_key)
    rows = session.connection().exec_driver_sql(_SQL, (patient_key, MOST)).all()
    return open_rows(vault, [Row(*row) for row in rows])
