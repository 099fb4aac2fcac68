"""Asking a patient: show a notice, take the answer with what proves it, and file the consent that says exactly that.

A refusal is kept too, so that the same is not asked again for a while. Whatever somebody answered, and what was shown then, is sealed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any
from uuid import UUID, uuid4

import orjson
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import Session, col, select

from broker import clock
from broker.audit import service as audit
from broker.audit.events import Event
from broker.consent import asking_rules, notices
from broker.consent.asking_rules import Answerer, Scope
from broker.consent.errors import AskedTooSoon, NoSuchConsent, NoSuchNotice, NotAnAnswer
from broker.consent.filing import Filed, file
from broker.consent.models import Asking, Consent, Evidence, Notice
from broker.consent.sealing import opened, sealed
from broker.consent.whose import known_patient
from broker.consent.wording import Wording, consent_of
from broker.crypto import Keys
from broker.errors import Problem
from broker.fhir.ages import full_years
from broker.identity import service as identity
from broker.records import service as records
from broker.settings import Settings


@dataclass(frozen=True)
class Proof:
    """One piece of evidence: a signed document, an image, a QuestionnaireResponse, or a witness."""

    kind: str
    content_type: str
    content: bytes


@dataclass(frozen=True)
class Answer:
    """What was asked of whom with which notice, and the answer."""

    patient: Mapping[str, Any]  #: FHIR Reference
    notice: str
    version: int
    scope: Scope
    retention_days: int
    given: bool
    separate: frozenset[str]
    answerer: Answerer
    language: str
    evidence: tuple[Proof, ...] = ()
    by_patient: bool = False  #: the patient came by themselves: a refusal before does not stand in the way
    denies: bool = False  #: a refusal that is to be enforced: nothing is shared with this recipient for this purpose, whatever the basis
    name: str = ""  #: of a guardian


@dataclass(frozen=True)
class Taken:
    """An answer that is on record, and the consent that it became."""

    id: UUID
    filed: Filed | None
    shown: str = field(default="", repr=False)  #: the notice as the patient read it


def known_notices(session: Session) -> list[Notice]:
    """Every version of every notice, the newest version of each name first. Those that come with the broker are put in if need be."""
    for content in notices.given():
        row = {"name": content["name"], "version": 1, "content": content, "made_at": clock.now(), "made_by": "system"}
        session.execute(insert(Notice).values(row).on_conflict_do_nothing())
    return list(session.exec(select(Notice).order_by(col(Notice.name), col(Notice.version).desc())))


def add_notice(session: Session, content: Mapping[str, Any], *, actor: str) -> Notice:
    """A new version of a notice, or the first of a new one; the version before is retired. Raises NotAnAnswer with every problem."""
    found = notices.problems(content)
    if found:
        raise NotAnAnswer(problems=tuple(found))
    before = [one for one in known_notices(session) if one.name == content["name"]]
    now = clock.now()
    for one in before:
        if one.retired_at is None:
            one.retired_at = now
            session.add(one)
    row = Notice(name=content["name"], version=1 + max((one.version for one in before), default=0), content=dict(content), made_at=now, made_by=actor)
    session.add(row)
    session.flush()
    audit.record(session, Event("consent.notice-added", actor, facts={"notice": row.name, "version": row.version}))
    return row


def notice(session: Session, name: str, version: int) -> Notice:
    """One version of a notice. Raises NoSuchNotice."""
    found = next((one for one in known_notices(session) if (one.name, one.version) == (name, version)), None)
    if found is None:
        raise NoSuchNotice
    return found


def shown(session: Session, settings: Settings, template: Notice, scope: Scope, retention_days: int, wording: Wording, language: str) -> notices.Text:
    """The notice as a patient is shown it for this recipient, purpose and data. Raises identity's UnknownOrganization."""
    hospital, recipient = (
        identity.Directory(session).get(settings.hospital),
        identity.organization(session, scope.recipient),
    )
    english = language == "en"
    blanks = {
        "hospital": (hospital.name_en if english else hospital.name_zh) if hospital else settings.hospital,
        "hospital_contact": settings.base_url,
        "recipient": recipient.name_en if english else recipient.name_zh,
        "recipient_contact": f"{recipient.id} ({recipient.jurisdiction})",
        "purpose": wording.purpose(scope.purpose, language),
        "data": wording.data(scope.data, language),
        "retention_days": str(retention_days),
        "until": scope.until.isoformat(),
    }
    return notices.rendered(template.content, blanks, language)


