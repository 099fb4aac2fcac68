"""What the release path asks of a grant, as raw SQL for its asynchronous cursors: one read, one counting.

``GRANT_FACTS_SQL`` takes ``grant`` (uuid) and ``patients`` (array of blinded keys) and gives one row, or none for an unknown
grant; rows are dictionaries (``psycopg.rows.dict_row``) or tuples in the order of :data:`COLUMNS`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from broker import clock
from broker.applications import abroad
from broker.applications.errors import GrantDamaged
from broker.applications.lifecycle import GrantState, grant_state_at
from broker.applications.terms import Terms, content_hash
from broker.policy.facts import GrantFacts, RecipientFacts, RequesterFacts, RequestFacts, ResidencyFacts, WorkforceFacts
from broker.workforce import service as workforce

#: Columns of the one row, in order.
COLUMNS = (
    "id",
    "number",
    "status",
    "valid_from",
    "valid_until",
    "releases_used",
    "releases_limit",
    "approved_by",
    "terms",
    "patients_digest",
    "content_hash",
    "purpose",
    "recipient_id",
    "recipient_kind",
    "recipient_relationship",
    "recipient_active",
    "recipient_jurisdiction",
    "recipient_agreement_until",
    "recipient_keyed",
    "requester_id",
    "requester_active",
    "requester_roles",
    "members",
    "recipient_lineage",
    "held",
    "demanded",
    "routes",
)

#: A grant that is tied to a window (``windows``) is suspended until it is opened, and over with it.
#: An organisation is as suspended as any that it belongs to, as in ``identity.access.STANDING``.
GRANT_FACTS_SQL = f"""
WITH RECURSIVE above (id, parent_id, status) AS (
    SELECT o.id, o.parent_id, o.status FROM organization o JOIN sharing_grant g ON g.recipient_id = o.id WHERE g.id = %(grant)s
    UNION
    SELECT o.id, o.parent_id, o.status FROM organization o JOIN above ON o.id = above.parent_id
)
SELECT g.id, g.number,
       CASE WHEN g.status = 'active' AND w.grant_id IS NOT NULL AND (w.opened_at IS NULL OR w.closed_at IS NOT NULL) THEN 'suspended'
            ELSE g.status END AS status,
       GREATEST(g.valid_from, w.opens_at) AS valid_from, LEAST(g.valid_until, w.closes_at) AS valid_until,
       g.releases_used, g.releases_limit, g.approved_by,
       g.terms, g.patients_digest, g.content_hash, g.purpose,
       o.id AS recipient_id, o.kind AS recipient_kind, o.relationship AS recipient_relationship,
       NOT EXISTS (SELECT FROM above WHERE above.status <> 'active') AS recipient_active,
       o.jurisdiction AS recipient_jurisdiction, o.agreement_until AS recipient_agreement_until,
       EXISTS (SELECT FROM client c JOIN above ON c.organization_id = above.id WHERE c.status = 'active') AS recipient_keyed,
       p.id AS requester_id, p.status = 'active' AS requester_active,
       ARRAY(SELECT DISTINCT r.role FROM role_held r WHERE r.person_id = p.id ORDER BY r.role) AS requester_roles,
       ARRAY(SELECT m.patient_key FROM grant_patient m WHERE m.patient_key = ANY(%(patients)s) AND m.grant_id = g.id) AS members,
       ARRAY(SELECT id FROM above ORDER BY id) AS recipient_lineage,
       {workforce.HELD_SQL.format(person="p.natural_person", organizations="SELECT above.id FROM above")} AS held,
       {workforce.DEMANDED_SQL} AS demanded,
       CASE WHEN o.jurisdiction <> 'CN' THEN {
    abroad.routes_sql(organizations="SELECT above.id FROM above", until="g.approved_at", patients="ARRAY[]::uuid[]")
} END AS routes
FROM sharing_grant g
JOIN organization o ON o.id = g.recipient_id
JOIN person p ON p.id = g.requester_id
LEFT JOIN grant_window w ON w.grant_id = g.id
WHERE g.id = %(grant)s
"""

#: Spend one release, or none: no row comes back where the grant is no longer active, not yet or no longer valid, or used up, in all
#: or within the window of its frequency. The first release after a window's end begins the next window.
#: Parameters ``grant`` and ``at`` (an aware datetime). Many at once can't spend more than the limit, since each waits for the
#: row and looks again.
SPEND_SQL = """
UPDATE sharing_grant
SET releases_used = releases_used + 1, first_released_at = COALESCE(first_released_at, %(at)s),
    frequency_used = CASE
        WHEN frequency_limit IS NULL THEN 0
        WHEN frequency_since IS NULL OR frequency_since + make_interval(secs => frequency_seconds) <= %(at)s THEN 1
        ELSE frequency_used + 1 END,
    frequency_since = CASE
        WHEN frequency_limit IS NULL THEN NULL
        WHEN frequency_since IS NULL OR frequency_since + make_interval(secs => frequency_seconds) <= %(at)s THEN %(at)s
        ELSE frequency_since END
