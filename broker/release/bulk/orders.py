"""An export as its client sees it: taken on, told of, ended. Each verb asks again whether the token is good, and whose export it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlmodel import Session, col, select

from broker import clock, jobs
from broker.applications import service as applications
from broker.audit import service as audit
from broker.audit.events import Event
from broker.crypto import Keys
from broker.errors import BrokerError
from broker.identity import access
from broker.identity.access import NotAuthenticatedReason, ReleaseCaller
from broker.release import outcome
from broker.release.answers import Kind, Refusal
from broker.release.bulk.asked import Asked
from broker.release.bulk.writing import CLEAN, PLAN, WRITE
from broker.release.errors import TooManyExports
from broker.release.models import Export, ExportChunk, ExportFile, ExportPart
from broker.settings import Settings

#: Exports of one client under way at a time; each holds files that somebody has to pay for.
AT_ONCE = 5
#: What of a token's claims is kept: enough to ask for its bearer's standing, and no patient.
KEPT_CLAIMS = ("jti", "client_id", "grant", "application", "purpose", "scope", "exp")


@dataclass(frozen=True)
class Means:
    """What the verbs need of the process."""

    settings: Settings
    keys: Keys


@dataclass(frozen=True)
class Shown:
    """What a caller shows of itself: the Authorization header, and the thumbprint of the key that it proved to hold (DPoP)."""

    authorization: str | None
    proven: str | None = None


def bearer(means: Means, shown: Shown) -> Refusal | None:
    """Why a body isn't even read: nobody who shows a token of ours."""
    claims = access.claims_of(means.keys, means.settings, shown.authorization, shown.proven)
    return Refusal(Kind.UNAUTHENTICATED, (claims.code,)) if isinstance(claims, NotAuthenticatedReason) else None


def _caller(session: Session, means: Means, shown: Shown) -> tuple[dict[str, Any], ReleaseCaller] | Refusal:
    claims = access.claims_of(means.keys, means.settings, shown.authorization, shown.proven)
    if isinstance(claims, NotAuthenticatedReason):
        return Refusal(Kind.UNAUTHENTICATED, (claims.code,))
    query, parameters = access.standing_query(claims)
    row = session.connection().exec_driver_sql(query, parameters).one_or_none()
    caller = access.caller_from(None if row is None else tuple(row), claims, means.settings)
    return Refusal(Kind.UNAUTHENTICATED, (caller.code,)) if isinstance(caller, NotAuthenticatedReason) else (claims, caller)