def take(session: Session, keys: Keys, settings: Settings, answer: Answer, wording: Wording, *, actor: str) -> Taken:
    """Keep an answer with its evidence; where it was yes, file the consent. All problems come at once.

    Raises NoSuchNotice, NoSuchConsent for a patient who isn't known, identity's UnknownOrganization, NotAnAnswer, AskedTooSoon, and what
    filing raises.
    """
    wanted = notice(session, answer.notice, answer.version)
    patient_key = known_patient(session, keys, answer.patient)
    if patient_key is None:
        raise NoSuchConsent
    vault = records.open_vault(session, keys, patient_key)
    recipient = identity.organization(session, answer.scope.recipient)
    kinds = frozenset(one.kind for one in answer.evidence)
    needed = asking_rules.separate_needed(other_processor=recipient.relationship == "external", abroad=recipient.jurisdiction != "CN")
    found = [
        *([Problem("/version", "notice-retired", "A newer version of this notice is in use.")] if wanted.retired_at is not None else []),
        *wording.problems(answer.scope),
        *asking_rules.who_may_answer(answer.answerer, full_years(records.born(session, keys, vault), clock.today()), kinds),
        *asking_rules.what_is_missing(wanted.content["kinds"], answer.separate, needed, kinds, given=answer.given),
    ]
    if answer.scope.until <= clock.today():
        found.append(Problem("/until", "over", "It must lie in the future."))
    if found:
        raise NotAnAnswer(problems=tuple(found))
    token = keys.blind("consent-asked", answer.scope.recipient, answer.scope.purpose, answer.scope.method)
    _not_too_soon(session, patient_key, token, settings, by_patient=answer.by_patient)
    text = shown(session, settings, wanted, answer.scope, answer.retention_days, wording, answer.language)
    name = uuid4()
    filed = None
    if answer.given or answer.denies:
        given = consent_of(answer.scope, wording, patient=vault.fhir_id, given=answer.given, notice=(wanted.name, wanted.version), asking=name,
                           now=clock.now().astimezone(settings.zone), hospital=settings.hospital, answerer=answer.answerer, guardian=answer.name,
                           separate=answer.separate)  # fmt: skip
        filed = file(session, keys, given, raw=orjson.dumps(given), actor=actor, zone=settings.zone)
    record = {
        "scope": {**vars_of(answer.scope)}, "retention_days": answer.retention_days, "separate": sorted(answer.separate), "language": answer.language,
        "capacity": answer.answerer.capacity, "relationship": answer.answerer.relationship, "reason": answer.answerer.reason, "name": answer.name,
        "shown": text.whole, "types": [one.content_type for one in answer.evidence],
    }  # fmt: skip
    row = Asking(
        patient_key=patient_key,
        id=name,
        notice=wanted.name,
        notice_version=wanted.version,
        answer="given" if answer.given else "refused",
        asked=token,
        consent_id=None if filed is None else filed.id,
        at=clock.now(),
        actor=actor,
        record=sealed(vault, name, 1, "asking", orjson.dumps(record)),
    )
    session.add(row)
    session.flush()
    for number, one in enumerate(answer.evidence, 1):
        body = sealed(vault, name, number, "evidence", one.content)
        session.add(
            Evidence(patient_key=patient_key, asking_id=name, number=number, kind=one.kind, content_hash=vault.content_hash(one.content), body=body)
        )
    facts: dict[str, str | int | bool | list[str]] = {
        "asking": str(name), "notice": wanted.name, "version": wanted.version, "answer": row.answer, "capacity": answer.answerer.capacity,
        "evidence": len(answer.evidence), "consent": "" if filed is None else str(filed.id),
    }  # fmt: skip
    facts = {key: value for key, value in facts.items() if value != ""}
    event = Event(
        "consent.asked",
        actor,
        recipient=answer.scope.recipient,
        purpose=answer.scope.purpose,
        patient=patient_key,
        subject=vault.subject,
        facts=facts,
    )
    audit.record(session, event)
    return Taken(name, filed, text.whole)


def vars_of(scope: Scope) -> dict[str, Any]:
    """A scope as JSON."""
    return {
        "recipient": scope.recipient,
        "purpose": scope.purpose,
        "method": scope.method,
        "data": sorted(scope.data),
        "sensitive": sorted(scope.sensitive),
        "until": scope.until.isoformat(),
    }


