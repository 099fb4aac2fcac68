"""Routes by which data may leave the mainland: entered by one, confirmed by another, ended by anybody; what policy makes of them (PIPL 38-41, 55)."""

from dataclasses import replace
from datetime import timedelta

import pytest
from fastapi import FastAPI
from psycopg.rows import dict_row
from sqlmodel import select
from starlette.testclient import TestClient

from broker import clock, edge
from broker.applications import abroad, assessing
from broker.applications import service as applications
from broker.applications.errors import AssessmentForbids
from broker.audit.models import AuditEvent
from broker.identity.models import Organization, Person
from broker.policy import service as policy
from broker.policy.facts import ConsentFacts
from broker.settings import Settings
from broker.transfers import service
from broker.transfers.errors import NoSuchRoute, NotThisRoute, OwnRoute, RouteInvalid
from broker.transfers.routes import build_router
from broker.transfers.rules import Route, told
from broker.transfers.service import Proposal
from tests.factories import applications as make
from tests.factories import identity

LABORATORY = [{"data_class": "clinical.laboratory"}]


def proposal(**changes):
    today = clock.today()
    given = Proposal(
        recipient="shengli", route="standard_contract", reference="沪网信合同备〔2026〕12号", valid_from=today - timedelta(days=1),
        valid_until=today + timedelta(days=365), purposes=("TREAT",), classes=("clinical",), impact_assessment="PIA-2026-004",
    )  # fmt: skip
    return replace(given, **changes)


def confirmed(session, **changes):
    row = service.propose(session, "one", "one", proposal(**changes))
    return service.confirm(session, "two", "two", row.id)


@pytest.fixture
def means(keys, database, shared):
    with database.transaction() as session:
        identity.client_with_key(session, organization_id=make.RECIPIENT)
        for place in ("shengli", make.RECIPIENT):
            session.get(Organization, place).jurisdiction = "HK"
    return make.means(
        keys, engine=policy.build_engine(Settings()), data_classes=policy.catalogue().types_of, purposes=policy.purposes().keys(),
        lawful_bases=policy.lawful_bases().keys(),
    )  # fmt: skip


def refusals(session, means, people, *numbers):
    """Why an application to the hospital in Hong Kong can't be approved now; approves it where it can."""
    row = make.endorsed(session, means, people, *numbers, data=LABORATORY)
    try:
        with session.begin_nested():
            applications.approve(session, means, people.manager, row.number, if_match=row.version)
    except AssessmentForbids as error:
        return sorted({problem.code for problem in error.problems})
    return []


def test_nothing_leaves_the_country_without_a_route_that_two_confirmed(database, means, people, patients):
    with database.transaction() as session:
        assert refusals(session, means, people, 1) == ["residency.no-route"]
        row = service.propose(session, "one", "one", proposal())
        assert refusals(session, means, people, 1) == ["residency.no-route"]
        service.confirm(session, "two", "two", row.id)
        assert refusals(session, means, people, 1) == []
        service.end(session, "one", row.id)
        assert refusals(session, means, people, 1) == ["residency.no-route"]
        events = session.exec(select(AuditEvent.type).where(AuditEvent.type.like("transfer.%")).order_by(AuditEvent.seq)).all()
        assert events == ["transfer.route-proposed", "transfer.route-confirmed", "transfer.route-ended"]


def test_each_thing_that_a_route_does_not_cover_is_told(database, means, people, patients):
    today = clock.today()
    wrong = {
        "residency.route-over": {"valid_from": today - timedelta(days=9), "valid_until": today - timedelta(days=1)},
        "residency.route-not-begun": {"valid_from": today + timedelta(days=1)},
        "residency.other-purpose": {"purposes": ("HRESCH",)},
        "residency.other-data": {"classes": ("clinical.diagnoses",)},
        "residency.other-route": {"route": "emergency_exemption"},
        "residency.too-many": {"persons_limit": 1},
    }
    for code, changes in wrong.items():
        with database.transaction() as session:
            row = confirmed(session, **changes)
            assert refusals(session, means, people, 1, 2) == [code]
            service.end(session, "one", row.id)


