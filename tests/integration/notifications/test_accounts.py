"""Nobody opens a way into an account unseen: the person, other administrators and auditors are told (ID-2.3, GB/T 22239 8.1.4.2)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from broker import clock
from broker.identity import service as identity
from broker.identity.access import Role
from broker.identity.service import caller_for
from broker.notifications import service

PASSWORD = "nine wet herons walk"


@pytest.fixture
def cast(own):
    """Two administrators, an auditor and a nurse of one house; what happened before is told already or nobody's."""
    with own.database.transaction() as session:
        house = identity.lineage(session, caller_for(session, own.people.manager).organization_id)[-1].id
        made = {}
        for name, role in (("first", Role.ADMINISTRATOR), ("second", Role.ADMINISTRATOR), ("audits", Role.AUDITOR), ("nurse", Role.APPLICANT)):
            username = f"{name}.{clock.now():%H%M%S%f}"
            row = identity.add_person(
                session, "system", username=username, name=name, organization_id=house, password=PASSWORD, roles=[(role, house)]
            )
            made[name] = (row.id, username)
    return made


def news(own, cast):
    """Tell what happened, and what each of the cast reads then: kind, and by whom."""
    with own.database.transaction() as session:
        service.tell_of_accounts(session, own.keys)
    with own.database.transaction() as session:
        return {
            name: [
                (row.kind, row.facts["by"])
                for row in service.inbox(session, caller_for(session, id_))
                if row.facts.get("username") == cast["nurse"][1]
            ]
            for name, (id_, _) in cast.items()
        }


@pytest.mark.parametrize(
    ("kind", "act"),
    [
        ("account.password-set", lambda s, actor, id_: identity.set_password(s, actor.actor, id_, "four grey herons wade", temporary=True)),
        ("account.password-link", identity.make_password_link),
        ("account.linked", lambda s, actor, id_: identity.link(s, actor, id_, "https://login.example", f"sub-{id_}")),
    ],
)
def test_the_person_and_those_who_keep_and_audit_accounts_are_told_by_whom(own, cast, kind, act):
    first, by = cast["first"]
    with own.database.transaction() as session:
        act(session, caller_for(session, first), cast["nurse"][0])
    seen = news(own, cast)
    assert seen == {"first": [], "second": [(kind, by)], "audits": [(kind, by)], "nurse": [(kind, by)]}
    assert news(own, cast) == seen, "told once"


def test_nobody_is_told_of_what_they_did_themselves(own, cast):
    nurse = cast["nurse"][0]
    with own.database.transaction() as session:
        identity.set_password(session, f"person:{nurse}", nurse, "four grey herons wade")
    assert not any(news(own, cast).values())


def test_what_is_long_past_is_not_told(own, cast, set_clock):
    with own.database.transaction() as session:
        identity.set_password(session, f"person:{cast['first'][0]}", cast["nurse"][0], "four grey herons wade", temporary=True)
    set_clock(timedelta(days=3))
    assert not any(news(own, cast).values())
