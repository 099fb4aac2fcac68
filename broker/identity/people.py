"""People: accounts, passwords, and the roles they hold for an organisation."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlmodel import Session, col, select

from broker import clock
from broker.audit import service as audit
from broker.audit.events import Event
from broker.errors import Invalid, Problem
from broker.identity import guessing, passwords, rules
from broker.identity.errors import AlreadyThere, NotYourself, PasswordRefused, RoleNotHere, RolesApart, UnknownPerson
from broker.identity.login import USERNAME
from broker.identity.models import Person, RoleHeld
from broker.identity.organizations import lineage, organization
from broker.identity.roles import Role
from broker.identity.sessions import end_sessions

#: A role and the organisation it is held for.
Office = tuple[Role, str]


def person(session: Session, person_id: UUID) -> Person:
    """The account of this id. Raises UnknownPerson."""
    found = session.get(Person, person_id)
    if found is None:
        raise UnknownPerson
    return found


def people(session: Session, organization_id: str | None = None) -> list[Person]:
    """Every account, or those of one organisation, by user name."""
    query = select(Person).order_by(Person.username)
    return list(session.exec(query if organization_id is None else query.where(Person.organization_id == organization_id)).all())


def offices(session: Session, person_id: UUID) -> frozenset[Office]:
    """The roles that an account holds, each with its organisation."""
    rows = session.exec(select(RoleHeld.role, RoleHeld.organization_id).where(RoleHeld.person_id == person_id)).all()
    return frozenset((Role(role), organization_id) for role, organization_id in rows)


def all_offices(session: Session) -> dict[UUID, set[Office]]:
    """The roles that every account holds, each with its organisation."""
    held: dict[UUID, set[Office]] = {}
    for person_id, role, organization_id in session.exec(select(RoleHeld.person_id, RoleHeld.role, RoleHeld.organization_id)).all():
        held.setdefault(person_id, set()).add((Role(role), organization_id))
    return held


def add_person(
    session: Session,
    actor: str,
    *,
    username: str,
    name: str,
    organization_id: str,
    password: str | None = None,
    natural_person: str | None = None,
    language: str = "zh",
    roles: Iterable[Office] = (),
    temporary: bool = False,
) -> Person:
    """Add an account. ``natural_person`` joins accounts of one human being; left out, the account stands for itself.

    Without a password nobody can sign in to it with one. ``temporary``: somebody else knows it, so that the first thing to be done with it is
    to choose another. Raises AlreadyThere, UnknownOrganization, PasswordRefused, RolesApart,
    RoleNotHere, Invalid (the user name).
    """
    username = username.lower()
    if not USERNAME.fullmatch(username):
        raise Invalid(problems=(Problem("/username", "username", "A user name has 2 to 64 of a-z, 0-9, dot, hyphen and underscore."),))
    home = organization(session, organization_id)
    if session.exec(select(Person.id).where(Person.username == username)).first() is not None:
        raise AlreadyThere("username: there is an account of this name.")
    person_id = uuid4()
    row = Person(
        id=person_id,
        username=username,
        password_hash=None if password is None else _hashed(password, username, name),
        name=name,
        organization_id=home.id,
        natural_person=natural_person or str(person_id),
        language=language,
        created_at=clock.now(),
        must_change_password=temporary and password is not None,
    )
    _store(session, row, event=Event("person.added", actor, recipient=home.id, facts={"person": str(person_id), "password": password is not None}))
    held = frozenset(roles)
    return set_roles(session, actor, person_id, held) if held else row


def set_roles(session: Session, actor: str, person_id: UUID, roles: Iterable[Office]) -> Person:
    """Give an account these roles and no others. Nobody changes their own.

    All accounts of one natural person count together. Raises UnknownPerson, NotYourself, RolesApart, RoleNotHere,
    UnknownOrganization, Invalid (a role for an organisation of another tree).
    """
    # Locked, so that two changes to two accounts of one natural person don't each miss the other's roles.
    row = person(session, person_id)
    if actor == f"person:{person_id}":
        raise NotYourself
    accounts = session.exec(select(Person.id).where(Person.natural_person == row.natural_person).order_by(col(Person.id)).with_for_update()).all()
    if actor in {f"person:{account}" for account in accounts}:
        raise NotYourself
    given = frozenset(roles)
    root = lineage(session, row.organization_id)[-1].id
    for role, organization_id in sorted(given):
        line = lineage(session, organization_id)
        if not rules.may_be_held_in(role, line[0].relationship):
            raise RoleNotHere(problems=(Problem("/roles", "role-internal-only", f"{role} can't be held in an outside organisation."),))
        if line[-1].id != root:
            raise Invalid(
                problems=(
                    Problem("/roles", "other-tree", "A role is held in the organisation that the person belongs to, or one above or beside it."),
                )
            )
    others = session.exec(select(RoleHeld.role).where(col(RoleHeld.person_id).in_(accounts), RoleHeld.person_id != person_id)).all()
    if pair := rules.conflicting(frozenset(role for role, _ in given) | {Role(role) for role in others}):
        raise RolesApart(problems=(Problem("/roles", "roles-apart", f"{pair[0]} and {pair[1]} are held by different people."),))
    session.execute(sa.delete(RoleHeld).where(col(RoleHeld.person_id) == person_id))
    session.add_all(RoleHeld(person_id=person_id, role=role, organization_id=organization_id) for role, organization_id in given)
    facts: dict[str, str | int | bool | list[str]] = {"person": str(person_id), "roles": sorted(f"{role}@{where}" for role, where in given)}
    return _store(session, row, event=Event("person.roles-set", actor, recipient=row.organization_id, facts=facts))


def change_person(
    session: Session, actor: str, person_id: UUID, *, status: str | None = None, name: str | None = None, language: str | None = None
) -> Person:
    """Change what is given. Suspending ends every session of the account at once. Nobody suspends or revives their own account."""
    row = person(session, person_id)
    if status is not None and actor == f"person:{person_id}":
        raise NotYourself
    given = {key: value for key, value in (("status", status), ("name", name), ("language", language)) if value is not None}
    for key, value in given.items():
        setattr(row, key, value)
    if status == "suspended":
        end_sessions(session, actor, person_id)
    facts: dict[str, str | int | bool | list[str]] = {"person": str(person_id), "changed": sorted(given), "status": row.status}
    return _store(session, row, event=Event("person.changed", actor, recipient=row.organization_id, facts=facts))


def bar(session: Session, actor: str, person_id: UUID, *, barred: bool) -> Person:
    """Keep an account from applying, endorsing and deciding, or let it again; it can still sign in. Raises UnknownPerson."""
    row = person(session, person_id)
    row.barred_at = clock.now() if barred else None
    event = Event("person.barred" if barred else "person.unbarred", actor, recipient=row.organization_id, facts={"person": str(person_id)})
    return _store(session, row, event=event)


def set_password(session: Session, actor: str, person_id: UUID, password: str, *, temporary: bool = False) -> Person:
    """Give an account a new password and end its sessions; ``temporary`` as in :func:`add_person`. Raises PasswordRefused, UnknownPerson.

    A password that must be changed is changed into another.
    """
    row = person(session, person_id)
    if row.must_change_password and not temporary and passwords.matches(password, row.password_hash)[0]:
        raise PasswordRefused(problems=(Problem("/password", "password-same", "Choose a password that nobody else knows."),))
    row.must_change_password = temporary
    row.password_hash = _hashed(password, row.username, row.name)
    end_sessions(session, actor, person_id)
    return _store(session, row, event=Event("person.password-set", actor, recipient=row.organization_id, facts={"person": str(person_id)}))


def _hashed(password: str, username: str, name: str) -> str:
    if problem := rules.password_problem(password, username):
        raise PasswordRefused(problems=(Problem("/password", "password", problem),))
    if guessing.is_guessable(password, (username, *username.split("."), name)):
        raise PasswordRefused(problems=(Problem("/password", "password-common", "This password is common or easily guessed; choose another."),))
    return passwords.hashed(password)


def _store(session: Session, row: Person, *, event: Event) -> Person:
    session.add(row)
    session.flush()
    audit.record(session, event)
    return row
