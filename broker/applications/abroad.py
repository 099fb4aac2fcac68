"""What policy is told of a transfer abroad: the recipient's confirmed routes, with the people of whom data may leave by each (PIPL 38 to 41)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Session

from broker import clock
from broker.policy.facts import RecipientFacts, RequestFacts, ResidencyFacts
from broker.transfers import service as transfers

#: How many people's data may leave in a calendar year: people, not releases, over every recipient abroad whose grant lived in that year
#: (规定 2024, 7 and 8; by Chinese clocks). Those of exempt routes count with them, which is more than the law counts and never less.
YEAR_SQL = """(
    SELECT count(*) FROM (
        SELECT counted.patient_key FROM sharing_grant s JOIN grant_patient counted ON counted.grant_id = s.id
        JOIN organization abroad ON abroad.id = s.recipient_id
        WHERE abroad.jurisdiction <> 'CN' AND s.approved_at <= {until}
          AND s.valid_until >= date_trunc('year', {until} AT TIME ZONE 'Asia/Shanghai') AT TIME ZONE 'Asia/Shanghai'
        UNION SELECT unnest({patients})
    ) AS people
)"""

#: Within a query: ``{organizations}`` is the SQL of the recipient's lineage, ``{until}`` of the moment up to which approvals are counted,
#: so that what was approved first goes on where a later approval is one too many, ``{patients}`` of more patients, as an array of keys.
ROUTES_SQL = """(
    SELECT COALESCE(jsonb_agg(jsonb_build_object(
        'route', t.route, 'from', extract(epoch FROM t.valid_from)::bigint, 'until', extract(epoch FROM t.valid_until)::bigint,
        'purposes', t.purposes, 'classes', t.classes, 'assessed', t.impact_assessment <> '', 'foreign', t.foreign_authority,
        'approved', t.authority_approval IS NOT NULL, 'limit', t.persons_limit,
        'persons', CASE WHEN t.persons_limit IS NULL THEN 0 ELSE (
            WITH RECURSIVE below (id) AS (
                SELECT t.recipient_id UNION SELECT part.id FROM organization part JOIN below ON part.parent_id = below.id
            )
            SELECT count(*) FROM (
                SELECT counted.patient_key FROM sharing_grant s JOIN grant_patient counted ON counted.grant_id = s.id
                WHERE s.recipient_id IN (SELECT below.id FROM below) AND s.approved_at >= t.valid_from AND s.approved_at <= {until}
                UNION SELECT unnest({patients})
            ) AS people
        ) END,
        'year', {year}) ORDER BY t.confirmed_at, t.id), '[]'::jsonb)
    FROM transfer_route t WHERE t.state = 'confirmed' AND t.recipient_id IN ({organizations})
)"""


def routes_sql(*, organizations: str, until: str, patients: str) -> str:
    """ROUTES_SQL with these parts in it."""
    year = YEAR_SQL.format(until=until, patients=patients)
    return ROUTES_SQL.format(organizations=organizations, until=until, patients=patients, year=year)


def people_abroad(session: Session, at: datetime) -> int:
    """Of how many people data may leave the mainland in the year of a moment."""
    sql = YEAR_SQL.format(until="CAST(:at AS timestamptz)", patients="ARRAY[]::uuid[]")
    return int(session.execute(sa.text(f"SELECT {sql}"), {"at": at}).scalar_one())


def residency_from(rows: Sequence[Mapping[str, Any]] | None, recipient: RecipientFacts, request: RequestFacts, at: int) -> ResidencyFacts | None:
    """What policy is told, from the value of ROUTES_SQL; nothing of a recipient in the mainland."""
    if recipient.jurisdiction == "CN":
        return None
    classes = {entry["data_class"] for entry in request.data if "data_class" in entry}
    routes = [transfers.route_from(row) for row in rows or ()]
    return transfers.told(routes, request.purpose, classes, at, authority=recipient.kind == "authority")


def residency(
    session: Session, recipient: RecipientFacts, lineage: Collection[str], request: RequestFacts, patients: Collection[UUID], at: datetime
) -> ResidencyFacts | None:
    """The same for an application that is assessed, with its patients counted as if it were approved."""
    if recipient.jurisdiction == "CN":
        return None
    sql = routes_sql(
        organizations="SELECT unnest(CAST(:organizations AS text[]))", until="CAST(:at AS timestamptz)", patients="CAST(:patients AS uuid[])"
    )
    given = {"organizations": sorted(lineage), "at": at, "patients": list(patients)}
    return residency_from(session.execute(sa.text(f"SELECT {sql}"), given).scalar_one(), recipient, request, clock.epoch(at))
