"""Documents that belong to an application: an ethics approval, an agreement, a signed form. Sealed, of few types, of limited size."""

from __future__ import annotations

import hmac
from enum import StrEnum
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Session, col, select

from broker import clock, crypto
from broker.applications import people, steps
from broker.applications.errors import AttachmentRefused, MoveNotAllowed, NoSuchApplication, NoSuchAttachment, NotYourMove
from broker.applications.lifecycle import Part, State
from broker.applications.models import Application, Attachment
from broker.audit import service as audit
from broker.crypto import Keys
from broker.errors import Problem

#: So many to one application.
MOST = 10

#: The first bytes of each type that is accepted; a file that only says what it is isn't believed.
_BEGINS = {"application/pdf": b"%PDF-", "image/png": b"\x89PNG\r\n\x1a\n", "image/jpeg": b"\xff\xd8\xff"}
MEDIA_TYPES = tuple(_BEGINS)


class AttachmentKind(StrEnum):
    """What a document is."""

    ETHICS_APPROVAL = "ethics-approval"
    AGREEMENT = "agreement"
    IMPACT_ASSESSMENT = "impact-assessment"  #: PIPL 55-56
    CONSENT_FORM = "consent-form"
    REFERRAL = "referral"
    TRANSFER_ROUTE = "transfer-route"  #: PIPL 38: assessment, certification or standard contract
    OTHER = "other"


def attach(
    session: Session, keys: Keys, person: UUID, ref: str, *, kind: AttachmentKind, name: str, media_type: str, content: bytes, max_bytes: int
) -> Attachment:
    """Add a document to a draft or a returned application of one's own.

    Raises NoSuchApplication, NotYourMove, MoveNotAllowed, AttachmentRefused. ``name`` may say who the patient is and is sealed too.
    """
    application, who = _of_requester(session, person, ref)
    there = session.exec(select(sa.func.count()).select_from(Attachment).where(Attachment.application_id == application.id)).one()
    wrong = (
        "type" if media_type not in _BEGINS or not content.startswith(_BEGINS[media_type]) else
        "size" if not content or len(content) > max_bytes else
        "count" if there >= MOST else None
    )  # fmt: skip
    if wrong:
        raise AttachmentRefused(problems=(Problem("/content", wrong, "This document is not accepted."),))
    key = keys.blind("attachment", application.id.hex)
    row = Attachment(
        application_id=application.id, kind=kind.value, media_type=media_type, size=len(content), digest=hmac.digest(key, content, "sha256").hex(),
        added_by=who.id, added_at=clock.now(), name_sealed=b"", body_sealed=b"",
    )  # fmt: skip
    row.name_sealed = crypto.seal(key, name.encode(), f"{row.id}|name".encode())
    row.body_sealed = crypto.seal(key, content, f"{row.id}|body".encode())
    session.add(row)
    session.flush()
    audit.record(session, steps.event(application, who, "attached", attachment=str(row.id), kind=kind.value, size=row.size))
    return row


def detach(session: Session, person: UUID, ref: str, attachment: UUID) -> None:
    """Remove a document while the application may still be changed. Raises as :func:`attach`, and NoSuchAttachment."""
    application, who = _of_requester(session, person, ref)
    row = _found(session, application, attachment)
    session.delete(row)
    session.flush()
    audit.record(session, steps.event(application, who, "detached", attachment=str(attachment)))


def of_application(session: Session, application: Application) -> list[Attachment]:
    """The documents of an application, oldest first."""
    query = select(Attachment).where(Attachment.application_id == application.id)
    return list(session.exec(query.order_by(col(Attachment.added_at), col(Attachment.id))).all())


def name_of(keys: Keys, row: Attachment) -> str:
    """What the document is called, unsealed."""
    return crypto.unseal(keys.blind("attachment", row.application_id.hex), row.name_sealed, f"{row.id}|name".encode()).decode()


def opened(session: Session, keys: Keys, application: Application, attachment: UUID, actor: str) -> tuple[Attachment, bytes]:
    """A document with its content, on record, for somebody who may see the application. Raises NoSuchAttachment."""
    row = _found(session, application, attachment)
    body = crypto.unseal(keys.blind("attachment", application.id.hex), row.body_sealed, f"{row.id}|body".encode())
    if not hmac.compare_digest(hmac.digest(keys.blind("attachment", application.id.hex), body, "sha256").hex(), row.digest):
        raise NoSuchAttachment
    audit.record(session, steps.event_by(application, actor, "attachment-opened", attachment=str(row.id)))
    return row, body


def _found(session: Session, application: Application, attachment: UUID) -> Attachment:
    row = session.exec(select(Attachment).where(Attachment.id == attachment, Attachment.application_id == application.id)).one_or_none()
    if row is None:
        raise NoSuchAttachment
    return row


def _of_requester(session: Session, person: UUID, ref: str) -> tuple[Application, people.Actor]:
    application = steps.find(session, ref, lock=True)
    who = people.actor(session, person)
    parts = people.parts_of(session, who, application)
    if not steps.sees(who, parts, application):
        raise NoSuchApplication
    if Part.REQUESTER not in parts:
        raise NotYourMove("Documents are added by: requester.")
    if application.status not in (State.DRAFT, State.RETURNED):
        raise MoveNotAllowed("Documents are added to a draft or a returned application.")
    return application, who
