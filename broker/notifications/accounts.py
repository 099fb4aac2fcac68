"""Who can get into somebody's account was changed by somebody else: the person is told, and everybody who could see through a misuse.

It follows from the log, so that no door (pages, API, command line) can forget it. One administrator alone may set a password or link the
hospital's login, since a department with one administrator must be able to work; nobody may do so unseen (decision 0030).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

from sqlmodel import Session, col, select

from broker import clock
from broker.audit import service as audit
from broker.crypto import Keys
from broker.identity.access import Role
from broker.identity.models import Person, RoleHeld

#: Events by which somebody else comes to hold what opens an account, with what is told of each.
TOLD = {
    "person.password-set": "account.password-set",
    "person.password-link": "account.password-link",
    "sso.linked": "account.linked",
    "second-factor.reset-asked": "account.factors-asked",
    "second-factor.reset": "account.factors-reset",
}
#: Who is told beside the person: those who keep accounts, and those who audit them.
BESIDE = (Role.ADMINISTRATOR, Role.AUDITOR)
#: What is older is not told any more: an installation that begins to tell has years of events.
NEWS = timedelta(days=2)


def tell(session: Session, keys: Keys, notify: Callable[..., UUID | None]) -> int:
    """Tell of what happened since the last look; how many messages. A job of the worker."""
    told = 0
    for event in audit.follow(session, "accounts", tuple(TOLD)):
        subject = str(event.facts.get("person", ""))
        if not subject or event.actor == f"person:{subject}" or event.at < clock.now() - NEWS:
            continue
        wanted = [UUID(one.removeprefix("person:")) for one in (f"person:{subject}", event.actor) if one.startswith("person:")]
        found = session.exec(select(Person.id, Person.username).where(col(Person.id).in_(wanted))).all()
        names = {f"person:{id_}": name for id_, name in found}
        facts = {"username": names.get(f"person:{subject}", subject), "by": names.get(event.actor, event.actor)}
        query = select(RoleHeld.person_id).join(Person, col(Person.id) == col(RoleHeld.person_id))
        holders = session.exec(query.where(col(RoleHeld.role).in_([one.value for one in BESIDE]), Person.status == "active")).all()
        for to in sorted({f"person:{subject}", *(f"person:{one}" for one in holders)} - {event.actor}):
            told += notify(session, keys, to=to, kind=TOLD[event.type], facts=facts, once=f"account|{event.id}|{to}") is not None
    return told
