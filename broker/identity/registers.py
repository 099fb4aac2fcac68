"""The registers of people, organisations and systems as whoever keeps them works through them: searched, sorted and cut by the database."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Session, col

from broker import clock
from broker.crypto import Keys
from broker.identity.models import Client, FailedLogin, Organization, Person, RoleHeld, SecondFactor
from broker.identity.organizations import below
from broker.identity.roles import Role
from broker.paging import Order, Part, Place, cut

#: An agreement that ends within this is told.
SOON = timedelta(days=60)
#: What each register may be sorted by; a hyphen before it for descending.
PEOPLE_SORTS = ("username", "name", "organization", "created")
ORGANIZATION_SORTS = ("place", "name", "id", "agreement")
CLIENT_SORTS = ("id", "name", "organization")
#: How somebody, an organisation or a system may stand.
PEOPLE_STATES = ("active", "suspended", "barred", "locked", "no-factor")
ORGANIZATION_STATES = ("active", "suspended", "ended", "ends-soon")

_NEVER = datetime(9999, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Sought:
    """What somebody looks for in a register. Empty: everything.

    ``words``: part of a name or identifier. ``organization``: that one and those below it. ``needed``: the roles that ask for a second
    factor, for the state ``no-factor``. ``language``: whose names organisations are sorted by.
    """

    words: str = ""
    state: str = ""
    organization: str = ""
    role: str = ""
    kind: str = ""
    relationship: str = ""
    sort: str = ""
    language: str = "zh"
    needed: Collection[str] = ()


@dataclass(frozen=True)
class PersonLine:
    """Somebody in the register: the account, the roles with their organisations, and what keeps it from being used."""

    person: Person
    roles: tuple[Role, ...] = ()
    has_factor: bool = False
    locked: bool = False


@dataclass(frozen=True)
class OrganizationLine:
    """An organisation in the register, and how deep it stands in the tree."""

    organization: Organization
    depth: int = 0


def people_part(session: Session, keys: Keys, sought: Sought, place: Place | None, *, limit: int) -> Part[PersonLine]:
    """A part of the register of people. Raises NoSuchPlace."""
    rows = sa.select(Person).where(*_people(session, keys, sought))
    value: dict[str, Any] = {"name": col(Person.name), "organization": col(Person.organization_id), "created": col(Person.created_at)}
    sort = sought.sort.removeprefix("-")
    order = Order(value.get(sort, col(Person.username)), col(Person.id), sought.sort.startswith("-"), UUID)
    found = cut(session, rows, order, place, limit=limit)
    people: list[Person] = [row[0] for row in found.items]
    ids = [one.id for one in people]
    held: dict[UUID, set[Role]] = {}
    for person_id, role in session.execute(sa.select(col(RoleHeld.person_id), col(RoleHeld.role)).where(col(RoleHeld.person_id).in_(ids))):
        held.setdefault(person_id, set()).add(Role(role))
    with_factor = set(session.execute(sa.select(col(SecondFactor.person_id)).where(_confirmed(), col(SecondFactor.person_id).in_(ids))).scalars())
    shut = locked(session, keys, [one.username for one in people])
    lines = [PersonLine(one, tuple(sorted(held.get(one.id, ()))), one.id in with_factor, one.username in shut) for one in people]
    return Part(tuple(lines), found.total, found.earlier, found.later)


def organizations_part(session: Session, sought: Sought, place: Place | None, *, limit: int) -> Part[OrganizationLine]:
    """A part of the register of organisations: as the tree has them, or sorted by a column. Raises NoSuchPlace."""
    # A blank is no letter of an identifier and comes before all of them, so that whatever is below something follows it at once.
    id_, above = col(Organization.id), col(Organization.parent_id)
    tree = sa.select(id_.label("id"), id_.label("path"), sa.literal(0).label("depth")).where(above.is_(None)).cte("tree", recursive=True)
    tree = tree.union_all(sa.select(id_, tree.c.path + " " + id_, tree.c.depth + 1).where(above == tree.c.id))
    name = col(Organization.name_zh if sought.language == "zh" else Organization.name_en)
    value: dict[str, Any] = {"name": name, "id": id_, "agreement": sa.func.coalesce(col(Organization.agreement_until), sa.literal(_NEVER))}
    sort = sought.sort.removeprefix("-")
    if sort in value:
        rows: sa.Select[*tuple[Any, ...]] = sa.select(Organization, sa.literal(0)).where(*_organizations(session, sought))
        order = Order(value[sort], id_, sought.sort.startswith("-"))
    else:
        rows = sa.select(Organization, tree.c.depth).join(tree, tree.c.id == id_).where(*_organizations(session, sought))
        order = Order(tree.c.path.collate("C"), tree.c.id)
    found = cut(session, rows, order, place, limit=limit)
    return Part(tuple(OrganizationLine(row, depth) for row, depth in found.items), found.total, found.earlier, found.later)


def clients_part(session: Session, sought: Sought, place: Place | None, *, limit: int) -> Part[Client]:
    """A part of the register of systems. Raises NoSuchPlace."""
    conditions: list[sa.ColumnElement[bool]] = []
    if sought.words:
        home = col(Client.organization_id).in_(_named(sought.words))
        conditions.append(sa.or_(_has(col(Client.id), sought.words), _has(col(Client.name), sought.words), home))
    if sought.state:
        conditions.append(col(Client.status) == sought.state)
    if sought.organization:
        conditions.append(col(Client.organization_id).in_(below(session, sought.organization)))
    value: dict[str, Any] = {"name": col(Client.name), "organization": col(Client.organization_id)}
    sort = sought.sort.removeprefix("-")
    order = Order(value.get(sort, col(Client.id)), col(Client.id), sought.sort.startswith("-"))
    found = cut(session, sa.select(Client).where(*conditions), order, place, limit=limit)
    return Part(tuple(row[0] for row in found.items), found.total, found.earlier, found.later)


def _people(session: Session, keys: Keys, sought: Sought) -> list[sa.ColumnElement[bool]]:
    """What must hold of an account."""
    conditions: list[sa.ColumnElement[bool]] = []
    if sought.words:
        home = col(Person.organization_id).in_(_named(sought.words))
        conditions.append(sa.or_(_has(col(Person.username), sought.words), _has(col(Person.name), sought.words), home))
    if sought.organization:
        conditions.append(col(Person.organization_id).in_(below(session, sought.organization)))
    if sought.role:
        conditions.append(col(Person.id).in_(_holding([sought.role])))
    match sought.state:
        case "active" | "suspended" as status:
            conditions.append(col(Person.status) == status)
        case "barred":
            conditions.append(col(Person.barred_at).is_not(None))
        case "locked":
            # Names are kept blinded where failures are counted, so that every name is tried; nothing is tried while nobody is locked out.
            everybody = sa.select(col(Person.username)).where(sa.select(col(FailedLogin.name)).where(_shut()).exists())
            conditions.append(col(Person.username).in_(locked(session, keys, session.execute(everybody).scalars())))
        case "no-factor":
            without = col(Person.id).not_in(sa.select(col(SecondFactor.person_id)).where(_confirmed()))
            conditions += [without, col(Person.id).in_(_holding(sorted(sought.needed)))]
        case _:
            pass
    return conditions


def _organizations(session: Session, sought: Sought) -> list[sa.ColumnElement[bool]]:
    """What must hold of an organisation."""
    until, now = col(Organization.agreement_until), clock.now()
    state = {
        "active": col(Organization.status) == "active",
        "suspended": col(Organization.status) == "suspended",
        "ended": until <= now,
        "ends-soon": sa.and_(until > now, until <= now + SOON),
    }
    conditions = [state[sought.state]] if sought.state in state else []
    if sought.words:
        conditions.append(col(Organization.id).in_(_named(sought.words)))
    if sought.organization:
        conditions.append(col(Organization.id).in_(below(session, sought.organization)))
    if sought.kind:
        conditions.append(col(Organization.kind) == sought.kind)
    if sought.relationship:
        conditions.append(col(Organization.relationship) == sought.relationship)
    return conditions


def _named(words: str) -> sa.Select[Any]:
    """Ids of the organisations of which this is part of a name or of the identifier."""
    either = (_has(col(Organization.id), words), _has(col(Organization.name_zh), words), _has(col(Organization.name_en), words))
    return sa.select(col(Organization.id)).where(sa.or_(*either))


def _has(column: Any, words: str) -> sa.ColumnElement[bool]:
    found: sa.ColumnElement[bool] = column.icontains(words, autoescape=True)
    return found


def _holding(roles: Collection[str]) -> sa.Select[Any]:
    return sa.select(col(RoleHeld.person_id)).where(col(RoleHeld.role).in_(roles))


def _confirmed() -> sa.ColumnElement[bool]:
    return col(SecondFactor.confirmed_at).is_not(None)


def _shut() -> sa.ColumnElement[bool]:
    return col(FailedLogin.locked_until) > clock.now()


def locked(session: Session, keys: Keys, usernames: Iterable[str]) -> frozenset[str]:
    """Those of these names that nobody can sign in under for the moment, because of wrong passwords."""
    blinded = {keys.blind("login", name): name for name in usernames}
    given = sa.select(col(FailedLogin.name)).where(_shut())
    return frozenset(blinded[name] for name in session.execute(given).scalars() if name in blinded)