def start(session: Session, means: Means, shown: Shown, asked: Asked | Refusal, *, group: str | None, request: str, form: str) -> UUID | Refusal:
    """Take on an export: who may have one at all is asked now, what of each patient may leave when it is prepared and when it is fetched.

    ``group``: id of the Group whose members are exported; an application is the one group there is. A refusal is recorded.
    """
    known = _caller(session, means, shown)
    if isinstance(known, Refusal):
        return known
    claims, caller = known
    answer = asked if isinstance(asked, Refusal) else _judged(session, means, caller, asked, group)
    common = outcome.about(caller, patient=None, subject=None, recipient=None)
    if answer is not None and isinstance(answer, Refusal):
        audit.record(session, outcome.refused(common, answer))
        return answer
    assert isinstance(asked, Asked)  # noqa: S101  (a refusal was returned)
    session.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtext(f"export/{caller.client_id}"))))
    under_way = session.execute(
        sa.select(sa.func.count()).where(col(Export.client_id) == caller.client_id, col(Export.status).in_(["accepted", "running"]))
    ).scalar_one()
    if under_way >= AT_ONCE:
        raise TooManyExports(headers={"Retry-After": "60"})
    now = clock.now()
    export = Export(
        id=uuid4(),
        grant_id=caller.grant_id,
        application=caller.application,
        client_id=caller.client_id,
        claims={name: claims[name] for name in KEPT_CLAIMS},
        asked=asked.to_json(),
        patients=None if asked.patients is None else [means.keys.patient_key(one) for one in asked.patients],
        request=request,
        form=form,
        status="accepted",
        created_at=now,
        transaction_time=now.replace(microsecond=now.microsecond // 1000 * 1000),
        expires_at=now + timedelta(hours=means.settings.export_hours),
    )
    session.add(export)
    jobs.defer(session, PLAN, {"export": str(export.id)})
    facts: dict[str, str | int | bool | list[str]] = {"export": str(export.id), "types": list(asked.types)[:50], "whole": asked.patients is None}
    audit.record(session, replace(common, type="export.requested", facts=facts))
    return export.id


def _judged(session: Session, means: Means, caller: ReleaseCaller, asked: Asked, group: str | None) -> Refusal | None:
    """Why nothing may be exported at all; None where something may. Unknown and somebody else's look the same."""
    if group is not None and group != caller.application:
        return Refusal(Kind.NOT_FOUND, ("group.unknown",))
    reach = caller.types("s") & caller.types("r")
    if not reach or ("*" not in reach and not reach.issuperset(asked.types)):
        return Refusal(Kind.REFUSED, ("caller.scope",))
    patients = [means.keys.patient_key(one) for one in asked.patients or ()]
    parameters = {"grant": caller.grant_id, "patients": patients}
    row = session.connection().exec_driver_sql(applications.GRANT_FACTS_SQL, parameters).one_or_none()
    try:
        grant = None if row is None else applications.grant_from_row(tuple(row))
    except BrokerError as error:
        return Refusal(Kind.UNAVAILABLE, (error.code,))
    if grant is None or grant.grant.status != "active":
        return Refusal(Kind.REFUSED, ("grant.not-active",))
    if len(grant.members) != len(set(patients)):
        return Refusal(Kind.REFUSED, ("patient.outside-grant",))
    return None


@dataclass(frozen=True)
class Progress:
    """How far an export is: patients settled of patients in all."""

    settled: int
    patients: int


@dataclass(frozen=True)
class Finished:
    """A finished export with its files. ``failed`` patients could not be prepared."""

    export: Export
    files: Sequence[ExportFile]
    failed: int


def find(session: Session, means: Means, shown: Shown, export_id: UUID | None) -> Export | Refusal:
    """The export, if it is this caller's under this very grant and still there; one answer for all others (attack C15)."""
    known = _caller(session, means, shown)
    if isinstance(known, Refusal):
        return known
    caller = known[1]
    export = None if export_id is None else session.exec(select(Export).where(Export.id == export_id)).one_or_none()
    mine = export is not None and (export.client_id, export.grant_id) == (caller.client_id, caller.grant_id)
    if export is None or not mine or export.status in ("cancelled", "expired") or export.expires_at <= clock.now():
        return Refusal(Kind.NOT_FOUND, ("export.unknown",))
    return export


def status(session: Session, means: Means, shown: Shown, export_id: UUID | None) -> Progress | Finished | Refusal:
    """How far it is. Files that hold somebody whose consents have changed since are made anew first."""
    export = find(session, means, shown, export_id)
    if isinstance(export, Refusal):
        return export
    if export.status == "done":
        recut(session, export.id)
    grouped = "SELECT status, count(*) FROM export_part WHERE export_id = :export GROUP BY status"
    counts: dict[str, int] = {row[0]: row[1] for row in session.execute(sa.text(grouped), {"export": export.id})}
    unfinished = session.execute(
        sa.select(sa.func.count()).where(col(ExportChunk.export_id) == export.id, col(ExportChunk.status) != "done")
    ).scalar_one()
    if export.status == "accepted" or unfinished:
        return Progress(sum(counts.values()) - counts.get("waiting", 0), sum(counts.values()))
    files = session.exec(
        select(ExportFile).where(ExportFile.export_id == export.id).order_by(col(ExportFile.kind), col(ExportFile.type), col(ExportFile.chunk))
    ).all()
    return Finished(export, files, counts.get("failed", 0))


_CHANGED = sa.text(
    """
    SELECT p.chunk, p.patient_key FROM export_part p JOIN patient o USING (patient_key)
    WHERE p.export_id = :export AND p.status = 'written' AND (p.epoch <> o.epoch OR p.patient_key = :patient)
    """
)


def recut(session: Session, export_id: UUID, patient_key: UUID | None = None) -> int:
    """Take back what was prepared of patients whose consents changed since, or of one who was refused, and prepare them anew; how many.

    The chunks' files go with their addresses: new ones are made without what may not leave any more.
    """
    changed = session.execute(_CHANGED, {"export": export_id, "patient": patient_key}).all()
    if not changed:
        return 0
    chunks = sorted({row.chunk for row in changed})
    # Each chunk is locked before anything of it goes, in order, so that two who find the same wait for each other.
    for chunk in chunks:
        where = (col(ExportChunk.export_id) == export_id, col(ExportChunk.number) == chunk)
        session.execute(sa.update(ExportChunk).where(*where).values(status="waiting", cut=ExportChunk.cut + 1))
        session.execute(sa.delete(ExportFile).where(col(ExportFile.export_id) == export_id, col(ExportFile.chunk) == chunk))
        jobs.defer(session, WRITE, {"export": str(export_id), "chunk": chunk}, queue="bulk", once=f"export/{export_id}/{chunk}")
    keys = [row.patient_key for row in changed]
    mine = (col(ExportPart.export_id) == export_id, col(ExportPart.patient_key).in_(keys))
    session.execute(sa.text("DELETE FROM export_segment WHERE export_id = :export AND patient_key = ANY(:keys)"), {"export": export_id, "keys": keys})
    session.execute(sa.update(ExportPart).where(*mine).values(status="waiting", attempts=0, epoch=None, basis=None, object=None))
    return len(changed)


def cancel(session: Session, means: Means, shown: Shown, export_id: UUID | None) -> Refusal | None:
    """End an export: nothing more is prepared or fetched from now on, and what there is will be deleted."""
    export = find(session, means, shown, export_id)
    if isinstance(export, Refusal):
        return export
    export.status = "cancelled"
    session.add(export)
    jobs.defer(session, CLEAN, {}, once=CLEAN)
    event = Event(
        type="export.cancelled", actor=f"client:{export.client_id}", application=export.application, grant=str(export.grant_id),
        facts={"export": str(export.id)},
    )  # fmt: skip
    audit.record(session, event)
    return None


def retry_after(export: Progress) -> int:
    """Seconds until it is worth asking again."""
    return 1 if export.patients - export.settled < 200 else 10
