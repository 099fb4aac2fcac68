"""When each access right was last used, from what is on record: what its holder did, a system's tokens, a grant's releases."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta

from sqlmodel import Session

from broker import clock

#: Further back nobody looks: a right that was not used for so long was not used.
_FAR = timedelta(days=400)

#: The table is in the order of its ids, which begin with the time: this reads the span and nothing older. Once a quarter.
_PEOPLE = "SELECT actor, max(at) FROM audit_event WHERE at >= %(since)s AND actor LIKE 'person:%%' GROUP BY actor"
_CLIENTS = "SELECT client_id, max(issued_at) FROM token WHERE client_id = ANY(%(names)s) AND issued_at >= %(since)s GROUP BY client_id"
_GRANTS = """
SELECT application, max(at) FROM audit_event
WHERE application = ANY(%(names)s) AND type = 'release.permitted' AND at >= %(since)s GROUP BY application
"""


def last_uses(session: Session, kind: str, names: Collection[str]) -> dict[str, datetime]:
    """Last use by name: of accounts (``person:<id>``), clients (id) or grants (number); absent: none within 400 days."""
    query = {"role": _PEOPLE, "client": _CLIENTS, "grant": _GRANTS}[kind]
    rows = session.connection().exec_driver_sql(query, {"names": sorted(names), "since": clock.now() - _FAR}).all()
    return {name: at for name, at in rows if name in set(names)}


def is_unused(last: datetime | None, days: int) -> bool:
    """Whether a right was not used for so many days, and is therefore proposed to be taken away."""
    return last is None or last < clock.now() - timedelta(days=days)
