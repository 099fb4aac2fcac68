"""Whom an incident concerns, computed from the log: the releases that the clients, organisations and grants in question got."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from sqlmodel import Session

from broker.identity import service as identity
from broker.incidents.models import Containment


@dataclass(frozen=True)
class Scope:
    """What an incident is about. Nothing named: nobody is found. A release counts if it fits one of the named and the span of time."""

    clients: tuple[str, ...] = ()
    organizations: tuple[str, ...] = ()
    applications: tuple[str, ...] = ()
    patients: tuple[UUID, ...] = ()
    releases: tuple[UUID, ...] = ()
    since: datetime | None = None
    until: datetime | None = None

    def with_targets(self, contained: Iterable[Containment]) -> Scope:
        """The scope and what was contained."""
        found = [(one.kind, one.target) for one in contained]

        def of(kind: str) -> tuple[str, ...]:
            return tuple(target for this, target in found if this == kind)

        return replace(
            self,
            clients=(*self.clients, *of("client")),
            organizations=(*self.organizations, *of("organization")),
            applications=(*self.applications, *of("grant")),
            patients=(*self.patients, *(UUID(target) for target in of("patient"))),
        )


@dataclass(frozen=True)
class Affected:
    """Whose data went out, of which types, in how many releases, to which organisations. What may have gone out counts."""

    patients: tuple[UUID, ...]
    types: tuple[str, ...]
    releases: int
    organizations: tuple[str, ...]


_DISCLOSED = """
SELECT i.patient_key, i.recipient, i.leaf::jsonb -> 'facts' -> 'types'
FROM audit_event i
WHERE i.type = 'release.permitted'
  AND (i.actor = ANY(%(actors)s) OR i.recipient = ANY(%(organizations)s) OR i.application = ANY(%(applications)s)
       OR i.patient_key = ANY(%(patients)s) OR i.release_id = ANY(%(releases)s))
  AND (%(since)s::timestamptz IS NULL OR i.at >= %(since)s) AND (%(until)s::timestamptz IS NULL OR i.at < %(until)s)
  AND NOT EXISTS (SELECT FROM audit_event o WHERE o.release_id = i.release_id AND o.type = 'release.failed')
"""


def affected(session: Session, scope: Scope) -> Affected:
    """Everybody whose data left in the scope, organisations with all that belong to them."""
    below = {one for name in scope.organizations for one in identity.below(session, name)}
    rows = session.connection().exec_driver_sql(
        _DISCLOSED,
        {
            "actors": [f"client:{name}" for name in scope.clients],
            "organizations": sorted(below),
            "applications": list(scope.applications),
            "patients": list(scope.patients),
            "releases": list(scope.releases),
            "since": scope.since,
            "until": scope.until,
        },
    ).all()  # fmt: skip
    return Affected(
        patients=tuple(sorted({row[0] for row in rows if row[0] is not None})),
        types=tuple(sorted({name for row in rows for name in row[2] or ()})),
        releases=len(rows),
        organizations=tuple(sorted({row[1] for row in rows if row[1] is not None})),
    )
