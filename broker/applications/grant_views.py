"""Grants as identity asks for them, to bind tokens to (``identity.access.GrantReader``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from sqlmodel import Session, col, select
from sqlmodel.sql.expression import SelectOfScalar

from broker import clock
from broker.applications.grants import state_now
from broker.applications.lifecycle import GrantState
from broker.applications.models import Grant, GrantPatient
from broker.applications.terms import Terms
from broker.applications.windows import narrowed
from broker.crypto import Keys
from broker.identity import service as identity
from broker.identity.access import GrantView
from broker.records import service as records

#: How many patients a view names; a second one is enough to know that there are several.
NAMED = 2
#: How many applications somebody is shown to choose from.
SHOWN = 50


def parties_of(session: Session, grant_id: UUID) -> tuple[str, UUID]:
    """Recipient and account of the person who applied, of a grant that exists."""
    return session.exec(select(Grant.recipient_id, Grant.requester_id).where(Grant.id == grant_id)).one()


@dataclass(frozen=True)
class GrantRegister:
    """The grants, readable by identity. ``types_of``: resource types of each data class (``policy.service.catalogue``)."""

    keys: Keys
    types_of: Mapping[str, tuple[str, ...]]

    def only_application(self, session: Session, organization_id: str) -> str | None:
        """Number of the one application under which data are shared with this organisation or a part of it now; None for none or several."""
        found = session.exec(self._usable(session, organization_id).limit(2)).all()
        return found[0] if len(found) == 1 else None

    def applications_of(self, session: Session, person_id: UUID, organization_id: str) -> list[str]:
        """Numbers of the applications of this person under which data are shared with this organisation or a part of it now; the newest first."""
        query = self._usable(session, organization_id).where(Grant.requester_id == person_id)
        return list(session.exec(query.order_by(col(Grant.approved_at).desc()).limit(SHOWN)).all())

    def _usable(self, session: Session, organization_id: str) -> SelectOfScalar[str]:
        now = clock.now()
        usable = (Grant.status == GrantState.ACTIVE.value, Grant.valid_from <= now, Grant.valid_until > now)
        return select(Grant.number).where(col(Grant.recipient_id).in_(identity.below(session, organization_id)), *usable)

    def grant_of_application(self, session: Session, application: str, organization_id: str) -> GrantView | None:
        """The grant of the application whose recipient is this organisation or a part of it, whatever its status."""
        parts = identity.below(session, organization_id)
        found = session.exec(select(Grant).where(Grant.number == application, col(Grant.recipient_id).in_(parts))).one_or_none()
        return None if found is None else narrowed(session, self._view(session, found))

    def grant_by_id(self, session: Session, grant_id: UUID) -> GrantView | None:
        """The grant, whatever its status."""
        found = session.exec(select(Grant).where(Grant.id == grant_id)).one_or_none()
        return None if found is None else narrowed(session, self._view(session, found))

    def _view(self, session: Session, grant: Grant) -> GrantView:
        members = session.exec(
            select(GrantPatient.patient_key).where(GrantPatient.grant_id == grant.id).order_by(col(GrantPatient.patient_key)).limit(NAMED)
        )
        return GrantView(
            id=grant.id,
            application=grant.number,
            organization_id=grant.recipient_id,
            purpose=grant.purpose,
            status=state_now(grant).value,
            valid_from=grant.valid_from,
            valid_until=grant.valid_until,
            types=types_within(Terms.from_json(grant.terms), self.types_of),
            patients=tuple(name for patient_key in members.all() if (name := self._fhir_id(session, patient_key)) is not None),
            consents=tuple(grant.consents),
            requester=grant.requester_id,
        )

    def _fhir_id(self, session: Session, patient_key: UUID) -> str | None:
        """None for a patient whose key was destroyed: a grant about several goes on for the others."""
        try:
            return records.open_vault(session, self.keys, patient_key).fhir_id
        except records.RecordUnreadable:
            if records.is_shredded(session, patient_key):
                return None
            raise


def types_within(terms: Terms, types_of: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Resource types that the terms can reach, sorted. What of each may leave is policy's to say at every release."""
    found = {item.resource_type for item in terms.data if item.resource_type}
    for item in terms.data:
        if item.data_class:
            found.update(*(types for code, types in types_of.items() if code == item.data_class or code.startswith(f"{item.data_class}.")))
    return tuple(sorted(found))
