"""What follows a withdrawal: who received the patient's data under the consent is told, and acknowledges.

The withdrawal itself holds at the next decision, page or token, whether or not anybody has read the notice.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlmodel import Session, col, select

from broker import clock
from broker.audit import service as audit
from broker.audit.events import Event
from broker.consent.compiled import Residual
from broker.consent.errors import NoSuchConsent
from broker.consent.models import WithdrawalTold
from broker.consent.parties import ASKED
from broker.consent.references import type_of
from broker.crypto import Keys
from broker.identity import service as identity
from broker.identity.errors import UnknownOrganization
from broker.notifications import service as notifications
from broker.records import service as records

#: Past releases of a patient that are looked through for recipients.
MOST = 10_000


@dataclass(frozen=True)
class Told:
    """A past recipient and where its acknowledgement stands."""

    consent: UUID
    recipient: str
    releases: int
    at: datetime
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    destroyed: bool | None


def tell_past_recipients(session: Session, keys: Keys, vault: records.Vault, residual: Residual, *, since: datetime) -> tuple[str, ...]:
    """Tell everybody outside who was sent the patient's data since a consent was filed and whom it spoke of, once each; who they are."""
    sent = Counter(
        one.receiver
        for one in audit.transmissions(session, patient=vault.patient_key, since=since, limit=MOST)
        if one.disclosed and one.receiver is not None
    )
    told = []
    for recipient, releases in sorted(sent.items()):
        if not _spoken_of(session, residual, recipient):
            continue
        consent = UUID(residual.consent)
        row = WithdrawalTold(patient_key=vault.patient_key, consent_id=consent, recipient=recipient, releases=releases, at=clock.now())
        session.add(row)
        session.flush()
        facts: dict[str, str | int] = {"consent": residual.consent, "releases": releases}
        notifications.notify(session, keys, to=f"organization:{recipient}", kind="consent.withdrawn", facts=facts)
        told.append(recipient)
    return tuple(told)


def _spoken_of(session: Session, residual: Residual, recipient: str) -> bool:
    """Whether a consent says anything to an organisation: it names it, or one that it is part of, or nobody in particular.

    A person, a role or a team may have meant it when data were sent, so that it is told, too.
    """
    try:
        names = {f"Organization/{one.id}" for one in identity.lineage(session, recipient)}
    except UnknownOrganization:
        return False
    actors = [one.when.actors for one in residual.provisions]
    return not residual.readable or any(one is None or one & names or any(type_of(each) in ASKED for each in one) for one in actors)


def withdrawals(session: Session, *, recipients: frozenset[str] | None, waiting: bool = False) -> list[Told]:
    """The notices to these organisations, or to all, the newest first. ``waiting``: those not acknowledged."""
    statement = select(WithdrawalTold).order_by(col(WithdrawalTold.at).desc(), col(WithdrawalTold.consent_id))
    if recipients is not None:
        statement = statement.where(col(WithdrawalTold.recipient).in_(sorted(recipients)))
    if waiting:
        statement = statement.where(col(WithdrawalTold.acknowledged_at).is_(None))
    return [_told(row) for row in session.exec(statement.limit(500))]


def acknowledge(session: Session, keys: Keys, consent_id: UUID, recipient: str, *, destroyed: bool, actor: str) -> Told:
    """A past recipient says that it knows, and whether its copies are destroyed. Saying so again changes nothing. Raises NoSuchConsent."""
    row = session.exec(
        select(WithdrawalTold).where(WithdrawalTold.consent_id == consent_id, WithdrawalTold.recipient == recipient).with_for_update()
    ).first()
    if row is None:
        raise NoSuchConsent
    if row.acknowledged_at is None:
        row.acknowledged_at, row.acknowledged_by, row.destroyed = clock.now(), actor, destroyed
        session.add(row)
        vault = records.open_vault(session, keys, row.patient_key)
        facts: dict[str, str | int | bool | list[str]] = {"consent": str(consent_id), "destroyed": destroyed}
        event = Event("consent.withdrawal-acknowledged", actor, recipient=recipient, patient=row.patient_key, subject=vault.subject, facts=facts)
        audit.record(session, event)
    return _told(row)


def settle_told(session: Session, keys: Keys, patient_key: UUID, recipient: str, *, destroyed: bool, actor: str) -> int:
    """A past recipient answered a recall of the patient's data: the withdrawals that it was told of are acknowledged with that; how many."""
    waiting = select(WithdrawalTold.consent_id).where(
        WithdrawalTold.patient_key == patient_key, WithdrawalTold.recipient == recipient, col(WithdrawalTold.acknowledged_at).is_(None)
    )
    found = session.exec(waiting.order_by(col(WithdrawalTold.consent_id))).all()
    for consent_id in found:
        acknowledge(session, keys, consent_id, recipient, destroyed=destroyed, actor=actor)
    return len(found)


def _told(row: WithdrawalTold) -> Told:
    return Told(row.consent_id, row.recipient, row.releases, row.at, row.acknowledged_at, row.acknowledged_by, row.destroyed)
