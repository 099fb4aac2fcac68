"""The reviewers' work: findings, laying the figures down, and two signatures on exactly what was laid down (RS-7.1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlmodel import Session, col, select

from broker import clock, crypto
from broker.audit import service as audit
from broker.audit.events import Event
from broker.crypto import Keys
from broker.errors import Forbidden
from broker.identity.access import Action, PersonCaller, Role
from broker.identity.models import Person
from broker.incidents.models import CorrectiveAction
from broker.review.errors import AnotherDocument, NotOver, SignedAlready
from broker.review.models import Recertification, ReviewDocument, ReviewFinding, ReviewSignature
from broker.review.report import digest
from broker.review.rules import Quarter

#: In which part somebody signs, the first of these that they hold.
SIGNING = (Role.AUDITOR, Role.INFORMATION_MANAGER)


def find(session: Session, keys: Keys, caller: PersonCaller, quarter: Quarter, *, severity: str, text: str, application: str | None) -> ReviewFinding:
    """Write a finding down. For auditors. Raises SignedAlready once the figures are laid down."""
    if not caller.may(Action.REVIEW_WRITE):
        raise Forbidden
    if session.get(ReviewDocument, str(quarter)) is not None:
        raise SignedAlready("The review has been laid down.")
    before = session.exec(select(sa.func.max(ReviewFinding.ordinal)).where(ReviewFinding.quarter == str(quarter))).one()
    row = ReviewFinding(
        quarter=str(quarter), ordinal=(before or 0) + 1, application=application, severity=severity, at=clock.now(), person_id=caller.person_id,
        text_sealed=b"",
    )  # fmt: skip
    row.text_sealed = crypto.seal(keys.blind("review-finding", row.id.hex), text.encode(), b"text")
    session.add(row)
    session.flush()
    audit.record(session, Event("review.finding", caller.actor, application=application, facts={"finding": number(row), "severity": severity}))
    return row


def number(row: ReviewFinding) -> str:
    """``2026Q4-01``: what corrective actions name as their source."""
    return f"{row.quarter}-{row.ordinal:02d}"


def findings(session: Session, keys: Keys, quarter: Quarter) -> list[dict[str, Any]]:
    """The findings of a quarter as the report lists them."""
    rows = session.exec(select(ReviewFinding).where(ReviewFinding.quarter == str(quarter)).order_by(col(ReviewFinding.ordinal))).all()
    return [
        {
            "number": number(row),
            "severity": row.severity,
            "application": row.application,
            "text": crypto.unseal(keys.blind("review-finding", row.id.hex), row.text_sealed, b"text").decode(),
        }
        for row in rows
    ]


def corrective(session: Session, quarter: Quarter) -> list[dict[str, Any]]:
    """The corrective actions that findings of this quarter led to (``POST /api/v1/corrective-actions`` opens them)."""
    query = select(CorrectiveAction, Person.name).join(Person, col(Person.id) == col(CorrectiveAction.owner_id))
    query = query.where(CorrectiveAction.source == "finding", col(CorrectiveAction.source_ref).startswith(f"{quarter}-"))
    rows = session.execute(query.order_by(col(CorrectiveAction.source_ref), col(CorrectiveAction.due_on), col(CorrectiveAction.title))).all()
    return [
        {"for": row.source_ref, "title": row.title, "owner": name, "due": row.due_on.isoformat(),
         "done": row.done_at.date().isoformat() if row.done_at else None}
        for row, name in rows
    ]  # fmt: skip


def access(session: Session, quarter: Quarter) -> list[dict[str, Any]]:
    """How the recertification of a quarter came out, by kind."""
    rows = session.exec(select(Recertification).where(Recertification.quarter == str(quarter))).all()
    return [
        {
            "kind": kind,
            "asked": sum(row.kind == kind for row in rows),
            "kept": sum(row.kind == kind and row.answer == "keep" for row in rows),
            "revoked": sum(row.kind == kind and row.outcome in ("revoked", "unanswered") for row in rows),
            "unanswered": sum(row.kind == kind and row.outcome in ("unanswered", "last") for row in rows),
        }
        for kind in ("role", "client", "grant")
        if any(row.kind == kind for row in rows)
    ]


def laid(session: Session, quarter: Quarter) -> dict[str, Any] | None:
    """The review of a quarter as it was laid down to be signed; None: it isn't yet."""
    found = session.get(ReviewDocument, str(quarter))
    return None if found is None else dict(found.document)


def whole(session: Session, keys: Keys, quarter: Quarter, figures: Mapping[str, Any]) -> dict[str, Any]:
    """The review to be read or printed: as it was laid down, or as it stands, with who signed."""
    kept = laid(session, quarter)
    if kept is not None:
        return kept
    return {**figures, "findings": findings(session, keys, quarter), "actions": corrective(session, quarter), "access": access(session, quarter)}


def signatures(session: Session, quarter: Quarter) -> dict[str, dict[str, str]]:
    """Who signed a quarter's review, by part."""
    query = select(ReviewSignature, Person.name).join(Person, col(Person.id) == col(ReviewSignature.person_id))
    rows = session.execute(query.where(ReviewSignature.quarter == str(quarter))).all()
    return {row.role: {"name": name, "date": row.at.date().isoformat()} for row, name in rows}


def sign(
    session: Session, keys: Keys, caller: PersonCaller, quarter: Quarter, figures: Mapping[str, Any], *, seen: str
) -> tuple[str, dict[str, dict[str, str]]]:
    """Sign a quarter's review, once as auditor and once as information manager, two people; the first signature lays the figures down.

    ``seen``: the digest of what was looked at. Returns the digest and the signatures. Raises Forbidden, NotOver, AnotherDocument,
    SignedAlready.
    """
    role = next((one for one in SIGNING if one in caller.roles), None)
    if role is None:
        raise Forbidden
    if clock.now() < quarter.until:
        raise NotOver
    session.execute(sa.text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"), {"name": f"review {quarter}"})
    document = whole(session, keys, quarter, figures)
    if digest(document) != seen:
        raise AnotherDocument
    signed = session.exec(select(ReviewSignature).where(ReviewSignature.quarter == str(quarter))).all()
    if any(row.role == role or row.natural_person == caller.natural_person for row in signed):
        raise SignedAlready
    now = clock.now()
    if session.get(ReviewDocument, str(quarter)) is None:
        session.add(ReviewDocument(quarter=str(quarter), document=document, digest=seen, at=now, person_id=caller.person_id))
        session.flush()
    session.add(
        ReviewSignature(quarter=str(quarter), role=role.value, person_id=caller.person_id, natural_person=caller.natural_person, digest=seen, at=now)
    )
    session.flush()
    audit.record(session, Event("review.signed", caller.actor, facts={"quarter": str(quarter), "role": role.value, "digest": seen}))
    return seen, signatures(session, quarter)
