"""Which consents a decision rested on, from the question that is kept sealed under the patient's key: the log itself names none.

A leaf stays for good and can't forget whom it is about once somebody outside knows a consent's number; the sealed question goes with the key.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlmodel import Session, col, select

from broker.crypto import Keys, KeyUnusable
from broker.policy.models import PolicyDecision
from broker.policy.service import opened
from broker.records import service as records
from broker.records.errors import RecordUnreadable, UnknownPatient


def consents_of_decisions(session: Session, keys: Keys, patient_key: UUID, inputs: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Hash of a decision's input → ids of the consents that spoke in it. What can't be opened any more, and what none spoke in, is left out."""
    try:
        data_key = records.open_vault(session, keys, patient_key).data_key
    except (RecordUnreadable, UnknownPatient):
        return {}
    mine = (PolicyDecision.patient_key == patient_key, col(PolicyDecision.input_hash).in_([one for one in set(inputs) if one]))
    found: dict[str, tuple[str, ...]] = {}
    for row in session.exec(select(PolicyDecision).where(*mine)).all():
        try:
            facts = opened(row.sealed, patient_key=patient_key, input_hash=row.input_hash, data_key=data_key)["facts"]
        except KeyUnusable:
            continue
        if facts["consent"]["consents"]:
            found[row.input_hash] = tuple(sorted(facts["consent"]["consents"]))
    return found
