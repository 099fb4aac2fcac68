"""One exchange: the request, what the machine and people said, what was sent, feedback; and the steps that somebody may take."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType
from typing import Any
from urllib.parse import quote
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import ValidationError
from sqlmodel import Session

from broker import clock
from broker.applications import service as applications
from broker.applications.schemas import AssessmentOut, ExchangeOut, StepIn
from broker.console import words
from broker.console.desk import Desk
from broker.console.door import Form, Posted, SignedIn, Visitor
from broker.console.opinions import Opinion, opinion
from broker.console.pages import Pages, to
from broker.console.problems import of_validation
from broker.database import SessionDep
from broker.errors import BrokerError, Malformed
from broker.feedback import service as feedback
from broker.feedback.models import DataProblem, PurposeMet
from broker.feedback.schemas import FeedbackIn
from broker.identity import service as identity
from broker.identity.access import Action

#: Steps that are taken by one button, with what is said to it: the verb, and what the page says afterwards.
STEPS: MappingProxyType[str, Callable[..., Any]] = MappingProxyType(
    {
        "endorse": applications.endorse,
        "agree": applications.agree,
        "legality": applications.legality,
        "necessity": applications.necessity,
        "concur": applications.concur,
        "return": applications.return_,
        "refuse": applications.refuse,
        "withdraw": applications.withdraw,
        "suspend": applications.suspend,
        "resume": applications.resume,
        "revoke": applications.revoke,
        "close": applications.close,
        "recuse": applications.recuse,
    }
)
#: Those for which a reason must be given.
REASONED = frozenset({"return", "refuse", "suspend", "resume", "revoke", "recuse", "close"})


def build_router(desk: Desk, pages: Pages) -> APIRouter:
    """The page of one exchange, its steps, and feedback."""
    router = APIRouter()

    @router.get("/console/applications/{ref}")
    def exchange(request: Request, ref: str, who: SignedIn, session: SessionDep) -> Response:
        return show(request, ref, who, session)

    def show(request: Request, ref: str, who: Visitor, session: Session, error: BrokerError | None = None) -> Response:
        sight = applications.look(session, who.caller.person_id, ref)
        thread = applications.exchange(session, desk.keys, sight)
        return pages.show(request, "exchange.html", status=error.status if error else 200, error=error, **context(request, who, session, thread))

    def context(request: Request, who: Visitor, session: Session, thread: ExchangeOut) -> dict[str, Any]:
        spoken, shown = pages.language(request), thread.application
        given = [*shown.actions, *(shown.grant.actions if shown.grant else ())]
        reports = feedback.of_application(session, shown.number) if shown.number else []
        application = applications.find(session, shown.id)
        sent = shown.grant.first_released_at if shown.grant else None
        reporter = applications.is_recipients(session, who.caller.person_id, application) and (
            who.caller.may(Action.FEEDBACK_WRITE) or application.requester_id == who.caller.person_id
        )
        return {
            "thread": thread,
            "it": shown,
            "known": identity.Directory(session),
            "desk": desk,
            "opinions": [(one, [opinion_of(desk, spoken, one, place) for place in range(len(one.patients))]) for one in reversed(thread.assessments)],
            "steps": [step for step in STEPS if step in given],
            "reasoned": REASONED,
            "reasons": [(code, words.word(spoken, "reason", code)) for code in words.REASON],
            "may_edit": "edit" in given,
            "may_decide": "approve" in given,
            "may_assess": "assess" in given,
            "missing": [one.partition(":")[0] for one in shown.missing],
            "own": application.requester_id == who.caller.person_id,
            "may_renew": application.requester_id == who.caller.person_id and shown.status == "approved",
            "differences": applications.differences(session, desk.keys, application) if application.round > 1 else [],
            "reports": [(row, feedback.comment_of(desk.keys, application, row)) for row in reports],
            "may_report": reporter and shown.grant is not None,
            "due": feedback.due_at(sent, desk.settings.feedback_days) if sent else None,
            "now": clock.now(),
            "problems_of_data": [(one.value, words.word(spoken, "data_problem", one.value)) for one in DataProblem],
            "met": [(one.value, words.word(spoken, "purpose_met", one.value)) for one in PurposeMet],
        }

    @router.post("/console/applications/{ref}/step")
    def step(request: Request, ref: str, form: Posted, who: SignedIn, session: SessionDep) -> Response:
        name = form.one("step")
        if name not in STEPS:
            raise Malformed("There is no such step.")
        try:
            with session.begin_nested():
                said = said_to(form, pages.language(request))
                STEPS[name](session, desk.keys, who.caller.person_id, ref, if_match=version_of(form), reason=said.said())
        except BrokerError as error:
            return show(request, ref, who, session, error)
        return to(f"/console/applications/{quote(ref)}", done=name)

    @router.post("/console/applications/{ref}/again")
    def again(request: Request, ref: str, form: Posted, who: SignedIn, session: SessionDep) -> Response:
        try:
            with session.begin_nested():
                relation = applications.Relation(form.one("relation"))
                fresh = applications.again(session, desk.keys, who.caller.person_id, ref, relation)
        except ValueError:
            raise Malformed("There is no such choice.") from None
        except BrokerError as error:
            return show(request, ref, who, session, error)
        return to(f"/console/applications/{fresh.id}/edit")

    @router.get("/console/applications/{ref}/attachments/{attachment}")
    def attachment_of(ref: str, attachment: UUID, who: SignedIn, session: SessionDep) -> Response:
        application = applications.look(session, who.caller.person_id, ref).application
        row, body = applications.opened(session, desk.keys, application, attachment, who.caller.actor)
        name = quote(applications.attachment_name(desk.keys, row), safe="")
        headers = {"Content-Disposition": f"attachment; filename*=UTF-8''{name}", "Content-Security-Policy": "sandbox; default-src 'none'"}
        return Response(body, media_type=row.media_type, headers=headers)

    @router.post("/console/applications/{ref}/assess")
    def assess(request: Request, ref: str, form: Posted, who: SignedIn, session: SessionDep) -> Response:
        try:
            with session.begin_nested():
                applications.reassess(session, desk.means, who.caller.person_id, ref)
        except BrokerError as error:
            return show(request, ref, who, session, error)
        return to(f"/console/applications/{quote(ref)}" + ("/decide" if form.one("back") == "decide" else ""), done="assess")

    @router.post("/console/applications/{ref}/feedback")
    def report(request: Request, ref: str, form: Posted, who: SignedIn, session: SessionDep) -> Response:
        try:
            with session.begin_nested():
                feedback.give(session, desk.keys, who.caller, ref, _answers(form, pages.language(request)).answers())
        except BrokerError as error:
            return show(request, ref, who, session, error)
        return to(f"/console/applications/{quote(ref)}", done="feedback")

    return router


def opinion_of(desk: Desk, spoken: str, assessment: AssessmentOut, place: int) -> Opinion:
    """What an assessment says about one of its patients."""
    one = assessment.patients[place]
    return opinion(desk, spoken, effect=one.effect, reasons=one.reasons, plan=one.plan, obligations=one.obligations, necessity=one.necessity)


def said_to(form: Form, spoken: str) -> StepIn:
    """What somebody says to a step. Raises Invalid."""
    try:
        return StepIn.model_validate({"code": form.one("code") or "other", **({"reason": form.one("reason")} if form.one("reason") else {})})
    except ValidationError as error:
        raise of_validation(error, spoken) from None


def version_of(form: Form) -> int | None:
    """Which version was looked at."""
    given = form.one("version")
    return int(given) if given.isascii() and given.isdigit() and len(given) < 10 else None


def _answers(form: Form, spoken: str) -> FeedbackIn:
    avoided = form.one("examinations_avoided") or "0"
    given: dict[str, Any] = {
        "used": form.one("used") == "yes",
        "onward_disclosure": form.one("onward_disclosure") == "yes",
        "deletion_done": form.one("deletion_done") == "yes",
        "data_problems": form.all("data_problems"),
        "examinations_avoided": int(avoided) if avoided.isascii() and avoided.isdigit() and len(avoided) < 6 else avoided,
    }
    for name in ("purpose_met", "comment"):
        if form.one(name):
            given[name] = form.one(name)
    try:
        return FeedbackIn.model_validate(given)
    except ValidationError as error:
        raise of_validation(error, spoken) from None
