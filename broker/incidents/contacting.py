"""After a break-glass the patient's contact is told that it happened, and nothing clinical (TM-5.5). The address comes from the patient's own
record at that moment and is kept nowhere; where none can be reached, people are told to do it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Literal
from uuid import UUID

from sqlmodel import Session

from broker import clock, jobs
from broker.audit import service as audit
from broker.audit.events import Event
from broker.crypto import Keys
from broker.identity.access import Role
from broker.incidents.models import EmergencyAccess
from broker.notifications import service as notifications
from broker.notifications.errors import NotDelivered
from broker.records import service as records

JOB = "incidents.tell-contact"

Way = Literal["email", "phone"]


def contacts(session: Session, keys: Keys, patient_key: UUID) -> list[tuple[Way, str]]:
    """Addresses of those who speak for the patient, then the patient's own; mail before telephone within each."""
    found: list[tuple[Way, str]] = []
    whole = [json.loads(one.body) for one in records.whole(session, keys, patient_key)]
    related = [one for one in whole if one.get("resourceType") == "RelatedPerson" and one.get("active", True)]
    persons = [one for one in whole if one.get("resourceType") == "Patient"]
    for holder in (*(one for person in persons for one in person.get("contact") or ()), *related, *persons):
        found += sorted(_addresses(holder), key=lambda one: one[0] != "email")
    return list(dict.fromkeys(found))


def _addresses(holder: dict[str, Any]) -> Iterator[tuple[Way, str]]:
    for one in holder.get("telecom") or ():
        value = one.get("value")
        if one.get("system") in ("email", "phone") and isinstance(value, str) and value.strip() and one.get("use") != "old":
            yield one["system"], value.strip()[:254]


def job() -> jobs.Job:
    """Tell the contact of the emergency under ``application``; again later while a server is away."""

    def tell(tools: jobs.Tools, payload: dict[str, Any]) -> None:
        number = str(payload.get("application", ""))
        with tools.database.transaction() as session:
            row = session.get(EmergencyAccess, _key(session, number)) if number else None
            if row is None or row.contact_told_at is not None:
                return
            reach = [] if records.is_shredded(session, row.patient_key) else contacts(session, tools.keys, row.patient_key)
        facts = {"application": number, "opened": row.opened_at.strftime("%Y-%m-%dT%H:%MZ")}
        later: NotDelivered | None = None
        for way, address in reach:
            try:
                notifications.tell_outsider(tools.settings, way, address, kind="emergency.contact", facts=facts, number=f"contact-{number}")
            except NotDelivered as error:
                later = later if error.final or error.code == "mail-not-set-up" else error
                continue
            with tools.database.transaction() as session:
                told(session, number, way)
            return
        if later is not None:
            raise later  # Tried again, for about two hours.
        with tools.database.transaction() as session:
            notifications.notify_role(
                session, tools.keys, Role.INFORMATION_MANAGER, kind="emergency.contact-by-hand", facts={"application": number},
                once=f"contact|{number}",
            )  # fmt: skip

    return jobs.Job(JOB, tell)


def told(session: Session, number: str, way: Way) -> None:
    """Write down that the contact was told, and by which way; not where."""
    row = session.get(EmergencyAccess, _key(session, number), with_for_update=True)
    if row is None or row.contact_told_at is not None:
        return
    row.contact_told_at = clock.now()
    session.add(row)
    session.flush()
    audit.record(session, Event("emergency.contact-told", "system", application=number, facts={"way": way}))


def _key(session: Session, number: str) -> tuple[UUID, str]:
    found = session.connection().exec_driver_sql("SELECT patient_key FROM emergency_access WHERE application = %s", (number,)).scalar_one_or_none()
    return (found or UUID(int=0), number)
