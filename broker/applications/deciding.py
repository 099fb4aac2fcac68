"""What people decide: endorse, approve, narrow, return, refuse; and the requester's withdrawal.

Every verb locks the application first (``steps.begin``), so that of several decisions at once one is taken and the others find
it taken. Who decides is read anew under that lock, and the database holds the four eyes a second time (``models.Decision``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from uuid import UUID

from sqlmodel import Session

from broker import clock
from broker.applications import agreements, assessing, grants, people, renewals, steps, telling
from broker.applications.drafts import patients_of
from broker.applications.errors import AssessmentOutdated, NotComplete, StepsMissing
from broker.applications.lifecycle import Action, GrantState, State
from broker.applications.means import Means
from broker.applications.models import Application, ApplicationPatient, Assessment, Grant, GrantPatient
from broker.applications.rules import check_narrower
from broker.applications.steps import Reason, Taken
from broker.applications.submission import terms_of
from broker.applications.terms import Item, Terms, content_hash, patients_digest
from broker.audit import service as audit
from broker.crypto import Keys
from broker.errors import Problem


@dataclass(frozen=True)
class Narrowing:
    """What is to be less than was asked; None leaves a field as it was asked. ``patients`` are places in the form, from 1."""

    data: tuple[Item, ...] | None = None
    period_start: date | None = None
    period_end: date | None = None
    valid_until: date | None = None
    retention_days: int | None = None
    releases_limit: int | None = None
    patients: tuple[int, ...] | None = None
    frequency: tuple[int, int] | None = None

    def terms(self, asked: Terms) -> Terms:
        """The terms that remain."""
        given = {
            name: getattr(self, name)
            for name in ("data", "period_start", "period_end", "valid_until", "retention_days", "releases_limit", "frequency")
            if getattr(self, name) is not None
        }
        return replace(asked, **given)


def endorse(session: Session, keys: Keys, person: UUID, ref: str, *, if_match: int | None, reason: Reason | None = None) -> Application:
    """A department head stands for the application (RS-5.3.2). Raises what :func:`steps.begin` raises."""
    taken = steps.begin(session, person, ref, Action.ENDORSE, if_match=if_match)
    telling.put_off(taken.application)
    application = _decided(session, keys, taken, Action.ENDORSE, "endorsed", reason)
    telling.endorsed(session, keys, application)
    return application


def agree(session: Session, keys: Keys, person: UUID, ref: str, *, if_match: int | None, reason: Reason | None = None) -> Application:
    """The head of a department to which data of the application belong agrees that they are shared. Raises as :func:`endorse`."""
    taken = steps.begin(session, person, ref, Action.AGREE, if_match=if_match)
    owners = [need.removeprefix("agree:") for need in taken.application.needs if need.startswith("agree:")]
    theirs = [place.id for place in people.places(session, owners).values() if not taken.who.head_of.isdisjoint(place.lineage)]
    return _decided(session, keys, taken, Action.AGREE, "agreed", reason, place=" ".join(sorted(theirs)))


def legality(session: Session, keys: Keys, person: UUID, ref: str, *, if_match: int | None, reason: Reason | None = None) -> Application:
    """The application was reviewed and found lawful (RS-5.2.1). Raises as :func:`endorse`."""
    taken = steps.begin(session, person, ref, Action.LEGALITY, if_match=if_match)
    return _decided(session, keys, taken, Action.LEGALITY, "found-lawful", reason)


def necessity(session: Session, keys: Keys, person: UUID, ref: str, *, if_match: int | None, reason: Reason | None = None) -> Application:
    """The application was reviewed and found to ask for no more than is necessary (RS-5.2.3). Raises as :func:`endorse`."""
    taken = steps.begin(session, person, ref, Action.NECESSITY, if_match=if_match)
    return _decided(session, keys, taken, Action.NECESSITY, "found-necessary", reason)


def concur(session: Session, keys: Keys, person: UUID, ref: str, *, if_match: int | None, reason: Reason | None = None) -> Application:
    """One more information manager decides for it, where more than one must. Raises as :func:`endorse`."""
    taken = steps.begin(session, person, ref, Action.CONCUR, if_match=if_match)
    return _decided(session, keys, taken, Action.CONCUR, "concurred", reason)


def recuse(session: Session, keys: Keys, person: UUID, ref: str, *, if_match: int | None = None, reason: Reason | None) -> Application:
    """Declare an interest: from now on this human being takes no step of this application, in no round. Raises as :func:`return_`."""
    taken = steps.begin(session, person, ref, Action.RECUSE, if_match=if_match)
    return _decided(session, keys, taken, Action.RECUSE, "recused", reason)


def return_(session: Session, keys: Keys, person: UUID, ref: str, *, if_match: int | None, reason: Reason | None) -> Application:
    """Give it back to be changed. Raises what :func:`steps.begin` raises, and ReasonRequired."""
    taken = steps.begin(session, person, ref, Action.RETURN, if_match=if_match)
    return _decided(session, keys, taken, Action.RETURN, "returned", reason)


def refuse(session: Session, keys: Keys, person: UUID, ref: str, *, if_match: int | None, reason: Reason | None) -> Application:
    """Say no, for good. Raises what :func:`steps.begin` raises, and ReasonRequired."""
    taken = steps.begin(session, person, ref, Action.REFUSE, if_match=if_match)
    return _decided(session, keys, taken, Action.REFUSE, "refused", reason)


def withdraw(session: Session, keys: Keys, person: UUID, ref: str, *, if_match: int | None = None, reason: Reason | None = None) -> Application:
    """The requester takes it back. Raises what :func:`steps.begin` raises; the version need not be given."""
    taken = steps.begin(session, person, ref, Action.WITHDRAW, if_match=if_match)
    return _decided(session, keys, taken, Action.WITHDRAW, "withdrawn", reason)


def reassess(session: Session, means: Means, person: UUID, ref: str) -> Assessment:
    """Let the machine judge once more, since consents and policies change. For whoever may decide on it now."""
    taken = steps.begin(session, person, ref, Action.ASSESS, if_match=None)
    application = taken.application
    patients = {row.patient_key: row.position for row in patients_of(session, application)}
    assessment = assessing.assess(session, means, application, terms_of(application), patients)
    audit.record(session, steps.event(application, taken.who, "assessed", assessed=assessment.effect, revision=assessment.revision))
    return assessment


def approve(
    session: Session,
    means: Means,
    person: UUID,
    ref: str,
    *,
    if_match: int | None,
    releases_limit: int | None = None,
    frequency: tuple[int, int] | None = None,
    reason: Reason | None = None,
) -> Grant:
    """Say yes to exactly what was asked and assessed. Makes the grant.

    ``releases_limit``: how often data may be sent; policy's own limit holds where it is stricter. ``frequency``: how often within so
    many seconds. Raises what
    :func:`steps.begin` raises; AssessmentOutdated; AssessmentForbids when policy or consent, asked again now, say no.
    """
    taken = steps.begin(session, person, ref, Action.APPROVE, if_match=if_match)
    terms = terms_of(taken.application)
    agreed = replace(terms, releases_limit=releases_limit or terms.releases_limit, frequency=frequency or terms.frequency)
    return _granted(session, means, taken, Action.APPROVE, agreed, patients_of(session, taken.application), reason)


def narrow(session: Session, means: Means, person: UUID, ref: str, narrowing: Narrowing, *, if_match: int | None, reason: Reason | None) -> Grant:
    """Say yes to a part of what was asked. Makes the grant.

    Raises as :func:`approve`; NotNarrower naming every field that is not part of the application; ReasonRequired.
    """
    taken = steps.begin(session, person, ref, Action.NARROW, if_match=if_match)
    asked, everyone = terms_of(taken.application), patients_of(session, taken.application)
    agreed, places = narrowing.terms(asked), {row.position for row in everyone}
    kept = places if narrowing.patients is None else set(narrowing.patients)
    check_narrower(asked, agreed, asked_patients=places, given_patients=kept, types_of=means.data_classes)
    return _granted(session, means, taken, Action.NARROW, agreed, [row for row in everyone if row.position in kept], reason)


def _decided(
    session: Session, keys: Keys, taken: Taken, action: Action, happened: str, reason: Reason | None, *, place: str | None = None
) -> Application:
    steps.check_reason(taken.move, reason)
    application = taken.application
    on_table = assessing.latest(session, application)
    facts = {"reason": reason.code.value} if reason else {}
    if on_table is not None:
        facts["assessed"] = on_table.effect
    steps.store(
        session,
        keys,
        application,
        action=action,
        to=State(taken.move.to),
        who=taken.who,
        event=steps.event(application, taken.who, happened, **facts),
        reason=reason,
        assessment=on_table,
        assessed=on_table.effect if on_table else None,
        place=place,
        on_behalf_of=taken.on_behalf_of,
    )
    telling.decided(session, keys, application, happened)
    return application


def _granted(
    session: Session, means: Means, taken: Taken, action: Action, agreed: Terms, rows: Sequence[ApplicationPatient], reason: Reason | None
) -> Grant:
    steps.check_reason(taken.move, reason)
    application, now = taken.application, clock.now()
    if lacking := steps.missing(session, application):
        raise StepsMissing(problems=tuple(Problem("/needs", need.replace(":", " "), "This step has not been taken.") for need in lacking))
    on_table = _assessed_as_it_stands(session, application)
    if means.end_of(agreed.valid_until) <= now:
        raise NotComplete(problems=(Problem("/valid_until", "past", "The last day of validity has passed."),))
    deciding = (Action.ENDORSE, Action.AGREE, Action.CONCUR)
    endorsers = {person for step, person in steps.steps_taken(session, application).items() if step.partition(":")[0] in deciding}
    approved_by = len(endorsers | {taken.who.natural_person})
    patients = {row.patient_key: row.position for row in rows}
    digest = patients_digest(patients)
    judged = content_hash(agreed.to_json(), digest)
    fresh = assessing.assess(session, means, application, agreed, patients, approved_by=approved_by, content=judged)
    opinions = assessing.of_patients(session, fresh)
    assessing.check_permits(fresh, opinions)
    if approved_by < max(means.quorum, assessing.approvers(opinions)):
        raise StepsMissing(problems=(Problem("/needs", "concur", f"Only {approved_by} people have decided for it."),))
    limits = [limit for limit in (agreed.releases_limit, assessing.releases_limit(opinions)) if limit is not None]
    terms = replace(agreed, releases_limit=min(limits, default=None))
    grant = Grant(
        application_id=application.id,
        number=application.number or "",
        requester_id=application.requester_id,
        recipient_id=terms.recipient,
        purpose=terms.purpose,
        lawful_basis=terms.lawful_basis,
        terms=terms.to_json(),
        patients_digest=digest,
        content_hash=content_hash(terms.to_json(), digest),
        consents=sorted({consent for opinion in opinions for consent in opinion.consents}),
        approved_by=approved_by,
        approved_at=now,
        valid_from=now,
        valid_until=means.end_of(terms.valid_until),
        status_at=now,
        releases_limit=terms.releases_limit,
        frequency_limit=terms.frequency[0] if terms.frequency else None,
        frequency_seconds=terms.frequency[1] if terms.frequency else None,
    )
    outstanding = agreements.outstanding(session, grant.recipient_id)
    if outstanding:
        grant.status = GrantState.AWAITING.value
    session.add(grant)
    session.flush()
    agreements.ask(session, means.keys, grant.recipient_id, outstanding)
    session.add_all(GrantPatient(patient_key=patient_key, grant_id=grant.id) for patient_key in patients)
    event = steps.event(
        application,
        taken.who,
        "approved" if action is Action.APPROVE else "narrowed",
        content=grant.content_hash,
        patients=len(patients),
        assessed=on_table.effect,
        revision=fresh.revision,
        valid_until=terms.valid_until.isoformat(),
    )
    steps.store(
        session,
        means.keys,
        application,
        action=action,
        to=State.APPROVED,
        who=taken.who,
        event=replace(event, grant=str(grant.id)),
        reason=reason,
        assessment=fresh,
        assessed=on_table.effect,
        on_behalf_of=taken.on_behalf_of,
    )
    renewals.replace_parent(session, means.keys, application, taken.who)
    grants.came_to_life(session, grant)
    telling.decided(session, means.keys, application, "approved", terms.valid_until.isoformat())
    return grant


def _assessed_as_it_stands(session: Session, application: Application) -> Assessment:
    """The assessment on the table. Raises AssessmentOutdated unless it is of exactly what is stored now."""
    stored = content_hash(terms_of(application).to_json(), patients_digest(row.patient_key for row in patients_of(session, application)))
    on_table = assessing.latest(session, application)
    if on_table is None or not on_table.content_hash == application.content_hash == stored:
        raise AssessmentOutdated
    return on_table
