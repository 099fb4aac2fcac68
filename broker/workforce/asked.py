"""What policy is told of the registers: within the release's own query, and on its own where an application is assessed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Session

from broker import clock
from broker.policy.facts import WorkforceFacts
from broker.workforce.rules import Entry, demanded, standing

#: Whoever asks for a person and an institution within a query of their own puts this where an array is wanted: ``{person}`` is the SQL
#: of a natural person's name, ``{organizations}`` of a set of organisation ids. One string for each certificate (``rules.Entry.parse``).
HELD_SQL = """ARRAY(
    SELECT c.code || '|' || c.status || '|' || COALESCE(extract(epoch FROM c.valid_until)::bigint::text, '') || '|'
        || (c.scope <> '[]')::text::char(1)
    FROM credential c
    WHERE c.person_id IN (SELECT holder.id FROM person holder WHERE holder.natural_person = {person}) OR c.organization_id IN ({organizations})
)"""

#: And this for what the registers demand at releases.
DEMANDED_SQL = "ARRAY(SELECT DISTINCT d.code FROM credential_demand d WHERE d.step IN ('apply', 'receive'))"


def facts_from(held: Sequence[str], demands: Collection[str], at: int) -> WorkforceFacts:
    """What policy is told, from the two arrays of HELD_SQL and DEMANDED_SQL, at a moment."""
    entries = [Entry.parse(text) for text in held]
    found = standing(entries, at)
    return WorkforceFacts(required=demanded(entries, demands), held=found.held, expired=found.expired, valid_until=found.valid_until)


def facts(session: Session, person: UUID, organizations: Collection[str], at: datetime) -> WorkforceFacts:
    """What policy is told of the person who applies and the institution that would receive (itself and what it belongs to)."""
    row = session.execute(
        sa.text(
            "SELECT " + HELD_SQL.format(person="p.natural_person", organizations="SELECT unnest(CAST(:organizations AS text[]))")
            + f", {DEMANDED_SQL} FROM person p WHERE p.id = :person"
        ),
        {"person": person, "organizations": sorted(organizations)},
    ).one()  # fmt: skip
    return facts_from(row[0], row[1], clock.epoch(at))
