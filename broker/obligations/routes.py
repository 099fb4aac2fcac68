"""Obligations and recalls over HTTP, under ``/api/v1``: both sides see them, recipients answer."""

from __future__ import annotations

from typing import Annotated, TypeVar
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel, ValidationError
from sqlmodel import Session

from broker import clock
from broker.crypto import Keys
from broker.database import SessionDep
from broker.edge import STRICT
from broker.errors import Invalid, Problem
from broker.identity import service as identity
from broker.identity.access import Action as Button
from broker.identity.access import Person, PersonCaller, require
from broker.obligations import schemas, service
from broker.obligations.lifecycle import Action, State
from broker.obligations.models import Obligation, Recall, RecallNotice
from broker.obligations.rules import is_overdue
from broker.records import service as records
from broker.records.errors import UnknownPatient
from broker.settings import Settings

Number = Annotated[str, Path(max_length=40, description="The number of the recall (RC-YYYY-NNNNNN).")]
PatientReader = Annotated[PersonCaller, Depends(require(Button.CONSENT_READ))]
_Said = TypeVar("_Said", bound=BaseModel)


def build_router(*, settings: Settings, keys: Keys) -> APIRouter:
    """The routes. ``settings``: the address that signed files must name."""
    router = APIRouter(prefix="/api/v1", tags=["obligations"], dependencies=[STRICT])

    @router.get("/obligations")
    def many(
        session: SessionDep,
        caller: Person,
        application: Annotated[str | None, Query(max_length=40)] = None,
        status: State | None = None,
        overdue: bool = False,
        limit: Annotated[int, Query(ge=1, le=1000)] = 200,
    ) -> list[schemas.ObligationOut]:
        """What is owed for data that left: for the hospital all of it, for a recipient its own."""
        rows = service.many(session, caller, application=application, status=status, overdue=overdue, limit=limit)
        return [_shown(session, keys, row) for row in rows]

    @router.post("/obligations/answers")
    def answer(body: schemas.AnswerIn, session: SessionDep, caller: Person) -> dict[str, int]:
        """Say, as the recipient, what was done about the open obligations under an application."""
        return {"answered": service.answer(session, keys, caller, body.application, body.codes, body.answer())}

    @router.post("/obligations/answers/signed")
    def answer_signed(body: schemas.SignedIn, session: SessionDep) -> dict[str, int | str]:
        """The same in a signed file of the recipient's system. No token is needed."""
        statement = identity.read_statement(session, settings, body.statement)
        said = _said(schemas.AnswerIn, statement)
        answered = service.answer_signed(session, keys, statement, said.application, said.codes, said.answer(statement.digest))
        return {"answered": answered, "digest": statement.digest}

    @router.post("/obligations/{obligation_id}/waive")
    def waive(obligation_id: UUID, body: schemas.TextIn, session: SessionDep, caller: Person) -> schemas.ObligationOut:
        """It need not be done; why."""
        return _shown(session, keys, service.judge(session, keys, caller, obligation_id, Action.WAIVE, text=body.text))

    @router.post("/obligations/{obligation_id}/reject")
    def reject(obligation_id: UUID, body: schemas.TextIn, session: SessionDep, caller: Person) -> schemas.ObligationOut:
        """The answer is not enough; why."""
        return _shown(session, keys, service.judge(session, keys, caller, obligation_id, Action.REJECT, text=body.text))

    @router.get("/recalls")
    def recalls(
        session: SessionDep, caller: Person, open_only: bool = False, limit: Annotated[int, Query(ge=1, le=1000)] = 200
    ) -> list[schemas.RecallOut]:
        """Recalls and what recipients did about them."""
        return [_recall(session, keys, *row) for row in service.many_recalls(session, caller, open_only=open_only, limit=limit)]

    @router.get("/recalls/{number}/releases")
    def releases(number: Number, application: Annotated[str, Query(max_length=40)], session: SessionDep, caller: Person) -> list[schemas.ReleaseOut]:
        """Which releases it is about: by their ids the recipient finds the data."""
        found = service.releases_of(session, caller, number, application)
        return [schemas.ReleaseOut(release=one.release, at=one.at, items=one.items, manifest=one.manifest) for one in found]

    @router.post("/recalls/{number}/acknowledge")
    def acknowledge(number: Number, body: schemas.AcknowledgeIn, session: SessionDep, caller: Person) -> dict[str, str]:
        """Say, as the recipient, what was done."""
        notice = service.acknowledge(session, keys, caller, number, body.application, body.answer())
        return {"recall": number, "done": notice.done or ""}

    @router.post("/recalls/signed")
    def acknowledge_signed(body: schemas.SignedIn, session: SessionDep) -> dict[str, str]:
        """The same in a signed file of the recipient's system. No token is needed."""
        statement = identity.read_statement(session, settings, body.statement)
        said = _said(schemas.SignedRecallIn, statement)
        notice = service.acknowledge_signed(session, keys, statement, said.recall, said.application, said.answer(statement.digest))
        return {"recall": said.recall, "done": notice.done or "", "digest": statement.digest}

    @router.get("/patients/{patient}/recalls")
    def of_patient(patient: Annotated[str, Path(max_length=64)], session: SessionDep, caller: PatientReader) -> list[schemas.RecallOut]:
        """What became of a patient's data after a withdrawal or correction: for the patient, at the desk that looks after consents."""
        del caller
        patient_key = records.find_patient(session, keys, patient)
        if patient_key is None:
            raise UnknownPatient
        return [_recall(session, keys, *row) for row in service.of_patient(session, patient_key)]

    return router


def _said(kind: type[_Said], statement: identity.Statement) -> _Said:
    try:
        return kind.model_validate(statement.said)
    except ValidationError as error:
        places = sorted({"/".join(str(step) for step in one["loc"] if isinstance(step, int) or step in kind.model_fields) for one in error.errors()})
        raise Invalid(problems=tuple(Problem(f"/statement/{place}", "value", "It is not valid.") for place in places)) from None


def _shown(session: Session, keys: Keys, row: Obligation) -> schemas.ObligationOut:
    return schemas.ObligationOut(
        **{name: getattr(row, name) for name in schemas.ObligationOut.model_fields if name not in ("recipient", "overdue", "evidence")},
        recipient=row.recipient_id,
        overdue=row.status == State.OPEN.value and is_overdue(row.due_on, clock.today()),
        evidence=service.evidence_of(session, keys, row),
    )


def _recall(session: Session, keys: Keys, recall: Recall, notice: RecallNotice) -> schemas.RecallOut:
    return schemas.RecallOut(
        recall=recall.number,
        reason=recall.reason,
        application=notice.application,
        recipient=notice.recipient_id,
        releases=notice.releases,
        issued_at=recall.issued_at,
        due_on=recall.due_on,
        overdue=notice.done is None and is_overdue(recall.due_on, clock.today()),
        done=notice.done,
        method=notice.method,
        evidence=service.recall_evidence_of(session, keys, notice),
        evidence_digest=notice.evidence_digest,
        answered_at=notice.answered_at,
    )
