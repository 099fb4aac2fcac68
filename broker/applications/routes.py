"""Applications over HTTP, under ``/api/v1/applications``: each route names its verb and decides nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, tzinfo
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from sqlmodel import Session

from broker.applications import service
from broker.applications.errors import IdempotencyKeyUnusable
from broker.applications.lifecycle import State
from broker.applications.means import DEADLINES, ConsentFactsOf, Holds, Judge, Means, Preview, no_holds
from broker.applications.models import Application
from broker.applications.office_routes import build_router as build_office_router
from broker.applications.paper_routes import build_router as build_paper_router
from broker.applications.schemas import ApplicationIn, ApplicationOut, ApproveIn, AssessmentOut, ExchangeOut, ListOut, NarrowIn, StepIn
from broker.applications.service import Answer
from broker.crypto import Keys
from broker.database import SessionDep
from broker.edge import STRICT
from broker.identity.access import Person, PersonCaller

Ref = Annotated[str, Path(max_length=64, description="The number (SA-YYYY-NNNNNN), or a draft's uuid.")]

_TAG = re.compile(r'"(\d{1,9})"')

#: A version that no application has: an If-Match that can't be one of ours never matches.
NEVER = -1


@dataclass(frozen=True)
class Conditions:
    """What a request says about itself besides its body: If-Match (None where nothing was said) and Idempotency-Key."""

    if_match: int | None
    key: str | None
    method: str
    path: str


def conditions(
    request: Request,
    if_match: Annotated[str | None, Header(max_length=100, description="The ETag of the version that was looked at.")] = None,
    idempotency_key: Annotated[str | None, Header(max_length=300, description="Repeat a request with its key to get the first answer again.")] = None,
) -> Conditions:
    """Read the two headers. ``If-Match: *`` says nothing about which version was looked at and counts as not sent."""
    version = None
    if if_match is not None and if_match.strip() != "*":
        tag = _TAG.fullmatch(if_match.strip())
        version = int(tag[1]) if tag else NEVER
    if len(request.headers.getlist("idempotency-key")) > 1:
        raise IdempotencyKeyUnusable
    return Conditions(version, idempotency_key, request.method, request.url.path)


Said = Annotated[Conditions, Depends(conditions)]


class ProblemOut(BaseModel):
    """RFC 9457 problem+json, as every error here looks."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    help: str
    request_id: str


_PROBLEM: dict[str, Any] = {"content": {"application/problem+json": {"schema": ProblemOut.model_json_schema()}}}
ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"description": description, **_PROBLEM}
    for status, description in {
        400: "The body could not be read.",
        401: "Not signed in.",
        403: "Not yours to do.",
        404: "There is no such application, or you may not see it.",
        409: "It does not fit the present state.",
        412: "It was changed since you looked.",
        422: "Something in it is not valid; each field is named.",
        428: "If-Match is required.",
    }.items()
}


