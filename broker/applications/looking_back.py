"""Applications of a span of time with their steps, in one pass of the database: what looks back over a quarter (RS-7.1).

One statement and no rows of the ORM: a quarter of a large hospital has tens of thousands of applications, each with several steps.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlmodel import Session

#: Parameters ``since``, ``until`` (not included) and ``numbers`` (array of text): applications with a step in the span, or of these numbers.
_THREADS = sa.text("""
WITH touched AS (
    SELECT application_id AS id FROM application_decision WHERE at >= :since AND at < :until
    UNION SELECT id FROM application WHERE number = ANY(:numbers)
), steps AS (
    SELECT d.application_id AS id, array_agg(d.action ORDER BY d.version) AS actions, array_agg(d.at ORDER BY d.version) AS moments,
           array_agg(d.assessed ORDER BY d.version) AS assessed, array_agg(d.reason_code ORDER BY d.version) AS codes
    FROM application_decision d JOIN touched ON touched.id = d.application_id WHERE d.at < :until GROUP BY d.application_id
)
SELECT a.number, a.organization_id, a.recipient_id, a.purpose, a.form ->> 'urgency',
       ARRAY(SELECT DISTINCT coalesce(nullif(one ->> 'data_class', ''), 'type:' || coalesce(one ->> 'resource_type', 'None'))
             FROM jsonb_array_elements(CASE jsonb_typeof(a.form -> 'data') WHEN 'array' THEN a.form -> 'data' ELSE '[]' END) one),
       s.actions, s.moments, s.assessed, s.codes
FROM steps s JOIN application a ON a.id = s.id ORDER BY a.number
""")


@dataclass(frozen=True)
class Thread:
    """An application with its steps up to the end of the span, in their order: action, moment, the machine's opinion, the reason's code."""

    number: str
    department: str
    recipient: str
    purpose: str
    urgency: str
    data: tuple[str, ...]  #: data classes, and resource types as ``type:Observation``
    steps: tuple[tuple[str, datetime, str | None, str | None], ...]


def threads_between(session: Session, since: datetime, until: datetime, numbers: Collection[str] = ()) -> list[Thread]:
    """Applications with a step from ``since`` on and before ``until``, and those of these numbers, by number; what came later is left out."""
    rows = session.execute(_THREADS, {"since": since, "until": until, "numbers": list(numbers)}).all()
    return [
        Thread(number or "", department, recipient or "", purpose or "", urgency or "routine", tuple(sorted(data)),
               tuple(zip(actions, moments, assessed, codes, strict=True)))
        for number, department, recipient, purpose, urgency, data, actions, moments, assessed, codes in rows
    ]  # fmt: skip