def test_of_several_routes_the_one_that_carries_is_told(database, means, people, patients):
    with database.transaction() as session:
        confirmed(session, purposes=("HRESCH",))
        confirmed(session, classes=("clinical.diagnoses",))
        assert refusals(session, means, people, 1) == ["residency.other-data"]
        confirmed(session, recipient=make.RECIPIENT)
        assert refusals(session, means, people, 1) == []


def test_the_people_of_a_year_are_counted_over_every_recipient_abroad(database, means, people, patients):
    """规定 2024, 7 and 8: splitting them over recipients does not make them fewer; the same person twice is one, and last year's are gone."""
    with database.transaction() as session:
        confirmed(session)
        confirmed(session, recipient=make.RECIPIENT)

        def year(*asked, after=timedelta(0)):
            recipient = assessing.recipient_facts(session, "shengli")
            terms = applications.Terms("TREAT", "consent", "shengli", (), clock.today())
            keys_asked = [patients[number] for number in asked]
            return abroad.residency(session, recipient, {"shengli"}, terms.request_facts(), keys_asked, clock.now() + after).year_persons

        assert (year(), year(1), year(1, 2)) == (0, 1, 2)
        assert refusals(session, means, people, 1) == []
        assert (year(), year(1), year(2), year(1, 2)) == (1, 1, 2, 2)
        assert year(2, after=timedelta(days=1200)) == 1, "the grant of this year ended before that year"
        session.get(Organization, make.RECIPIENT).jurisdiction = "CN"
        session.flush()
        assert year(2) == 1, "it is no longer abroad"


def test_consent_to_leave_the_country_is_a_separate_one(database, means, people, patients):
    with database.transaction() as session:
        confirmed(session)
        said = means.consent_facts
        means = replace(means, consent_facts=lambda *given, **more: replace(said(*given, **more), separate=("sensitive",)))
        assert refusals(session, means, people, 1) == ["residency.no-separate-consent"]


def test_a_foreign_court_needs_an_approval_whatever_the_register_says(database, means, people, patients):
    with database.transaction() as session:
        confirmed(session)
        recipient = replace(assessing.recipient_facts(session, "shengli"), kind="authority")
        terms = applications.Terms("TREAT", "consent", "shengli", (), clock.today())
        facts = abroad.residency(session, recipient, ("shengli",), terms.request_facts(), (), clock.now())
        assert (facts.foreign_authority, facts.authority_approved) == (True, False)


def test_people_are_counted_and_who_was_first_goes_on(database, means, people, patients):
    """The cap is of people, not of releases; an approval beyond it does not stop those before."""
    with database.transaction() as session:
        confirmed(session, persons_limit=2)
        first = make.endorsed(session, means, people, 1, 2, data=LABORATORY)
        grant = applications.approve(session, means, people.manager, first.number, if_match=first.version)
        assert refusals(session, means, people, 2) == []
        assert refusals(session, means, people, 3) == ["residency.too-many"]
        cursor = session.connection().connection.driver_connection.cursor(row_factory=dict_row)
        session.flush()
        found = cursor.execute(applications.GRANT_FACTS_SQL, {"grant": grant.id, "patients": []}).fetchone()
        residency = applications.grant_from_row(found).residency
        assert (residency.route, residency.persons, residency.persons_limit) == ("standard_contract", 2, 2)
        assert not residency.separate_consent
        assert residency.agreed(ConsentFacts("permit", separate=("abroad",))).separate_consent


def test_at_home_no_register_is_asked(database, people):
    with database.transaction() as session:
        terms = applications.Terms("TREAT", "consent", "shengli", (), clock.today())
        recipient = replace(assessing.recipient_facts(session, "shengli"), jurisdiction="CN")
        assert abroad.residency(session, recipient, ("shengli",), terms.request_facts(), (), clock.now()) is None
        assert abroad.residency_from([{"route": "courier"}], recipient, terms.request_facts(), 0) is None


