"""What was sent of one patient, to whom, what for, and what of it: the accounting of disclosures in the patient's own terms (QA-4.2)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlmodel import Session, col, select

from broker.audit import service as audit
from broker.audit.service import Transmission
from broker.crypto import Keys, KeyUnusable
from broker.records import service as records
from broker.release.models import Release
from broker.release.outcome import opened_manifest

#: How many of the newest are told on one page.
SHOWN = 200


@dataclass(frozen=True)
class Disclosure:
    """One sending: the transmission, and how many resources of each type were in it; empty where the manifest is gone."""

    transmission: Transmission
    kinds: tuple[tuple[str, int], ...]


def accounting(
    session: Session, keys: Keys, patient_key: UUID, *, since: datetime | None = None, until: datetime | None = None, limit: int = SHOWN
) -> list[Disclosure]:
    """Every sending of a patient's data, newest first; what has no outcome yet counts as sent."""
    sent = [one for one in audit.transmissions(session, patient=patient_key, since=since, until=until, limit=limit) if one.disclosed]
    vault = records.open_vault(session, keys, patient_key)
    mine = (Release.patient_key == patient_key, col(Release.id).in_([one.release for one in sent]))
    rows = {row.id: row for row in session.exec(select(Release).where(*mine)).all()}
    found = []
    for one in sent:
        kinds: Counter[str] = Counter()
        row = rows.get(one.release)
        if row is not None:
            try:
                kinds = Counter(item.type for item in opened_manifest(vault.data_key, patient_key, row.id, row.manifest))
            except KeyUnusable:
                kinds = Counter()
        found.append(Disclosure(one, tuple(sorted(kinds.items()))))
    return found
