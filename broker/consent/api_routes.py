"""HTTP to what people do with consents at the console, under ``/api/v1/consents``: notices, asking, explaining, withdrawal."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from broker import clock, edge
from broker.consent import api_schemas as schemas
from broker.consent import capture, explaining, withdrawals
from broker.consent.codes import PURPOSES
from broker.consent.errors import NoSuchConsent, NotAnAnswer
from broker.consent.filing import revoke
from broker.consent.http import May, keys
from broker.consent.references import canonical, canonical_uuid
from broker.consent.wording import Wording
from broker.database import SessionDep
from broker.edge import STRICT, Moment
from broker.errors import Forbidden, Problem
from broker.identity import service as identity
from broker.identity.access import Action, Person, PersonCaller
from broker.settings import Settings

Id = Annotated[str, Path(max_length=64, description="Logical id of the consent, or of the asking")]
OrganizationId = Annotated[str, Path(max_length=64)]
PatientId = Annotated[str, Query(max_length=64, description="FHIR id of the patient")]


def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


def _uuid(text: str) -> UUID:
    found = canonical_uuid(text)
    if found is None:
        raise NoSuchConsent
    return found


def _patient(name: str) -> dict[str, Any]:
    return {"reference": f"Patient/{name}"}


def _purpose(code: str) -> str:
    if code not in PURPOSES:
        raise NotAnAnswer(problems=(Problem("/purpose", "unknown-purpose", "It must be a code of HL7 v3 PurposeOfUse."),))
    return code


def build_router(may_write: May, may_read: May, wording: Wording) -> APIRouter:
    """The routes. ``wording``: the words of policy's purposes and data classes."""
    router = APIRouter(prefix="/api/v1/consents", tags=["consent"], dependencies=[STRICT])
    writer, reader = Depends(may_write), Depends(may_read)

    @router.get("/notices")
    def notices(session: SessionDep, _caller: PersonCaller = reader) -> dict[str, Any]:
        """Every version of every notice."""
        return {"items": [schemas.notice_shown(one) for one in capture.known_notices(session)]}

    @router.post("/notices", status_code=201)
    def add_notice(session: SessionDep, content: dict[str, Any], caller: PersonCaller = writer) -> dict[str, Any]:
        """A new version of a notice; the one before is retired. Refused with every part that PIPL 17, 23, 30 or 39 asks for and that is missing."""
        return schemas.notice_shown(capture.add_notice(session, content, actor=caller.actor))

    @router.post("/notices/preview")
    def preview(request: Request, session: SessionDep, body: schemas.PreviewIn, _caller: PersonCaller = reader) -> dict[str, Any]:
        """A notice as a patient would read it, in both languages."""
        scope = body.scope.scope()
        if found := wording.problems(scope):
            raise NotAnAnswer(problems=tuple(found))
        notice = capture.notice(session, body.notice, body.version)
        texts = [capture.shown(session, _settings(request), notice, scope, body.retention_days, wording, language) for language in ("zh", "en")]
        return {"kinds": notice.content["kinds"], "texts": {one.language: dict(one.parts) for one in texts}}

    @router.post("/needed")
    def needed(request: Request, session: SessionDep, body: schemas.NeededIn, _caller: PersonCaller = reader) -> dict[str, Any]:
        """Whether a patient must be asked for this: another purpose, method, type or topic asks anew (PIPL 14)."""
        found = capture.needed(session, keys(request), _settings(request), _patient(body.patient), body.scope.scope())
        return schemas.needed_shown(found)

    @router.post("/askings", status_code=201)
    def ask(request: Request, session: SessionDep, body: schemas.AskIn, caller: PersonCaller = writer) -> dict[str, Any]:
        """Keep a patient's answer with what proves it; a yes becomes a consent that is in force at once."""
        done = capture.take(session, keys(request), _settings(request), body.taken(), wording, actor=caller.actor)
        report = None if done.filed is None else done.filed.report.to_json(edge.language(request))
        return {"id": str(done.id), "consent": None if done.filed is None else str(done.filed.id), "report": report, "shown": done.shown}

    @router.get("/askings")
    def askings(request: Request, session: SessionDep, patient: PatientId, _caller: PersonCaller = reader) -> dict[str, Any]:
        """What a patient was shown and asked, and answered, the newest first."""
        found = capture.askings(session, keys(request), _patient(patient))
        return {"items": [schemas.asking_shown(row, record, list(proofs)) for row, record, proofs in found]}

    @router.get("/askings/{asking}/evidence/{number}")
    def evidence(
        request: Request, session: SessionDep, asking: Id, number: Annotated[int, Path(ge=1, le=100)], caller: PersonCaller = reader
    ) -> Response:
        """One piece of evidence, as a download."""
        kind, content = capture.evidence(session, keys(request), _uuid(asking), number, actor=caller.actor)
        headers = {"Content-Disposition": f'attachment; filename="evidence-{number}"', "X-Content-Type-Options": "nosniff"}
        return Response(content, 200, headers, kind)

    @router.post("/{consent}/withdraw")
    def withdraw(request: Request, session: SessionDep, consent: Id, caller: PersonCaller = writer) -> dict[str, Any]:
        """Withdraw a consent on the patient's word: one call, no reasons asked. Once this answers, nothing more is released on it."""
        done = revoke(session, keys(request), _uuid(consent), patient=None, actor=caller.actor)
        return {"id": str(done.id), "version": done.version, "status": "inactive"}

    @router.get("/explain")
    def explain(
        request: Request,
        session: SessionDep,
        patient: PatientId,
        purpose: Annotated[str, Query(max_length=64)],
        recipient: Annotated[str | None, Query(max_length=64)] = None,
        resource: Annotated[str | None, Query(max_length=140)] = None,
        requester: Annotated[UUID | None, Query(description="Account of the person who would apply")] = None,
        at: Annotated[Moment | None, Query()] = None,
        caller: PersonCaller = reader,
    ) -> dict[str, Any]:
        """Which resources a recipient could see and which not, each with the provision that says so; or, for one resource, who could see it.

        Without ``requester`` nobody in particular applies, so that no permit of a person speaks.
        """
        moment = at or clock.now()
        who: dict[str, Any] = {"patient": _patient(patient), "purpose": _purpose(purpose), "at": moment, "actor": caller.actor}
        if (recipient is None) == (resource is None):
            raise NotAnAnswer(problems=(Problem("/recipient", "one-of", "Name a recipient or a resource, and not both."),))
        if recipient is not None:
            return schemas.explained_shown(explaining.explain(session, keys(request), recipient=recipient, requester=requester, **who))
        named = canonical(resource)
        if named is None:
            raise NoSuchConsent
        return schemas.seers_shown(explaining.who_could_see(session, keys(request), resource=named, **who))

    @router.post("/explain")
    def foresee(request: Request, session: SessionDep, body: schemas.ForeseeIn, caller: PersonCaller = reader) -> dict[str, Any]:
        """What a consent would change before it is signed, for each of these recipients and purposes."""
        uses = [(recipient, _purpose(purpose)) for recipient in body.recipients for purpose in body.purposes]
        zone = _settings(request).zone
        found = explaining.foresee(session, keys(request), body.consent, uses=uses, at=clock.now(), actor=caller.actor, zone=zone)
        return schemas.foreseen_shown(found, edge.language(request))

    @router.get("/withdrawals")
    def told(session: SessionDep, caller: Person, waiting: Annotated[Literal["true", "false"], Query()] = "false") -> dict[str, Any]:
        """The withdrawals that past recipients were told of: one's own organisation's, or all for whoever keeps the registry."""
        mine = None if caller.may(Action.CONSENT_READ) else frozenset(identity.below(session, caller.organization_id))
        return {"items": [schemas.told_shown(one) for one in withdrawals.withdrawals(session, recipients=mine, waiting=waiting == "true")]}

    @router.post("/withdrawals/{consent}/{recipient}/acknowledge")
    def acknowledge(
        request: Request,
        session: SessionDep,
        consent: Id,
        recipient: Annotated[str, Path(max_length=64)],
        body: schemas.AcknowledgeIn,
        caller: Person,
    ) -> dict[str, Any]:
        """A past recipient says that it knows, and whether its copies are destroyed."""
        if not caller.may(Action.CONSENT_WRITE) and recipient not in identity.below(session, caller.organization_id):
            raise Forbidden
        done = withdrawals.acknowledge(session, keys(request), _uuid(consent), recipient, destroyed=body.destroyed, actor=caller.actor)
        return schemas.told_shown(done)

    return router