def test_what_is_no_route_is_told_all_at_once(database, means, people):
    wrong = proposal(recipient="renhe", route="courier", valid_until=clock.today() - timedelta(days=9), purposes=("GOSSIP",), foreign_authority=True)
    with database.transaction() as session, pytest.raises(RouteInvalid) as caught:
        service.propose(session, "one", "one", replace(wrong, classes=("clinical.gossip",)))
    fields = ("/authority_approval", "/classes", "/purposes", "/recipient", "/route", "/valid_until")
    assert tuple(sorted(problem.path for problem in caught.value.problems)) == fields


def test_four_eyes_and_states(database, means, people):
    with database.transaction() as session:
        row = service.propose(session, "one", "one", proposal())
        assert "clinical.laboratory" in row.classes
        with pytest.raises(OwnRoute):
            service.confirm(session, "one", "one", row.id)
        service.confirm(session, "two", "two", row.id)
        with pytest.raises(NotThisRoute):
            service.confirm(session, "three", "three", row.id)
        service.end(session, "one", row.id)
        with pytest.raises(NotThisRoute):
            service.end(session, "one", row.id)
        with pytest.raises(NoSuchRoute):
            service.end(session, "one", people.manager)


def test_what_is_told_is_the_route_that_suits_best():
    day = 86_400
    one = Route("standard_contract", 10 * day, 20 * day, frozenset({"TREAT"}), frozenset({"clinical.laboratory"}), 0, None, 0, True, False, False)
    other = replace(one, code="certification", purposes=frozenset({"HRESCH"}))
    late = replace(one, code="treaty", until=11 * day)
    full = replace(one, code="security_assessment", persons=5, persons_limit=4)
    for routes, best in (
        ([other, one], "standard_contract"),
        ([late, other], "certification"),
        ([late], "treaty"),
        ([full, one], "standard_contract"),
    ):
        assert told(routes, "TREAT", {"clinical.laboratory"}, 15 * day, authority=False).route == best
    assert told([one], "TREAT", set(), 0, authority=True).foreign_authority
    assert told([], "TREAT", set(), 0, authority=True) is None


def test_the_register_over_http(own):
    app = FastAPI()
    app.state.database = own.database
    app.state.settings = Settings()
    edge.install(app)
    app.include_router(build_router())
    with own.database.transaction() as session:
        session.get(Organization, "shengli").jurisdiction = "HK"
        headers = {
            name: identity.signed_in(session, session.get(Person, getattr(own.people, name)))
            for name in ("applicant", "manager", "second_manager", "auditor")
        }
    client = TestClient(app)
    body = {
        "recipient": "shengli", "route": "certification", "reference": "CN-1", "valid_from": "2026-01-01", "purposes": ["TREAT"],
        "classes": ["clinical.laboratory"], "impact_assessment": "PIA-1", "persons_limit": 9,
    }  # fmt: skip
    address = "/api/v1/transfer-routes"
    assert client.post(address, json=body, headers=headers["auditor"]).status_code == 403
    made = client.post(address, json=body, headers=headers["manager"])
    assert made.status_code == 201, made.text
    route = f"{address}/{made.json()['id']}"
    assert client.post(f"{route}/confirm", headers=headers["manager"]).status_code == 403
    assert client.post(f"{route}/confirm", headers=headers["second_manager"]).json()["state"] == "confirmed"
    assert client.post(f"{route}/end", headers=headers["manager"]).json()["state"] == "ended"
    assert client.post(f"{route}/end", headers=headers["manager"]).status_code == 409
    assert client.post(address, json=body | {"route": "courier"}, headers=headers["manager"]).status_code == 422
    assert client.get(address, headers=headers["applicant"]).status_code == 403
    listed = client.get(f"{address}?recipient=shengli", headers=headers["auditor"]).json()
    assert [(one["reference"], one["state"]) for one in listed["items"]] == [("CN-1", "ended")]