WHERE id = %(grant)s AND status = 'active' AND valid_from <= %(at)s AND valid_until > %(at)s
  AND (releases_limit IS NULL OR releases_used < releases_limit)
  AND NOT EXISTS (SELECT FROM grant_window w WHERE w.grant_id = sharing_grant.id
                  AND (w.opened_at IS NULL OR w.closed_at IS NOT NULL OR w.opens_at > %(at)s OR w.closes_at <= %(at)s))
  AND (frequency_limit IS NULL OR frequency_used < frequency_limit OR frequency_since IS NULL
       OR frequency_since + make_interval(secs => frequency_seconds) <= %(at)s)
RETURNING releases_used
"""


@dataclass(frozen=True)
class GrantRow:
    """A grant as the release path needs it: the facts for policy, and which of the asked patients are in it."""

    id: UUID
    application: str
    purpose: str
    content_hash: str
    request: RequestFacts
    grant: GrantFacts
    recipient: RecipientFacts
    requester: RequesterFacts
    workforce: WorkforceFacts
    residency: ResidencyFacts | None
    members: frozenset[UUID]
    recipient_lineage: frozenset[str]  #: the recipient and every organisation it is part of


def grant_from_row(row: Mapping[str, Any] | Sequence[Any], at: datetime | None = None) -> GrantRow:
    """The row of GRANT_FACTS_SQL as facts at a moment (now, if none is named): a grant past its end is ``expired``.

    Raises GrantDamaged when the stored terms are not the ones that were approved.
    """
    values = row if isinstance(row, Mapping) else dict(zip(COLUMNS, row, strict=True))
    if content_hash(values["terms"], values["patients_digest"]) != values["content_hash"]:
        raise GrantDamaged
    status = grant_state_at(GrantState(values["status"]), values["valid_until"], at or clock.now())
    agreement = values["recipient_agreement_until"]
    now = clock.epoch(at or clock.now())
    request = Terms.from_json(values["terms"]).request_facts()
    recipient = RecipientFacts(
        id=values["recipient_id"],
        kind=values["recipient_kind"],
        relationship=values["recipient_relationship"],
        status="active" if values["recipient_active"] else "suspended",
        jurisdiction=values["recipient_jurisdiction"],
        agreement_until=clock.epoch(agreement) if agreement else None,
        key_registered=values["recipient_keyed"],
    )
    return GrantRow(
        id=values["id"],
        application=values["number"],
        purpose=values["purpose"],
        content_hash=values["content_hash"],
        request=request,
        grant=GrantFacts(
            id=str(values["id"]),
            application=values["number"],
            # Policy knows one word for a grant that isn't alive yet or for now.
            status=GrantState.SUSPENDED.value if status is GrantState.AWAITING else status.value,
            valid_from=clock.epoch(values["valid_from"]),
            valid_until=clock.epoch(values["valid_until"]),
            releases_used=values["releases_used"],
            releases_limit=values["releases_limit"],
            approved_by=values["approved_by"],
        ),
        recipient=recipient,
        requester=RequesterFacts(
            id=str(values["requester_id"]),
            roles=tuple(values["requester_roles"]) if values["requester_active"] else (),
            active=values["requester_active"],
        ),
        workforce=workforce.facts_from(values["held"], values["demanded"], now),
        residency=abroad.residency_from(values["routes"], recipient, request, now),
        members=frozenset(values["members"]),
        recipient_lineage=frozenset(values["recipient_lineage"]),
    )
