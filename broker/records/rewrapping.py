"""Wrapping every patient's data key with another key-encryption key, batch by batch, while releases go on.

Only the wrapping changes: data keys, records and blinded names stay, so that nothing is read or written but 69 bytes a patient. Each batch is a
transaction of its own, so that the work may be broken off anywhere and goes on where it stopped; a row that somebody changes meanwhile (an
epoch, a destruction) is waited for or met again. It takes the owner's login: the web process may empty a key, never exchange it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
from sqlmodel import Session

from broker.crypto import Keys, KeyUnusable, kek_id
from broker.records.vault import unwrapped, wrap, wrapped_by

#: Patients that one transaction wraps anew: tens of milliseconds in which their rows, and no others, are locked.
BATCH = 200
FIRST = UUID(int=0)

# Destroyed keys are empty and stay so. Not yet wrapped by the key: another beginning, or none.
_NEXT = """
SELECT patient_key, wrapped_key FROM patient
WHERE patient_key >= %s AND wrapped_key <> '' AND substring(wrapped_key FROM 1 FOR %s) <> %s
ORDER BY patient_key LIMIT %s FOR NO KEY UPDATE
"""

_COUNT = """
SELECT CASE WHEN length(wrapped_key) = 69 THEN encode(substring(wrapped_key FROM 2 FOR 8), 'hex')
            WHEN wrapped_key = '' THEN 'destroyed' ELSE 'bare' END, count(*)
FROM patient GROUP BY 1 ORDER BY 1
"""


@dataclass(frozen=True)
class Batch:
    """What one batch did: how many keys it wrapped anew, where the next one begins (None: it was the last), and which do not open."""

    wrapped: int
    onwards: UUID | None
    unreadable: tuple[UUID, ...] = ()


def rewrap(connection: psycopg.Connection[Any], keys: Keys, *, start: UUID = FIRST, limit: int = BATCH) -> Batch:
    """Wrap the next keys with ``keys.kek``, in the caller's transaction. One that opens with no key at hand is left as it is and named."""
    head = wrapped_by(kek_id(keys.kek))
    rows = connection.execute(_NEXT, (start, len(head), head, limit)).fetchall()
    unreadable = []
    for patient_key, stored in rows:
        try:
            data_key = unwrapped(keys, patient_key, stored)
        except KeyUnusable:
            unreadable.append(patient_key)
            continue
        connection.execute("UPDATE patient SET wrapped_key = %s WHERE patient_key = %s", (wrap(keys, patient_key, data_key), patient_key))
    onwards = UUID(int=rows[-1][0].int + 1) if len(rows) == limit else None
    return Batch(len(rows) - len(unreadable), onwards, tuple(unreadable))


def wrapped_with(connection: psycopg.Connection[Any]) -> dict[str, int]:
    """How many patients' keys are wrapped by which key-encryption key, by its id in hex; ``bare``: from before ids were written; ``destroyed``."""
    return dict(connection.execute(_COUNT).fetchall())


def wrapped_in(session: Session) -> dict[str, int]:
    """The same as :func:`wrapped_with`, for a session: it goes through every patient."""
    return {str(row[0]): int(row[1]) for row in session.connection().exec_driver_sql(_COUNT).all()}