def _not_too_soon(session: Session, patient_key: UUID, token: bytes, settings: Settings, *, by_patient: bool) -> None:
    """Whoever refused is left alone for a while, unless they come by themselves (Regulation on Network Data Security 22)."""
    last = session.exec(
        select(Asking).where(Asking.patient_key == patient_key, Asking.asked == token).order_by(col(Asking.at).desc()).limit(1)
    ).first()
    again = asking_rules.may_ask_from(last.at, settings.consent_reask_days) if last is not None and last.answer == "refused" else None
    if again is not None and clock.now() < again and not by_patient:
        raise AskedTooSoon(until=again)


@dataclass(frozen=True)
class Needed:
    """Whether a patient must be asked for something, and why; or which consent carries it."""

    carried_by: UUID | None
    reasons: tuple[str, ...]  #: why the nearest consent does not carry it; ``nothing-agreed`` where there is none
    not_before: datetime | None  #: a refusal stands in the way until then


def needed(session: Session, keys: Keys, settings: Settings, patient: Mapping[str, Any], wanted: Scope) -> Needed:
    """Whether what is wanted is carried by what the patient agreed to: another purpose, method or type of data asks anew (PIPL 14)."""
    patient_key = known_patient(session, keys, patient)
    if patient_key is None:
        raise NoSuchConsent
    vault = records.open_vault(session, keys, patient_key)
    statement = (
        select(Asking, Consent.status).join(Consent, col(Consent.id) == Asking.consent_id, isouter=True).where(Asking.patient_key == patient_key)
    )
    nearest: tuple[str, ...] | None = None
    for asking, status in session.exec(statement.order_by(col(Asking.at).desc())):
        if asking.answer != "given":
            continue
        held = _scope(orjson.loads(opened(vault, asking.id, 1, "asking", asking.record))["scope"])
        reasons = (*asking_rules.asks_anew(held, wanted, clock.today()), *(("withdrawn",) if status != "active" else ()))
        if not reasons:
            return Needed(asking.consent_id, (), None)
        if nearest is None or len(reasons) < len(nearest):
            nearest = reasons
    token = keys.blind("consent-asked", wanted.recipient, wanted.purpose, wanted.method)
    not_before = None
    try:
        _not_too_soon(session, patient_key, token, settings, by_patient=False)
    except AskedTooSoon as soon:
        not_before = soon.until
    return Needed(None, nearest or ("nothing-agreed",), not_before)


def _scope(value: Mapping[str, Any]) -> Scope:
    return Scope(
        value["recipient"],
        value["purpose"],
        value["method"],
        frozenset(value["data"]),
        frozenset(value["sensitive"]),
        date.fromisoformat(value["until"]),
    )


def askings(session: Session, keys: Keys, patient: Mapping[str, Any]) -> list[tuple[Asking, dict[str, Any], Sequence[Evidence]]]:
    """What a patient was asked and answered, the newest first, each opened and with its evidence still sealed. Raises NoSuchConsent."""
    patient_key = known_patient(session, keys, patient)
    if patient_key is None:
        raise NoSuchConsent
    vault = records.open_vault(session, keys, patient_key)
    rows = session.exec(select(Asking).where(Asking.patient_key == patient_key).order_by(col(Asking.at).desc(), col(Asking.id))).all()
    proofs = session.exec(select(Evidence).where(Evidence.patient_key == patient_key).order_by(col(Evidence.number))).all()
    return [(row, orjson.loads(opened(vault, row.id, 1, "asking", row.record)), [one for one in proofs if one.asking_id == row.id]) for row in rows]


def evidence(session: Session, keys: Keys, asking_id: UUID, number: int, *, actor: str) -> tuple[str, bytes]:
    """One piece of evidence: its media type and bytes, checked against its hash. Looking at it is recorded. Raises NoSuchConsent."""
    asking = session.exec(select(Asking).where(Asking.id == asking_id)).first()
    row = session.exec(select(Evidence).where(Evidence.asking_id == asking_id, Evidence.number == number)).first()
    if asking is None or row is None:
        raise NoSuchConsent
    vault = records.open_vault(session, keys, asking.patient_key)
    content = opened(vault, asking_id, number, "evidence", row.body)
    if vault.content_hash(content) != bytes(row.content_hash):
        raise NoSuchConsent
    record = orjson.loads(opened(vault, asking.id, 1, "asking", asking.record))
    event = Event(
        "consent.evidence-read", actor, patient=asking.patient_key, subject=vault.subject, facts={"asking": str(asking_id), "number": number}
    )
    audit.record(session, event)
    return record["types"][number - 1], content
