"""The list of patients whose keys were destroyed, kept outside the database, so that a restored old backup destroys them again.

One line for each: blinded key, order, time, and a MAC under the key-encryption key, so that nobody can have a patient destroyed by
writing a line. It is only ever added to; several machines may keep one each, since the database is asked for what a file lacks.
"""

from __future__ import annotations

import hmac
import json
import os
from pathlib import Path
from uuid import UUID

from sqlmodel import Session, col, select

from broker.crypto import Keys
from broker.retention.models import DestructionItem, DestructionOrder


class ShredListUnusable(RuntimeError):
    """The list holds a line that is not ours. Nothing is served before somebody has looked: see docs/operations.md."""


def _mac(keys: Keys, patient_key: str, order: str, at: str) -> str:
    return keys.blind("shred-list", patient_key, order, at).hex()


def publish(session: Session, keys: Keys, path: Path) -> int:
    """Add to the file whoever was destroyed and is not in it; how many. The lines are on disk when this returns."""
    known = {patient for patient, _ in read(keys, path)}
    rows = session.execute(
        select(DestructionItem.patient_key, DestructionOrder.number, DestructionItem.done_at)
        .join(DestructionOrder, col(DestructionOrder.id) == col(DestructionItem.order_id))
        .where(col(DestructionItem.done_at).is_not(None))
        .order_by(col(DestructionItem.done_at), col(DestructionItem.patient_key))
    ).all()
    new = [(patient_key.hex, number, at.isoformat()) for patient_key, number, at in rows if at is not None and patient_key not in known]
    if new:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "a", encoding="ascii") as file:
            for patient_key, order, at in new:
                line = {"patient": patient_key, "order": order, "at": at, "mac": _mac(keys, patient_key, order, at)}
                file.write(json.dumps(line, separators=(",", ":")) + "\n")
            file.flush()
            os.fsync(file.fileno())
    return len(new)


def read(keys: Keys, path: Path) -> list[tuple[UUID, str]]:
    """Patients and orders of the file; none where there is no file. Raises ShredListUnusable for any other line but an unfinished last one."""
    if not path.exists():
        return []
    text = path.read_text(encoding="ascii", errors="replace")
    lines = text.splitlines()
    whole = lines if text.endswith("\n") else lines[:-1]  # A crash may have cut the last one; the database still has it.
    found = []
    for number, line in enumerate(whole, 1):
        try:
            said = json.loads(line)
            good = hmac.compare_digest(said["mac"], _mac(keys, said["patient"], said["order"], said["at"]))
            patient = UUID(said["patient"])
        except (ValueError, KeyError, TypeError) as error:
            raise ShredListUnusable(f"{path}: line {number} can't be read") from error
        if not good:
            raise ShredListUnusable(f"{path}: line {number} was not written with this installation's key")
        found.append((patient, said["order"]))
    return found
