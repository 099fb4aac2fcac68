"""Reconciling our transmission log with a recipient's own import log (RS-6.2.3): the one check that no sender can pass by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from sqlmodel import Session, col, select

from broker.audit import service as audit
from broker.audit.events import Event
from broker.database import SessionDep
from broker.edge import STRICT
from broker.errors import Invalid, Problem
from broker.identity import service as identity
from broker.identity.access import Action, PersonCaller, require
from broker.release.models import Release
from broker.release.reconciling import MOST, Imported, LogUnreadable, Reconciled, Sent, compare, flattened, imported, objects

#: A recipient's clock, and a release that lasts over midnight: so far around the period is matched, and not missed.
AROUND = timedelta(days=2)
#: Releases to one recipient that one reconciliation takes in.
MOST_SENT = 20_000


@dataclass(frozen=True)
class Asked:
    """Which recipient with its departments, and which time: ``since`` is included, ``until`` is not."""

    recipient: str
    since: datetime
    until: datetime


def reconcile(session: Session, actor: str, asked: Asked, entries: Sequence[Any]) -> Reconciled:
    """Hold the entries of a recipient's import log against what was sent to it, and put on record that this was done, with its counts.

    Raises Invalid for an unknown recipient, a period that ends before it begins, or more than one reconciliation takes in.
    """
    if asked.recipient not in {row.id for row in identity.organizations(session)}:
        raise Invalid(problems=(Problem("/recipient", "unknown", "There is no such organisation."),))
    if asked.since >= asked.until:
        raise Invalid(problems=(Problem("/until", "order", "The period ends before it begins."),))
    try:
        read, unreadable = imported(flattened(entries))
    except LogUnreadable as error:
        raise Invalid(problems=(Problem("/imports", "unreadable", str(error).capitalize() + "."),)) from error
    done = compare(_sent(session, asked), read, unreadable)
    facts: dict[str, str | int | bool | list[str]] = {**done.counts, "imports": sha256(orjson.dumps([repr(one) for one in read])).hexdigest()}
    audit.record(session, Event("transmissions.reconciled", actor, recipient=asked.recipient, facts=facts))
    return done


def _sent(session: Session, asked: Asked) -> list[Sent]:
    since, until = asked.since - AROUND, asked.until + AROUND
    found = [
        one
        for each in _with_departments(session, asked.recipient)
        for one in audit.transmissions(session, recipient=each, since=since, until=until, limit=MOST_SENT + 1)
    ]
    if len(found) > MOST_SENT:
        raise Invalid(problems=(Problem("/until", "too-many", f"More than {MOST_SENT} releases; divide the period."),))
    left = [one for one in found if one.disclosed]
    rows = session.exec(select(Release.id, Release.digest).where(col(Release.id).in_([one.release for one in left]))).all()
    digests = dict(rows)
    return [Sent(one.release, one.at, one.application, one.outcome, digests.get(one.release), asked.since <= one.at < asked.until) for one in left]


def read_file(data: bytes) -> list[Any]:
    """The entries of an uploaded import log. Raises Invalid."""
    try:
        return objects(data)
    except LogUnreadable as error:
        raise Invalid(problems=(Problem("/file", "unreadable", str(error).capitalize() + "."),)) from error


def _with_departments(session: Session, organization: str) -> list[str]:
    """An organisation and all below it: a hospital's log holds what its departments received."""
    rows, found = identity.organizations(session), [organization]
    for one in found:  # It grows while it is read.
        found += [row.id for row in rows if row.parent_id == one and row.id not in found]
    return found


class ReconciliationIn(BaseModel):
    """What is asked: the recipient, the period, and its import log as receipts or AuditEvents."""

    model_config = ConfigDict(extra="forbid")

    recipient: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    since: AwareDatetime
    until: AwareDatetime
    imports: Annotated[list[dict[str, Any]], Field(max_length=MOST)]


def told(done: Reconciled) -> dict[str, Any]:
    """The answer: counts, and each release or line that is not simply matched."""
    return {
        "agrees": done.agrees,
        "counts": done.counts,
        "changed": [{**_ours(ours), "line": line.number} for ours, line in done.changed],
        "missing_there": [_ours(one) for one in done.missing_there],
        "missing_here": [_theirs(one) for one in done.missing_here],
        "repeated": [_theirs(one) for one in done.repeated],
        "unreadable": list(done.unreadable),
    }


def _ours(one: Sent) -> dict[str, Any]:
    return {"release": one.release, "at": one.at, "application": one.application, "outcome": one.outcome}


def _theirs(one: Imported) -> dict[str, Any]:
    return {"line": one.number, "release": one.release, "received_at": one.at}


def build_router() -> APIRouter:
    """``POST /api/v1/reconciliations``."""
    router = APIRouter(prefix="/api/v1", tags=["log"], dependencies=[STRICT])

    @router.post("/reconciliations")
    def reconciliations(
        given: ReconciliationIn, caller: Annotated[PersonCaller, Depends(require(Action.TRANSMISSION_READ))], session: SessionDep
    ) -> dict[str, Any]:
        """Hold a recipient's import log against ours: matched, changed on the way, missing here, missing there."""
        return told(reconcile(session, caller.actor, Asked(given.recipient, given.since, given.until), given.imports))

    return router