def build_router(
    *,
    keys: Keys,
    engine: Judge,
    consent_facts: ConsentFactsOf,
    data_classes: Mapping[str, Collection[str]],
    preview: Preview,
    holds: Holds = no_holds,
    purposes: Collection[str] | None = None,
    lawful_bases: Collection[str] | None = None,
    reviews: bool = False,
    quorum: int = 2,
    deadlines: Mapping[str, int] = DEADLINES,
    zone: tzinfo = UTC,
    attachment_bytes: int = 3_000_000,
) -> APIRouter:
    """The routes, with what they need from beside and above this slice.

    ``engine``: ``policy.service.build_engine``'s. ``consent_facts(session, patient_key, recipient, purpose, at, requester=…)``: from the
    consent registry. ``data_classes``: ``policy.service.catalogue().types_of``. ``preview(session, application)``: what would be
    released, from release. ``holds(session, person_id)``: numbers of the applications whose feedback is overdue, from
    ``feedback.service.holds(days)``. ``purposes``, ``lawful_bases``: the known codes, from policy; None leaves them to policy. The rest
    as the settings have it (``Means``); ``attachment_bytes``: largest document.
    """
    means = Means(
        keys=keys,
        engine=engine,
        consent_facts=consent_facts,
        data_classes=data_classes,
        holds=holds,
        purposes=purposes,
        lawful_bases=lawful_bases,
        reviews=reviews,
        quorum=quorum,
        deadlines=deadlines,
        zone=zone,
    )
    router = APIRouter(prefix="/api/v1/applications", tags=["applications"], responses=ERRORS, dependencies=[STRICT])

    def shown(session: Session, caller: PersonCaller, application: Application, status: int = 200) -> Answer:
        body = service.one(session, keys, service.look(session, caller.person_id, str(application.id))).model_dump(mode="json")
        headers = {"ETag": service.etag(application)}
        if status == 201:
            headers["Location"] = f"/api/v1/applications/{application.id}"
        return Answer(status, body, headers)

    def once(session: Session, caller: PersonCaller, said: Conditions, body: BaseModel | None, act: Callable[[], Answer]) -> Response:
        sent = body.model_dump(mode="json", exclude_unset=True) if body is not None else None
        request = service.request_hash(said.method, said.path, said.if_match, sent)
        return _response(service.idempotent(session, keys, actor=caller.actor, key=said.key, request=request, act=act))

    @router.post("", status_code=201, response_model=ApplicationOut)
    def draft(body: ApplicationIn, session: SessionDep, caller: Person, said: Said) -> Response:
        """Begin an application as a draft; whatever is not known yet may be left out."""
        return once(
            session, caller, said, body, lambda: shown(session, caller, service.draft(session, keys, caller.person_id, body.form()), status=201)
        )

    @router.get("", response_model=ListOut)
    def many(
        session: SessionDep,
        caller: Person,
        status: State | None = None,
        recipient: Annotated[str | None, Query(max_length=64)] = None,
        limit: Annotated[int, Query(ge=1, le=100)] = 50,
        after: UUID | None = None,
    ) -> ListOut:
        """Applications that you may see, newest first."""
        return service.many(session, caller.person_id, status=status, recipient=recipient, limit=limit, after=after)

    @router.get("/{ref}", response_model=ApplicationOut)
    def one(ref: Ref, session: SessionDep, caller: Person) -> Response:
        """One application. The ETag is what If-Match asks for."""
        return _response(shown(session, caller, service.look(session, caller.person_id, ref).application))

    @router.put("/{ref}", response_model=ApplicationOut)
    def replace(ref: Ref, body: ApplicationIn, session: SessionDep, caller: Person, said: Said) -> Response:
        """Write a draft or a returned application anew; what is left out is cleared."""
        application = service.update(session, keys, caller.person_id, ref, body.form(), if_match=said.if_match, whole=True)
        return _response(shown(session, caller, application))

    @router.patch("/{ref}", response_model=ApplicationOut)
    def change(ref: Ref, body: ApplicationIn, session: SessionDep, caller: Person, said: Said) -> Response:
        """Change single fields of a draft or a returned application; what is left out stays, null clears (RFC 7396)."""
        application = service.update(session, keys, caller.person_id, ref, body.form(), if_match=said.if_match, whole=False)
        return _response(shown(session, caller, application))

    @router.post("/{ref}/submit", response_model=ApplicationOut)
    def submit(ref: Ref, session: SessionDep, caller: Person, said: Said) -> Response:
        """Hand it in: it gets its number and the machine's assessment."""

        def act() -> Answer:
            return shown(session, caller, service.submit(session, means, caller.person_id, ref, if_match=said.if_match))

        return once(session, caller, said, None, act)

    @router.post("/{ref}/approve", response_model=ApplicationOut)
    def approve(ref: Ref, session: SessionDep, caller: Person, said: Said, body: ApproveIn | None = None) -> Response:
        """Approve exactly what was asked and assessed. Yields the grant."""
        given = body or ApproveIn()

        def act() -> Answer:
            service.approve(
                session,
                means,
                caller.person_id,
                ref,
                if_match=said.if_match,
                releases_limit=given.releases_limit,
                frequency=given.frequency.pair() if given.frequency else None,
                reason=given.said(),
            )
            return shown(session, caller, service.find(session, ref))

        return once(session, caller, said, body, act)

    @router.post("/{ref}/narrow", response_model=ApplicationOut)
    def narrow(ref: Ref, body: NarrowIn, session: SessionDep, caller: Person, said: Said) -> Response:
        """Approve a part of what was asked. Yields the grant."""

        def act() -> Answer:
            service.narrow(session, means, caller.person_id, ref, body.narrowing(), if_match=said.if_match, reason=body.said())
            return shown(session, caller, service.find(session, ref))

        return once(session, caller, said, body, act)

    def step(name: str, verb: Callable[..., Any], summary: str) -> None:
        """A route for a verb that takes a version and a reason, all alike."""

        def take(ref: Ref, session: SessionDep, caller: Person, said: Said, body: StepIn | None = None) -> Response:
            def act() -> Answer:
                verb(session, keys, caller.person_id, ref, if_match=said.if_match, reason=body.said() if body else None)
                return shown(session, caller, service.find(session, ref))

            return once(session, caller, said, body, act)

        router.add_api_route(f"/{{ref}}/{name}", take, methods=["POST"], response_model=ApplicationOut, name=name, summary=summary)

    step("endorse", service.endorse, "Endorse it as head of the department.")
    step("agree", service.agree, "Agree as head of the department to which the data belong.")
    step("legality", service.legality, "Find it lawful, as a review of its own.")
    step("necessity", service.necessity, "Find it necessary and no more than that, as a review of its own.")
    step("concur", service.concur, "Decide for it beside whoever approves, where several must.")
    step("recuse", service.recuse, "Declare an interest, and take no step of it.")
    step("return", service.return_, "Return it to the applicant, with a reason.")
    step("refuse", service.refuse, "Refuse it, with a reason.")
    step("withdraw", service.withdraw, "Take one's own application back.")
    step("suspend", service.suspend, "Suspend its grant, with a reason.")
    step("resume", service.resume, "Let a suspended grant go on, with a reason.")
    step("revoke", service.revoke, "Revoke its grant, with a reason. After the answer not a byte leaves under it.")
    step("close", service.close, "Close one's own grant, with the reason.")

    def anew(name: str, relation: service.Relation, summary: str) -> None:
        def begin(ref: Ref, session: SessionDep, caller: Person, said: Said) -> Response:
            def act() -> Answer:
                return shown(session, caller, service.again(session, keys, caller.person_id, ref, relation), status=201)

            return once(session, caller, said, None, act)

        router.add_api_route(f"/{{ref}}/{name}", begin, methods=["POST"], status_code=201, response_model=ApplicationOut, name=name, summary=summary)

    anew("renew", service.Relation.RENEWAL, "Ask for the same for longer: a draft with everything of the approved application.")
    anew("amend", service.Relation.AMENDMENT, "Ask for something else: a draft with everything of the approved application.")

    @router.get("/{ref}/assessment", response_model=AssessmentOut)
    def assessment(ref: Ref, session: SessionDep, caller: Person) -> AssessmentOut:
        """The machine's newest opinion, patient by patient, with reasons."""
        application = service.look(session, caller.person_id, ref).application
        return service.opinion(session, application, service.latest_assessment(session, application))

    @router.post("/{ref}/assessment", response_model=AssessmentOut)
    def assess(ref: Ref, session: SessionDep, caller: Person, said: Said) -> Response:
        """Let the machine judge once more, since consents and policies change."""

        def act() -> Answer:
            made = service.reassess(session, means, caller.person_id, ref)
            return Answer(200, service.opinion(session, service.find(session, ref), made).model_dump(mode="json"), {})

        return once(session, caller, said, None, act)

    @router.get("/{ref}/preview")
    def preview_of(ref: Ref, session: SessionDep, caller: Person) -> dict[str, Any]:
        """Exactly what would be released now, for whoever decides on it."""
        return preview(session, service.look_to_decide(session, caller.person_id, ref).application)

    @router.get("/{ref}/exchange", response_model=ExchangeOut)
    def exchange(ref: Ref, session: SessionDep, caller: Person) -> ExchangeOut:
        """The whole thread: application, opinions, decisions, grant, what was sent."""
        return service.exchange(session, keys, service.look(session, caller.person_id, ref))

    whole = APIRouter()
    for part in (router, build_paper_router(means, attachment_bytes), build_office_router(means)):
        whole.include_router(part, responses=ERRORS)
    return whole


def _response(answer: Answer) -> Response:
    return JSONResponse(answer.body, answer.status, answer.headers)
