"""The list of patients whose keys were destroyed, kept outside the database, so that a restored old backup destroys them again.

One line for each: blinded key, order, time, who approved, and a MAC under the key-encryption key, so that nobody can have a patient
destroyed by writing a line. It is only ever added to; several machines may keep one each, since the database is asked for what a file lacks.
"""

from __future__ import annotations

import hmac
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlmodel import Session, col, select

from broker.crypto import Keys
from broker.retention.models import DestructionItem, DestructionOrder


class ShredListUnusable(RuntimeError):
    """The list holds a line that is not ours. Nothing is served before somebody has looked: see docs/operations.md."""


@dataclass(frozen=True)
class Shredded:
    """A line: who was destroyed, by which order, when, and the approvals that the database asks for when it must be done again."""

    patient_key: UUID
    order: str
    at: str
    approvals: tuple[dict[str, str], ...] = ()


def _mac(keys: Keys, said: dict[str, Any]) -> str:
    # Lines of an earlier version name nobody who approved.
    approvals = (json.dumps(said["approvals"], sort_keys=True, separators=(",", ":")),) if "approvals" in said else ()
    return keys.blind("shred-list", said["patient"], said["order"], said["at"], *approvals).hex()


def publish(session: Session, keys: Keys, path: Path) -> int:
    """Add to the file whoever was destroyed and is not in it; how many. The lines are on disk when this returns."""
    known = {one.patient_key for one in read(keys, path)}
    rows = session.execute(
        select(DestructionItem.patient_key, DestructionOrder.number, DestructionItem.done_at, DestructionOrder.approvals)
        .join(DestructionOrder, col(DestructionOrder.id) == col(DestructionItem.order_id))
        .where(col(DestructionItem.done_at).is_not(None))
        .order_by(col(DestructionItem.done_at), col(DestructionItem.patient_key))
    ).all()
    new = [
        {"patient": patient_key.hex, "order": number, "at": at.isoformat(), "approvals": approvals}
        for patient_key, number, at, approvals in rows
        if at is not None and patient_key not in known
    ]
    if new:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "a", encoding="ascii") as file:
            for said in new:
                file.write(json.dumps({**said, "mac": _mac(keys, said)}, separators=(",", ":")) + "\n")
            file.flush()
            os.fsync(file.fileno())
    return len(new)


def read(keys: Keys, path: Path) -> list[Shredded]:
    """The lines of the file; none where there is no file. Raises ShredListUnusable for any other line but an unfinished last one."""
    if not path.exists():
        return []
    text = path.read_text(encoding="ascii", errors="replace")
    lines = text.splitlines()
    whole = lines if text.endswith("\n") else lines[:-1]  # A crash may have cut the last one; the database still has it.
    found = []
    for number, line in enumerate(whole, 1):
        try:
            said = json.loads(line)
            good = hmac.compare_digest(said["mac"], _mac(keys, said))
            one = Shredded(UUID(said["patient"]), said["order"], said["at"], tuple(said.get("approvals", ())))
        except (ValueError, KeyError, TypeError) as error:
            raise ShredListUnusable(f"{path}: line {number} can't be read") from error
        if not good:
            raise ShredListUnusable(f"{path}: line {number} was not written with this installation's key")
        found.append(one)
    return found
