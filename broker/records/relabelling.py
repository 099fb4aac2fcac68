"""Labelling anew what is stored: after the rules changed, and where what a resource consists of came later than itself.

Bodies stay as they are; a resource whose labels change gets a new version, under the patient's gate, so that no release sees it half done.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any
from uuid import UUID

import orjson
from sqlmodel import Session, col, select

from broker import jobs
from broker.audit import service as audit
from broker.audit.events import Event
from broker.crypto import Keys
from broker.database import Database, close_gate
from broker.records.errors import UnknownPatient
from broker.records.inheriting import SOURCES, Reference, settled, sources_of
from broker.records.labelling import LEVELS, UNCLASSIFIED, Label, labels_for, names_medication, version
from broker.records.lookup import all_of, labels_of
from broker.records.models import SHARED, Patient, StoredResource
from broker.records.patients import open_vault
from broker.records.preparing import Prepared, prepared_again
from broker.records.storing import store
from broker.records.tokens import id_token

#: Resources of one patient that are labelled at once; a patient with more is left as they are, and said to be.
MOST = 200_000


def hand_on(session: Session, keys: Keys, batch: list[Prepared]) -> None:
    """Give what is about to be stored the labels of what it consists of, whether that comes with it or is stored."""
    places = {(one.type, one.id): place for place, one in enumerate(batch)}
    sources = {(one.type, one.id): one.sources for one in batch if one.sources}
    if not sources:
        return
    known = {reference: batch[place].labels for reference, place in places.items()}
    found = settled(known, sources, _stored(session, keys, {one for named in sources.values() for one in named} - known.keys()))
    for reference, labels in found.items():
        if labels != known[reference]:
            batch[places[reference]] = replace(batch[places[reference]], labels=labels)


def _stored(session: Session, keys: Keys, wanted: set[Reference]) -> dict[Reference, tuple[Label, ...]]:
    """The labels of these resources, so far as they are stored."""
    tokens = {id_token(keys, *one): one for one in wanted}
    rows = session.exec(select(StoredResource).where(col(StoredResource.id_token).in_(list(tokens)))).all() if tokens else []
    vaults = {key: open_vault(session, keys, key) for key in {row.patient_key for row in rows}}
    found: dict[Reference, tuple[Label, ...]] = {}
    for row in rows:
        content = vaults[row.patient_key].open_resource(row.type, row.id_token, row.version, row.body)
        found[tokens[row.id_token]] = tuple(Label(*label) for label in content.labels)
    return found


#: On what an upstream server no longer has, beside ``unclassified``: labelling anew leaves it alone, until the server brings it again.
GONE = "gone"


def look_again(session: Session, keys: Keys, batch: list[Prepared]) -> None:
    """Have the patients labelled anew to whose stored reports something sensitive may have been added just now."""
    patients = {one.patient for one in batch if one.patient is not None and one.type in SOURCES and _sensitive(one.labels)}
    for patient_key in sorted({keys.patient_key(one) for one in patients}):
        jobs.defer(session, "records.relabel", {"patient": patient_key.hex}, once=f"records.relabel:{patient_key.hex}", queue="bulk")


def _sensitive(labels: tuple[Label, ...]) -> bool:
    return any(label.code not in LEVELS and label.code != UNCLASSIFIED for label in labels)


def relabel(database: Database, keys: Keys, patient_key: UUID, *, actor: str = "system") -> int:
    """Label everything of one patient, or everything shared, by the rules as they are now; how many resources changed."""
    with database.transaction() as session:
        close_gate(session, "patient", patient_key.hex)
        vault = open_vault(session, keys, patient_key)
        stored, _ = all_of(session, vault, MOST)
        resources: dict[Reference, dict[str, Any]] = {(one.type, one.id): orjson.loads(one.body) for one in stored}
        labels = {reference: labels_for(resource, medication=_medication(session, keys, resource)) for reference, resource in resources.items()}
        sources = {reference: named for reference, resource in resources.items() if (named := sources_of(resource))}
        found = settled(labels, sources, _stored(session, keys, {one for named in sources.values() for one in named} - labels.keys()))
        patient = None if patient_key == SHARED else vault.fhir_id
        changed = [
            prepared_again(resources[one.type, one.id], one.body, patient, found[one.type, one.id])
            for one in stored
            if GONE not in one.labels and {label.code for label in found[one.type, one.id]} != {*one.labels, *one.in_text}
        ]
        done = store(session, keys, changed)
        if done.accepted:
            facts: dict[str, str | int | bool | list[str]] = {"changed": done.accepted, "resources": len(stored), "version": version()}
            about = {} if patient is None else {"patient": patient_key, "subject": vault.subject}
            audit.record(session, Event("records.relabelled", actor, facts=facts, **about))  # type: ignore[arg-type]
        return done.accepted


def _medication(session: Session, keys: Keys, resource: dict[str, Any]) -> tuple[Label, ...] | None:
    wanted = names_medication(resource)
    return None if wanted is None else labels_of(session, keys, "Medication", wanted.removeprefix("Medication/"))


def relabel_all(database: Database, keys: Keys) -> int:
    """Have every patient labelled anew by jobs, the shared resources at once and first; how many jobs there are."""
    with suppress(UnknownPatient):  # Nothing may be shared.
        relabel(database, keys, SHARED)
    with database.transaction() as session:
        patients = session.exec(select(Patient.patient_key).where(Patient.patient_key != SHARED).order_by(col(Patient.patient_key))).all()
        for one in patients:
            jobs.defer(session, "records.relabel", {"patient": one.hex}, once=f"records.relabel:{one.hex}", queue="bulk")
        return len(patients)


def background() -> list[jobs.Job]:
    """Labelling one patient anew."""

    def one(tools: jobs.Tools, payload: dict[str, Any]) -> None:
        relabel(tools.database, tools.keys, UUID(hex=payload["patient"]))

    return [jobs.Job("records.relabel", one, queue="bulk")]
