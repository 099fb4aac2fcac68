"""Changing policy over HTTP, under ``/api/v1/policies``: each route names its verb and decides nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Path
from sqlmodel import Session

from broker import clock
from broker.crypto import Keys
from broker.database import SessionDep
from broker.edge import STRICT, Moment
from broker.governance import proposals, schemas, service
from broker.governance.lifecycle import State, possible
from broker.identity.access import Action, PersonCaller, require
from broker.policy.models import PolicyActivation, PolicyRevision
from broker.policy.service import PolicySet, compared

Reader = Annotated[PersonCaller, Depends(require(Action.POLICY_READ))]
Writer = Annotated[PersonCaller, Depends(require(Action.POLICY_WRITE))]
Revision = Annotated[str, Path(pattern="^[0-9a-f]{64}$", description="SHA-256 of the policies.")]


def build_router(*, keys: Keys, active: Callable[[], PolicySet]) -> APIRouter:
    """The routes. ``active``: the policies that decide now."""
    router = APIRouter(prefix="/api/v1/policies", tags=["policy"], dependencies=[STRICT])

    @router.get("", response_model=schemas.PoliciesOut)
    def many(session: SessionDep, _caller: Reader) -> schemas.PoliciesOut:
        """Which policies decide, when which came into force, and every revision, the newest first."""
        return schemas.PoliciesOut(
            active=active().revision,
            schedule=[_activation(each) for each in service.activations(session)],
            revisions=[schemas.RevisionOut(**_listed(row)) for row in service.many(session)],
        )

    @router.post("", status_code=201, response_model=schemas.RevisionWhole)
    def draft(body: schemas.DraftIn, session: SessionDep, caller: Writer) -> schemas.RevisionWhole:
        """Draft new policies: the active ones with some files changed. The static checks must find nothing."""
        return _whole(session, service.draft(session, caller, active(), dict(body.changes), note=body.note))

    @router.get("/files", response_model=list[schemas.FileOut])
    def files(session: SessionDep, _caller: Reader) -> list[schemas.FileOut]:
        """The files of the active policies, to begin a draft with."""
        return [schemas.FileOut(path=path, content=content) for path, content in service.files(session, active()).items()]

    @router.get("/opa", response_model=schemas.OpaOut)
    def opa(session: SessionDep, _caller: Reader, since: Moment | None = None) -> schemas.OpaOut:
        """OPA's own decision log beside the broker's record, for a day by default, and each OPA's status."""
        begin = since or clock.now() - timedelta(days=1)
        found = compared(session, begin)
        return schemas.OpaOut(
            since=begin.isoformat(), matched=found.matched, contradicted=found.contradicted, unrecorded=found.unrecorded,
            instances=[dict(each) for each in found.instances],
        )  # fmt: skip

    @router.get("/proposals", response_model=list[schemas.ProposalOut])
    def proposed(session: SessionDep, _caller: Reader, since: Moment | None = None) -> list[schemas.ProposalOut]:
        """For each profile what left and nobody says was used, what is asked for and always cut, and a narrower file to draft."""
        return [schemas.ProposalOut(**vars(each)) for each in proposals.proposals(session, keys, active(), since=since)]

    @router.get("/{revision}", response_model=schemas.RevisionWhole)
    def one(revision: Revision, session: SessionDep, _caller: Reader) -> schemas.RevisionWhole:
        """One revision: what it changes, its tests, its replay."""
        return _whole(session, service.one(session, revision))

    @router.post("/{revision}/test", response_model=schemas.RevisionWhole)
    def run_tests(revision: Revision, session: SessionDep, caller: Writer) -> schemas.RevisionWhole:
        """Ask the draft what every set of policies must refuse."""
        return _whole(session, service.run_tests(session, caller, revision))

    @router.post("/{revision}/replay", response_model=schemas.RevisionWhole)
    def replay(revision: Revision, body: schemas.ReplayIn, session: SessionDep, caller: Writer) -> schemas.RevisionWhole:
        """Ask the draft the questions of the past: what would have been allowed, refused, narrowed, by recipient and purpose."""
        return _whole(session, service.replay(session, keys, caller, revision, since=body.since, limit=body.limit))

    @router.post("/{revision}/approve", response_model=schemas.ActivationOut)
    def approve(revision: Revision, body: schemas.ApproveIn, session: SessionDep, caller: Writer) -> schemas.ActivationOut:
        """Approve a colleague's draft, tested and replayed; it decides from the named moment on."""
        return _activation(service.approve(session, caller, revision, effective_at=body.effective_at))

    @router.post("/{revision}/bring-back", response_model=schemas.ActivationOut)
    def bring_back(revision: Revision, session: SessionDep, caller: Writer) -> schemas.ActivationOut:
        """Let a revision that was approved before decide again."""
        return _activation(service.bring_back(session, caller, revision))

    @router.post("/{revision}/withdraw", response_model=schemas.RevisionWhole)
    def withdraw(revision: Revision, session: SessionDep, caller: Writer) -> schemas.RevisionWhole:
        """Give a draft up."""
        return _whole(session, service.withdraw(session, caller, revision))

    return router


def _listed(row: PolicyRevision) -> dict[str, object]:
    return {
        "revision": row.revision, "state": row.state, "author": str(row.author), "note": row.note, "based_on": row.based_on,
        "changed": row.changed, "created_at": row.created_at.isoformat(), "possible": [each.value for each in possible(State(row.state))],
    }  # fmt: skip


def _whole(session: Session, row: PolicyRevision) -> schemas.RevisionWhole:
    changes = service.differing(session, row)
    return schemas.RevisionWhole.model_validate({**_listed(row), "differences": changes, "tests": row.tests, "replay": row.replay})


def _activation(row: PolicyActivation) -> schemas.ActivationOut:
    return schemas.ActivationOut(
        revision=row.revision, effective_at=row.effective_at.isoformat(), decided_by=str(row.decided_by), way_back=row.way_back
    )  # fmt: skip
