"""Where people with an account stand at this moment, for whoever must know what a person who is named means: one query each.

The statements are raw, so that a release can ask them on its own connection.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlmodel import Session

#: Accounts by id or by the name of their natural person, each with every organisation in which that person works or holds an office.
#: Parameters ``ids`` (array of uuid) and ``names`` (array of text); whether an account is suspended is not asked.
STANDING_SQL = """
SELECT p.id, p.natural_person, ARRAY(
    SELECT q.organization_id FROM person q WHERE q.natural_person = p.natural_person
    UNION SELECT r.organization_id FROM role_held r JOIN person q ON q.id = r.person_id WHERE q.natural_person = p.natural_person
)
FROM person p WHERE p.id = ANY(%(ids)s) OR p.natural_person = ANY(%(names)s)
"""

#: An organisation and every one below it; parameter ``recipient``.
WITHIN_SQL = """
WITH RECURSIVE below (id) AS (
    SELECT o.id FROM organization o WHERE o.id = %(recipient)s
    UNION SELECT o.id FROM organization o JOIN below ON o.parent_id = below.id
)
SELECT id FROM below
"""


@dataclass(frozen=True)
class Standing:
    """A natural person, and where they work or hold an office."""

    natural_person: str
    organizations: frozenset[str]


@dataclass(frozen=True)
class People:
    """Those who were found, by account and by name."""

    by_account: dict[str, Standing]
    by_name: dict[str, Standing]


def people_from_rows(rows: Iterable[Sequence[Any]]) -> People:
    """The rows of :data:`STANDING_SQL`."""
    found = [(str(account), Standing(name, frozenset(places))) for account, name, places in rows]
    return People(dict(found), {one.natural_person: one for _, one in found})


def known_people(session: Session, ids: Iterable[UUID], names: Iterable[str]) -> People:
    """People by account or by the name of their natural person, for a session."""
    return people_from_rows(session.connection().exec_driver_sql(STANDING_SQL, {"ids": list(ids), "names": list(names)}).all())
