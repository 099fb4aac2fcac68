"""What was changed between one submission and the next, field by field, so that nobody has to read a returned application anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlmodel import Session, col, select

from broker import clock
from broker.applications import sealing
from broker.applications.models import Application, Attachment, Submission
from broker.crypto import Keys


@dataclass(frozen=True)
class Difference:
    """One field that is not what it was: ``path`` as a JSON pointer, None where it wasn't there. Of patients only how many came and went."""

    path: str
    before: Any
    after: Any


def keep(session: Session, application: Application, patients: Sequence[UUID]) -> None:
    """Keep what is handed in now, as the submission of this round."""
    attached = session.exec(select(Attachment.digest).where(Attachment.application_id == application.id)).all()
    session.add(
        Submission(
            application_id=application.id,
            round=application.round,
            at=clock.now(),
            form=application.form,
            patients=[patient.hex for patient in patients],
            attachments=sorted(attached),
            justification_sealed=application.justification_sealed,  # Copied as it is: its key and its place are the application's.
        )
    )
    session.flush()


def between(session: Session, keys: Keys, application: Application) -> list[Difference]:
    """What the newest submission changed of the one before, in the form's order; empty before the second."""
    rows = session.exec(
        select(Submission).where(Submission.application_id == application.id).order_by(col(Submission.round).desc()).limit(2)
    ).all()  # fmt: skip
    if len(rows) < 2:
        return []
    after, before = rows
    found = list(_changed("", before.form, after.form))
    gone, came = set(before.patients) - set(after.patients), set(after.patients) - set(before.patients)
    if gone or came:
        found.append(Difference("/patients", {"removed": len(gone)}, {"added": len(came)}))
    texts = [sealing.unseal_text(keys, application.id, "justification", row.justification_sealed) for row in (before, after)]
    if texts[0] != texts[1]:
        found.append(Difference("/justification", texts[0], texts[1]))
    removed, added = set(before.attachments) - set(after.attachments), set(after.attachments) - set(before.attachments)
    if removed or added:
        found.append(Difference("/attachments", {"removed": len(removed)}, {"added": len(added)}))
    return found


def _changed(path: str, before: Any, after: Any) -> list[Difference]:
    if before == after:
        return []
    if isinstance(before, dict) and isinstance(after, dict):
        names = [*before, *(name for name in after if name not in before)]
        return [one for name in names for one in _changed(f"{path}/{name}", before.get(name), after.get(name))]
    if isinstance(before, list) and isinstance(after, list):
        gone = [one for one in before if one not in after]
        came = [one for one in after if one not in before]
        return [Difference(path, gone or None, came or None)] if gone or came else [Difference(path, before, after)]
    return [Difference(path, before, after)]
