"""Consents explained: who could see what and which provision says so, what a consent would change before it is signed, what a patient was
asked and answered, and the withdrawals that past recipients acknowledge (PI-3.1, QA-4.2; PIPL 15, 17, 48).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, Path, Request
from fastapi.responses import Response
from sqlmodel import Session

from broker import clock
from broker.consent import service as consent
from broker.console import language, pickers, vocabulary
from broker.console.applying import FIRST_PURPOSES, RESIDENT_NUMBER
from broker.console.asking import SEPARATE
from broker.console.desk import Desk
from broker.console.door import Form, Posted, SignedIn, Visitor, require
from broker.console.language import N_, said
from broker.console.pages import HEADERS, Names, Pages, text, to
from broker.database import SessionDep
from broker.errors import BrokerError, Forbidden, Invalid, Problem
from broker.fhir.parse import read_json
from broker.identity import service as identity
from broker.identity.access import Action

Reader = Annotated[Visitor, Depends(require(Action.CONSENT_READ))]
Id = Annotated[str, Path(max_length=64)]

EFFECTS = {"permit": N_("may see"), "deny": N_("may not see"), "silent": N_("nothing said")}
TONES = {"permit": "good", "deny": "bad", "silent": "quiet"}
REASONS = {
    "provision": N_("a provision says so"),
    "unlabelled": N_("it could not be labelled"),
    "unenforceable": N_("a consent can't be understood, so that it denies"),
    "nothing-said": N_("no consent speaks of it: it leaves only where the lawful basis needs none"),
}
OUTCOMES = {"enforced": N_("enforced"), "kept": N_("kept"), "refused": N_("can't be enforced")}
ANSWERS = {"given": N_("agreed"), "refused": N_("refused")}
CAPACITIES = {"self": N_("the patient"), "guardian": N_("a guardian")}
#: Resources shown on one page; the counts above are of all.
MOST = 200


def build_router(desk: Desk, pages: Pages) -> APIRouter:
    """Explanations, what was asked, withdrawals."""
    router = APIRouter()

    def choices(request: Request, session: Session, form: Form | None = None) -> dict[str, Any]:
        spoken = pages.language(request)
        codes = [*(code for code in FIRST_PURPOSES if code in desk.purposes), *(code for code in desk.purposes if code not in FIRST_PURPOSES)]
        kept = ("system", "number", "recipient", "purpose", "consent")
        return {
            "recipients": pickers.organizations(session, spoken).picker(form, "recipient"),
            "purposes": [(code, text(desk.purposes[code], spoken)) for code in codes],
            "systems": (RESIDENT_NUMBER, desk.settings.record_number_system),
            "given": {name: form.one(name) if form else "" for name in kept},
        }

    def page(request: Request, session: Session, form: Form | None = None, error: BrokerError | None = None, **found: Any) -> Response:
        shown = {"seen": None, "seers": None, "foreseen": None, "asked": None, **found}
        status = error.status if error else 200
        return pages.show(request, "explain.html", status=status, error=error, **shown, **choices(request, session, form))

    @router.get("/console/explain")
    def first(request: Request, who: Reader, session: SessionDep) -> Response:
        del who
        return page(request, session)

    @router.post("/console/explain")
    def explained(request: Request, form: Posted, who: Reader, session: SessionDep) -> Response:
        try:
            with session.begin_nested():
                form = pickers.organizations(session, pages.language(request)).settled(form, "recipient")
                found = _found(request, form, who, session)
        except BrokerError as error:
            return page(request, session, form, error)
        return page(request, session, form, **found)

    def _found(request: Request, form: Form, who: Visitor, session: Session) -> dict[str, Any]:
        spoken, patient = pages.language(request), {"identifier": {"system": form.one("system"), "value": form.one("number")}}
        names = Names(session, spoken)
        if form.one("what") == "asked":
            return {"asked": [_asked(spoken, names, *one) for one in consent.askings(session, desk.keys, patient)]}
        purpose, recipient = form.one("purpose"), form.one("recipient")
        if purpose not in desk.purposes:
            raise Invalid(problems=(Problem("/purpose", "required", "Choose a purpose."),))
        more: dict[str, Any] = {"at": clock.now(), "actor": who.caller.actor}
        if form.one("resource"):
            resource = form.one("resource")
            every = consent.who_could_see(session, desk.keys, patient=patient, resource=resource, purpose=purpose, **more)
            seers = sorted(every, key=lambda one: list(EFFECTS).index(one.judged.effect.value))
            return {"seers": (_resource(spoken, resource), [(names[one.organization], _judged(spoken, one.judged)) for one in seers])}
        if recipient not in names:
            raise Invalid(problems=(Problem("/recipient", "required", "Choose a recipient."),))
        if form.one("what") == "foresee":
            given = read_json(form.one("consent").encode(), max_bytes=desk.settings.max_body_bytes, max_depth=desk.settings.max_json_depth)
            if not isinstance(given, dict):
                raise Invalid(problems=(Problem("/consent", "not-a-consent", "It must be a FHIR Consent."),))
            foreseen = consent.foresee(session, desk.keys, given, uses=[(recipient, purpose)], zone=desk.settings.zone, **more)
            return {"foreseen": _foreseen(spoken, foreseen)}
        seen = consent.explain(session, desk.keys, patient=patient, recipient=recipient, purpose=purpose, **more)
        counts = [(vocabulary.kind(spoken, kind), *(row[effect] for effect in EFFECTS)) for kind, row in consent.counts(seen.judged).items()]
        rows = [_judged(spoken, one) for one in seen.judged[:MOST]]
        return {"seen": {"base": _effect(spoken, seen.base.value), "consents": seen.consents, "counts": counts, "rows": rows, "of": len(seen.judged),
                         "whole": seen.whole}}  # fmt: skip

    @router.get("/console/explain/evidence/{asking}/{number}")
    def evidence(asking: Id, number: Annotated[int, Path(ge=1, le=100)], who: Reader, session: SessionDep) -> Response:
        kind, content = consent.evidence(session, desk.keys, consent.id_of(asking), number, actor=who.caller.actor)
        named_as = {"Content-Disposition": f'attachment; filename="evidence-{number}"', "X-Content-Type-Options": "nosniff"}
        return Response(content, 200, {**HEADERS, **named_as}, kind)

    def listed(request: Request, who: Visitor, session: Session, error: BrokerError | None = None) -> Response:
        everything = who.caller.may(Action.CONSENT_READ)
        mine = frozenset(identity.below(session, who.caller.organization_id))
        rows = consent.withdrawals(session, recipients=None if everything else mine)
        spoken = pages.language(request)
        names = Names(session, spoken)
        shown = [(one, names.get(one.recipient, one.recipient), one.acknowledged_at is None and may(who, one.recipient, mine)) for one in rows]
        return pages.show(request, "withdrawals.html", status=error.status if error else 200, error=error, rows=shown, everything=everything)

    def may(who: Visitor, recipient: str, mine: frozenset[str]) -> bool:
        return recipient in mine or who.caller.may(Action.CONSENT_WRITE)

    @router.get("/console/withdrawals")
    def many(request: Request, who: SignedIn, session: SessionDep) -> Response:
        return listed(request, who, session)

    @router.post("/console/withdrawals/{withdrawn}/{recipient}")
    def acknowledge(request: Request, withdrawn: Id, recipient: Id, form: Posted, who: SignedIn, session: SessionDep) -> Response:
        if not may(who, recipient, frozenset(identity.below(session, who.caller.organization_id))):
            raise Forbidden
        answers = {"yes": True, "no": False}
        if form.one("destroyed") not in answers:
            return listed(request, who, session, Invalid(problems=(Problem("/destroyed", "required", "Say whether the copies are destroyed."),)))
        destroyed = answers[form.one("destroyed")]
        consent.acknowledge(session, desk.keys, consent.id_of(withdrawn), recipient, destroyed=destroyed, actor=who.caller.actor)
        return to("/console/withdrawals", done="withdrawal-acknowledged")

    return router


def _effect(spoken: str, code: str) -> tuple[str, str]:
    """A verdict in words, and its tone."""
    return said(spoken, EFFECTS[code]), TONES[code]


def _resource(spoken: str, reference: str) -> str:
    kind, _, name = reference.partition("/")
    return f"{vocabulary.kind(spoken, kind)} {name}"


def _judged(spoken: str, one: Any) -> dict[str, Any]:
    """One resource with what decides about it."""
    return {
        "reference": one.resource, "what": _resource(spoken, one.resource), "date": one.date or "–", "effect": _effect(spoken, one.effect.value),
        "reason": said(spoken, REASONS[one.reason]), "provision": one.provision, "notes": one.notes,
        "consent": said(spoken, N_("this consent")) if one.consent == "new" else one.consent,
    }  # fmt: skip


def _foreseen(spoken: str, found: Any) -> dict[str, Any]:
    """The report on a consent, and what would be different."""
    words = found.report.to_json(spoken)
    report = [(one["path"], said(spoken, OUTCOMES[one["outcome"]]), "bad" if one["outcome"] == "refused" else "quiet", one["reason"])
              for one in words["elements"]]  # fmt: skip
    changed: Sequence[Any] = found.changes[0].changed if found.changes else ()
    return {
        "enforceable": words["enforceable"], "dialect": str(found.report.detected), "report": report,
        "replaces": [str(one) for one in found.replaces],
        "changed": [(_judged(spoken, before), _judged(spoken, after)) for before, after in changed[:MOST]], "of": len(changed),
        "unchanged": found.changes[0].unchanged if found.changes else 0,
    }  # fmt: skip


def _asked(spoken: str, names: Names, row: Any, record: dict[str, Any], proofs: Sequence[Any]) -> dict[str, Any]:
    """One asking: what was shown, who answered what, what proves it."""
    scope = record["scope"]
    separate = [said(spoken, SEPARATE[one]) for one in record["separate"] if one in SEPARATE]
    return {
        "id": row.id, "at": row.at, "notice": f"{row.notice} · {row.notice_version}", "tag": language.TAGS.get(record["language"], "zh-Hans-CN"),
        "answer": said(spoken, ANSWERS[row.answer]), "tone": "good" if row.answer == "given" else "bad", "consent": row.consent_id,
        "recipient": names.get(str(scope.get("recipient")), str(scope.get("recipient"))), "separate": separate,
        "capacity": said(spoken, CAPACITIES.get(record["capacity"], record["capacity"])), "shown": record["shown"],
        "evidence": [(one.number, record["types"][one.number - 1]) for one in proofs], "href": f"/console/explain/evidence/{quote(str(row.id))}",
    }  # fmt: skip
