"""Who and what is meant: names for identifiers that a page shows, and identifiers for names that somebody types.

Nothing here reads a whole register: a network has thousands of organisations, a hospital thousands of accounts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlmodel import Session, col, select

from broker.identity.models import Client, Organization, Person

#: Choices that a page lists whole. Where there are more, somebody types part of a name and chooses among what is found.
FEW = 40


@dataclass(frozen=True)
class Directory:
    """Organisations and names of accounts by id, each read when it is first asked for, and once in a session."""

    session: Session

    def get(self, organization_id: str | None) -> Organization | None:
        """The organisation of this id, or None."""
        known = organization_id and len(organization_id) <= 64 and "\x00" not in organization_id
        return self.session.get(Organization, organization_id) if known else None

    def person(self, person_id: UUID | str | None, otherwise: str = "–") -> str:
        """The name of an account, or ``otherwise`` where there is none of this id."""
        try:
            row = None if person_id is None else self.session.get(Person, UUID(str(person_id)))
        except ValueError:
            row = None
        return otherwise if row is None else row.name

    def __contains__(self, organization_id: object) -> bool:
        """Whether there is one of this id."""
        return isinstance(organization_id, str) and self.get(organization_id) is not None


@dataclass(frozen=True)
class Wanted:
    """Which may be chosen at all: those that aren't suspended unless ``suspended`` says so, inside the house alone where ``internal`` does."""

    internal: bool = False
    suspended: bool = False


ANY = Wanted(suspended=True)
USABLE = Wanted()
OWN = Wanted(internal=True)


def names_of(session: Session, ids: Iterable[UUID]) -> dict[UUID, str]:
    """The names of these accounts."""
    return {row[0]: row[1] for row in session.execute(sa.select(col(Person.id), col(Person.name)).where(col(Person.id).in_(set(ids)))).all()}


def active_in(session: Session, organizations: Collection[str]) -> list[Person]:
    """The accounts of these organisations that aren't suspended, by user name."""
    inside = select(Person).where(col(Person.organization_id).in_(organizations), Person.status == "active")
    return list(session.exec(inside.order_by(Person.username)).all())


def person_named(session: Session, username: str) -> Person | None:
    """The account of this user name."""
    return session.exec(select(Person).where(Person.username == username.strip().lower())).one_or_none() if "\x00" not in username else None


def organizations_like(
    session: Session, words: str, wanted: Wanted = USABLE, *, limit: int = FEW, within: Collection[str] | None = None
) -> list[Organization]:
    """Organisations of which this is part of a name or of the identifier; with "" all. Those of exactly this name or identifier come first.

    ``within``: only those of these identifiers.
    """
    id_, zh, en = col(Organization.id), col(Organization.name_zh), col(Organization.name_en)
    query = select(Organization).where(*([] if wanted.suspended else [col(Organization.status) == "active"]))
    if wanted.internal:
        query = query.where(Organization.relationship == "internal")
    if within is not None:
        query = query.where(id_ == sa.any_(sa.literal(list(within), ARRAY(sa.Text))))
    return list(session.exec(_like(query, words, (id_, zh, en), id_).limit(limit)).all())


def abroad(session: Session) -> list[Organization]:
    """Organisations under another jurisdiction than the mainland's, by identifier."""
    return list(session.exec(select(Organization).where(Organization.jurisdiction != "CN").order_by(Organization.id)).all())


def people_like(session: Session, words: str, wanted: Wanted = USABLE, *, limit: int = FEW) -> list[Person]:
    """Accounts of which this is part of the name or user name; with "" all. Those of exactly this name come first."""
    username, name = col(Person.username), col(Person.name)
    query = select(Person).where(*([] if wanted.suspended else [col(Person.status) == "active"]))
    if wanted.internal:
        query = query.where(col(Person.organization_id).in_(sa.select(col(Organization.id)).where(col(Organization.relationship) == "internal")))
    return list(session.exec(_like(query, words, (username, name), username).limit(limit)).all())


def clients_like(session: Session, words: str, wanted: Wanted = USABLE, *, limit: int = FEW) -> list[Client]:
    """Systems of which this is part of the name or identifier; with "" all."""
    query = select(Client).where(*([] if wanted.suspended else [col(Client.status) == "active"]))
    return list(session.exec(_like(query, words, (col(Client.id), col(Client.name)), col(Client.id)).limit(limit)).all())


def _like(query: Any, words: str, columns: tuple[Any, ...], order: Any) -> Any:
    if not words:
        return query.order_by(order)
    exact = sa.or_(*(sa.func.lower(column) == words.lower() for column in columns))
    return query.where(sa.or_(*(column.icontains(words, autoescape=True) for column in columns))).order_by(exact.desc(), order)
