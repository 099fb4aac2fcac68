"""Freeze at once, undo by two people (PI-7, mission row 66).

Each thing is frozen by the verb that owns it, which closes the gates first: it waits for releases on their way and holds new ones back
until this commits, so that after the answer not a byte leaves (docs/decisions/0002).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from sqlmodel import Session, col, select

from broker import clock
from broker.applications import service as applications
from broker.applications.errors import NoGrant, NoSuchApplication
from broker.audit.events import Event
from broker.crypto import Keys
from broker.errors import Invalid, NotFound, Problem
from broker.identity import service as identity
from broker.identity.access import PersonCaller
from broker.identity.models import Token
from broker.incidents import desk, rules
from broker.incidents.errors import TargetUnknown
from broker.incidents.lifecycle import Action, State, check_move
from broker.incidents.models import Containment, Incident
from broker.incidents.rules import Kind
from broker.records import service as records

#: Held while somebody contains, so that two who freeze several things each don't wait for each other crosswise.
_ONE_AT_A_TIME = "SELECT pg_advisory_xact_lock(hashtext('broker/containment'))"


class TargetKind(StrEnum):
    """What can be frozen. The order is the order in which they are: what stops most comes first."""

    ORGANIZATION = "organization"
    CLIENT = "client"
    GRANT = "grant"
    TOKEN = "token"  # noqa: S105  (The word.)
    PERSON = "person"
    PATIENT = "patient"


_ORDER = tuple(TargetKind)


@dataclass(frozen=True)
class Target:
    """One thing to freeze: id of the organisation, client or person, number of the application, ``jti`` of the token, FHIR id of the patient."""

    kind: TargetKind
    id: str


def contain(
    session: Session, keys: Keys, caller: PersonCaller, targets: Sequence[Target], *, reason: str, incident: str | None = None, drill: bool = False
) -> tuple[Incident, list[Containment]]:
    """Freeze all of these in one go, under an incident, or a new one if none is named. In a drill nothing real is touched.

    Raises Forbidden, NoSuchIncident, IncidentMoveNotAllowed, TargetUnknown (nothing is frozen then), NotYourself when it would shut
    out who asks.
    """
    desk.check_handler(caller)
    if not targets:
        raise Invalid("Name at least one target.")
    if incident is None:
        row = desk.report(session, keys, caller.actor, kind=Kind.UNAUTHORISED_ACCESS, summary=reason, drill=drill)
    else:
        row = desk.find(session, incident, lock=True)
    check_move(State(row.status), Action.CONTAIN)
    session.connection().exec_driver_sql(_ONE_AT_A_TIME)
    ordered = sorted(set(targets), key=lambda one: (_ORDER.index(one.kind), one.id))
    frozen = [_contained(session, keys, caller, row, target, reason) for target in ordered]
    row.contained_at = row.contained_at or clock.now()
    facts: desk.Facts = {"incident": row.number, "targets": len(frozen), "drill": row.drill}
    desk.store(session, keys, row, Action.CONTAIN.value, caller.actor, Event("incident.contained", caller.actor, facts=facts), reason)
    return row, frozen


def frozen(session: Session, kind: TargetKind, targets: Collection[str]) -> dict[str, str]:
    """Those of these things that a real containment holds frozen, each with the number of the incident; of several, the latest."""
    held = (
        select(Containment.target, Incident.number)
        .join(Incident, col(Incident.id) == col(Containment.incident_id))
        .where(
            Containment.kind == kind.value, col(Containment.target).in_(targets), col(Containment.lifted_at).is_(None), col(Incident.drill).is_(False)
        )
    )
    return dict(session.exec(held.order_by(col(Containment.at))).all())


def _contained(session: Session, keys: Keys, caller: PersonCaller, row: Incident, target: Target, reason: str) -> Containment:
    try:
        name, standing = _looked_up(session, keys, target)
    except (NotFound, NoGrant, NoSuchApplication) as error:
        problem = Problem(f"/{target.kind.value}", "unknown", "There is no such choice.")
        raise TargetUnknown(f"There is no such {target.kind.value}.", problems=(problem,)) from error
    changed = not standing and not row.drill
    if changed:
        _freeze(session, keys, caller, target.kind, name, reason)
    one = Containment(incident_id=row.id, kind=target.kind.value, target=name, changed=changed, at=clock.now(), by=caller.natural_person)
    session.add(one)
    session.flush()
    return one


def _looked_up(session: Session, keys: Keys, target: Target) -> tuple[str, bool]:
    """How the thing is kept, and whether it is frozen already. Raises NotFound."""
    match target.kind:
        case TargetKind.ORGANIZATION:
            return target.id, identity.organization(session, target.id).status != "active"
        case TargetKind.CLIENT:
            return target.id, identity.client(session, target.id).status != "active"
        case TargetKind.PERSON:
            return target.id, identity.person(session, _uuid(target.id)).status != "active"
        case TargetKind.GRANT:
            return target.id, _grant_state(session, target.id) is not applications.GrantState.ACTIVE
        case TargetKind.TOKEN:
            return target.id, _token(session, target.id).revoked_at is not None
        case TargetKind.PATIENT:
            patient_key = records.find_patient(session, keys, target.id)
            if patient_key is None:
                raise NotFound
            return patient_key.hex, records.is_frozen(session, patient_key)


def _freeze(session: Session, keys: Keys, caller: PersonCaller, kind: TargetKind, name: str, reason: str) -> None:
    match kind:
        case TargetKind.ORGANIZATION:
            identity.change_organization(session, caller.actor, name, status="suspended")
        case TargetKind.CLIENT:
            identity.change_client(session, caller.actor, name, status="suspended")
        case TargetKind.PERSON:
            identity.change_person(session, caller.actor, UUID(name), status="suspended")
        case TargetKind.GRANT:
            why = applications.Reason(reason, applications.ReasonCode.SECURITY)
            applications.suspend(session, keys, caller.person_id, name, reason=why)
        case TargetKind.TOKEN:
            identity.revoke_token(session, caller.actor, jti=name, grant_id=_token(session, name).grant_id)
        case TargetKind.PATIENT:
            records.freeze(session, keys, caller.actor, UUID(name), frozen=True)


def _thaw(session: Session, keys: Keys, caller: PersonCaller, kind: TargetKind, name: str, reason: str) -> None:
    match kind:
        case TargetKind.ORGANIZATION:
            identity.change_organization(session, caller.actor, name, status="active")
        case TargetKind.CLIENT:
            identity.change_client(session, caller.actor, name, status="active")
        case TargetKind.PERSON:
            identity.change_person(session, caller.actor, UUID(name), status="active")
        case TargetKind.GRANT:
            # A grant that ended meanwhile stays ended.
            if _grant_state(session, name) is applications.GrantState.SUSPENDED:
                applications.resume(session, keys, caller.person_id, name, reason=applications.Reason(reason, applications.ReasonCode.SECURITY))
        case TargetKind.TOKEN:
            pass  # What was revoked stays revoked: the client asks for a new one.
        case TargetKind.PATIENT:
            records.freeze(session, keys, caller.actor, UUID(name), frozen=False)


def ask_to_lift(session: Session, keys: Keys, caller: PersonCaller, number: str, *, reason: str) -> Incident:
    """The first of two: ask that what this incident froze be let go again. Raises Forbidden, NoSuchIncident."""
    desk.check_handler(caller)
    row = desk.find(session, number, lock=True)
    for one in _standing(session, row):
        one.lift_asked_by, one.lift_asked_at = caller.natural_person, clock.now()
        session.add(one)
    event = Event("incident.lift-asked", caller.actor, facts={"incident": row.number})
    desk.store(session, keys, row, "ask-to-lift", caller.actor, event, reason)
    return row


def lift(session: Session, keys: Keys, caller: PersonCaller, number: str, *, reason: str) -> Incident:
    """The second of two: let go. What another incident still holds stays frozen. Raises as :func:`ask_to_lift`; TwoPeople."""
    desk.check_handler(caller)
    row = desk.find(session, number, lock=True)
    session.connection().exec_driver_sql(_ONE_AT_A_TIME)
    standing = _standing(session, row)
    for one in standing:
        rules.check_two(one.lift_asked_by, caller.natural_person)
    thawed = 0
    for one in standing:
        one.lifted_by, one.lifted_at = caller.natural_person, clock.now()
        session.add(one)
        session.flush()
        heir = session.exec(
            select(Containment)
            .where(Containment.kind == one.kind, Containment.target == one.target, col(Containment.lifted_at).is_(None))
            .where(col(Containment.incident_id).in_(select(Incident.id).where(col(Incident.drill).is_(False))))
            .order_by(col(Containment.at))
            .limit(1)
        ).first()
        if one.changed and heir is not None:
            heir.changed = True  # Whoever lifts the last hold undoes it.
            session.add(heir)
        elif one.changed:
            _thaw(session, keys, caller, TargetKind(one.kind), one.target, reason)
            thawed += 1
    event = Event("incident.lifted", caller.actor, facts={"incident": row.number, "targets": len(standing), "thawed": thawed})
    desk.store(session, keys, row, "lift", caller.actor, event, reason)
    return row


def hand_over_patient(session: Session, patient_key: UUID) -> None:
    """Something else than an incident keeps the patient frozen from now on, such as their own wish: lifting a containment does not thaw them."""
    for one in _holding(session, patient_key):
        one.changed = False
        session.add(one)
    session.flush()


def take_back_patient(session: Session, patient_key: UUID) -> bool:
    """What kept the patient frozen ends; whether an incident still does, whose lifting then thaws them."""
    found = _holding(session, patient_key)
    for one in found[:1]:
        one.changed = True
        session.add(one)
    session.flush()
    return bool(found)


def is_contained(session: Session, patient_key: UUID) -> bool:
    """Whether an incident holds the patient's data back."""
    return bool(_holding(session, patient_key))


def _holding(session: Session, patient_key: UUID) -> list[Containment]:
    real = select(Incident.id).where(col(Incident.drill).is_(False))
    mine = (Containment.kind == TargetKind.PATIENT.value, Containment.target == patient_key.hex, col(Containment.lifted_at).is_(None))
    query = select(Containment).where(*mine, col(Containment.incident_id).in_(real)).order_by(col(Containment.at)).with_for_update()
    return list(session.exec(query).all())


def _standing(session: Session, row: Incident) -> list[Containment]:
    query = select(Containment).where(Containment.incident_id == row.id, col(Containment.lifted_at).is_(None))
    return list(session.exec(query.order_by(col(Containment.at), col(Containment.id)).with_for_update()).all())


def _grant_state(session: Session, number: str) -> applications.GrantState:
    grant = applications.of_application(session, applications.find(session, number))
    if grant is None:
        raise NoGrant
    return applications.state_now(grant)


def _token(session: Session, jti: str) -> Token:
    found = session.get(Token, jti)
    if found is None:
        raise NotFound
    return found


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise NotFound from None
