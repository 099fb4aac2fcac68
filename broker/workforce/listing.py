"""The registers as people look through them: searched, sorted and cut into pages by the database."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import sqlalchemy as sa
from sqlmodel import Session, col, select

from broker import clock
from broker.identity.models import Organization, Person
from broker.workforce.codes import Register
from broker.workforce.models import Credential
from broker.workforce.rules import REMINDED

#: What a register may be sorted by; a hyphen before it for descending.
SORTS = ("valid_until", "issued_on", "code", "number")
#: What a register may be narrowed to.
STATES = ("in-force", "soon", "expired", "suspended", "withdrawn")


@dataclass(frozen=True)
class Wanted:
    """What somebody looks for. Empty: the whole register."""

    register: Register
    words: str = ""  #: part of the holder's name, the beginning of a user name or a number
    code: str = ""
    organization: str = ""  #: of the holder, or of what the holder belongs to
    state: str = ""  #: one of STATES; ``soon``: ends within as many days as holders are first reminded before
    sort: str = "valid_until"


@dataclass(frozen=True)
class Entry:
    """A certificate with whose it is: the person's name and user name, or the institution's id alone."""

    row: Credential
    name: str | None
    username: str | None
    organization: str


@dataclass(frozen=True)
class Listing:
    """A part of a register. ``total`` is counted no further than asked."""

    items: tuple[Entry, ...]
    total: int


def state_of(row: Credential) -> str:
    """One of STATES, the word that stands in the list."""
    if row.status != "active":
        return row.status
    now = clock.now()
    if row.valid_until is None or row.valid_until > now + timedelta(days=max(REMINDED)):
        return "in-force"
    return "soon" if row.valid_until > now else "expired"


def listing(session: Session, wanted: Wanted, *, limit: int, offset: int, counted: int) -> Listing:
    """A part of a register. Totals stop at ``counted`` + 1."""
    place = sa.func.coalesce(col(Credential.organization_id), col(Person.organization_id))
    joined = sa.outerjoin(Credential, Person, col(Person.id) == col(Credential.person_id))
    conditions = [col(Credential.book) == wanted.register.value, *_conditions(wanted)]
    if wanted.organization:
        conditions.append(place == wanted.organization)
    name = wanted.sort.removeprefix("-")
    column = col(getattr(Credential, name if name in SORTS else "valid_until"))
    order = column.desc().nulls_last() if wanted.sort.startswith("-") else column.asc().nulls_last()
    query = select(Credential, Person.name, Person.username, place).select_from(joined).where(*conditions)
    rows = session.execute(query.order_by(order, col(Credential.id)).limit(limit).offset(offset)).all()
    few = sa.select(col(Credential.id)).select_from(joined).where(*conditions).limit(counted + 1).subquery()
    total = session.execute(sa.select(sa.func.count()).select_from(few)).scalar_one()
    return Listing(tuple(Entry(row, name, username, place) for row, name, username, place in rows), total)


def _conditions(wanted: Wanted) -> list[sa.ColumnElement[bool]]:
    now, found = clock.now(), []
    if wanted.code:
        found.append(col(Credential.code) == wanted.code)
    if wanted.words:
        institution = sa.select(col(Organization.id)).where(
            sa.or_(
                col(Organization.name_zh).contains(wanted.words, autoescape=True), col(Organization.name_en).icontains(wanted.words, autoescape=True)
            )
        )
        found.append(
            sa.or_(
                col(Person.name).contains(wanted.words, autoescape=True),
                col(Person.username).startswith(wanted.words.lower(), autoescape=True),
                col(Credential.number).startswith(wanted.words, autoescape=True),
                col(Credential.organization_id).in_(institution),
            )
        )
    soon = now + timedelta(days=max(REMINDED))
    active, until = col(Credential.status) == "active", col(Credential.valid_until)
    states: dict[str, tuple[sa.ColumnElement[bool], ...]] = {
        "in-force": (active, sa.or_(until.is_(None), until > soon)),
        "soon": (active, until > now, until <= soon),
        "expired": (active, until <= now),
        "suspended": (col(Credential.status) == "suspended",),
        "withdrawn": (col(Credential.status) == "withdrawn",),
    }
    return [*found, *states.get(wanted.state, ())]
