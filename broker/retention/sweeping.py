"""The daily sweep: whose data have come to their end by the schedule is proposed for destruction; people decide."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlmodel import Session

from broker import clock
from broker.crypto import Keys
from broker.retention import orders, rules
from broker.retention.models import DestructionOrder

#: When each patient's data were last used, by lawful basis: received (``none``), and for each grant its last day. Nobody on whom a hold
#: stands, who is in an order already, or whose key is gone.
_LAST_USED = """
SELECT p.patient_key, 'none' AS basis, max(coalesce(r.last_updated, p.created_at)) AS at
FROM patient p LEFT JOIN resource r ON r.patient_key = p.patient_key
WHERE p.patient_key <> %(shared)s AND length(p.wrapped_key) > 0
  AND NOT EXISTS (SELECT FROM retention_hold h WHERE h.patient_key = p.patient_key AND h.released_at IS NULL)
  AND NOT EXISTS (SELECT FROM destruction_item i JOIN destruction_order o ON o.id = i.order_id
                  WHERE i.patient_key = p.patient_key AND o.status = 'proposed')
GROUP BY p.patient_key HAVING max(coalesce(r.last_updated, p.created_at)) < %(before)s
UNION ALL
SELECT m.patient_key, g.lawful_basis, max(greatest(g.valid_until, coalesce(g.first_released_at, g.valid_until)))
FROM grant_patient m JOIN sharing_grant g ON g.id = m.grant_id GROUP BY m.patient_key, g.lawful_basis
ORDER BY 1
"""

#: Patients of one proposed order, so that two people can look at it.
BATCH = 100


def sweep(session: Session, keys: Keys, schedule: tuple[rules.Line, ...]) -> list[DestructionOrder]:
    """Propose the destruction of what has come to its end; the orders, of at most BATCH patients each."""
    now = clock.now()
    rows = session.connection().exec_driver_sql(_LAST_USED, {"shared": UUID(int=0), "before": now}).all()
    used: dict[UUID, dict[str, datetime]] = {}
    for patient_key, basis, at in rows:
        used.setdefault(patient_key, {})[basis] = at
    due = []
    for patient_key, last in used.items():
        end = rules.ends(schedule, "records", last) if "none" in last else None
        if end is not None and end <= now:
            due.append(patient_key)
    return [
        orders.propose(
            session,
            keys,
            actor="system",
            natural_person=None,
            kind="shred",
            reason="retention",
            method="crypto-shredding",
            patients=due[first : first + BATCH],
        )
        for first in range(0, len(due), BATCH)
    ]
