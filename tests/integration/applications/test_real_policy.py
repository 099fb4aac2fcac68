"""The workflow judged by the hospital's own policies, in the embedded engine: no stub says what may leave."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker import clock
from broker.applications import service
from broker.applications.errors import AssessmentForbids, NotComplete
from broker.applications.rules import is_narrower
from broker.applications.service import Item, Narrowing, Reason, Terms
from broker.identity.models import Organization
from broker.policy import service as policy
from broker.policy.facts import ConsentFacts, Facts, GrantFacts, PatientFacts, RecipientFacts, RequesterFacts
from broker.settings import Settings
from tests.factories import applications as make
from tests.factories import identity

WHY = Reason("按最小必要原则缩小范围。")


@pytest.fixture(scope="module")
def engine():
    return policy.build_engine(Settings())


@pytest.fixture
def means(keys, engine, database, shared):
    with database.transaction() as session:
        identity.client_with_key(session, organization_id=make.RECIPIENT)
    return make.means(
        keys,
        engine=engine,
        data_classes=policy.catalogue().types_of,
        purposes=policy.purposes().keys(),
        lawful_bases=policy.lawful_bases().keys(),
    )


def codes(session, row):
    shown = service.opinion(session, row, service.latest_assessment(session, row))
    return shown.effect, [[reason["code"] for reason in one.reasons] for one in shown.patients]


def test_treatment_with_consent_is_permitted_and_approved(database, means, people, patients):
    with database.transaction() as session:
        row = make.endorsed(session, means, people, 1, 2, data=[{"data_class": "clinical.laboratory"}])
        assert codes(session, row) == ("permit", [[], []])
        plan = service.opinion(session, row, service.latest_assessment(session, row)).patients[0].plan
        assert set(plan["types"]) <= {"DiagnosticReport", "Observation", "Patient", "Specimen"}
        assert "Observation" in plan["types"]
        grant = service.approve(session, means, people.manager, row.number, if_match=row.version)
        assert grant.status == "active"
        assert codes(session, row) == ("permit", [[], []])


def test_a_patient_who_refused_blocks_the_approval(database, means, people, patients):
    with database.transaction() as session:
        row = make.endorsed(session, means, people, 1, data=[{"data_class": "clinical.laboratory"}])
        means.consent_facts.base = "deny"
        with pytest.raises(AssessmentForbids) as caught:
            service.approve(session, means, people.manager, row.number, if_match=row.version)
        assert any(problem.code.startswith("consent.") for problem in caught.value.problems)


def test_a_recipient_whose_agreement_is_suspended_blocks_it_too(database, means, people, patients):
    with database.transaction() as session:
        row = make.endorsed(session, means, people, 1, data=[{"data_class": "clinical.laboratory"}])
        session.get(Organization, "shengli").status = "suspended"
        session.flush()
        with pytest.raises(AssessmentForbids) as caught:
            service.approve(session, means, people.manager, row.number, if_match=row.version)
        assert any(problem.code.startswith("recipient.") for problem in caught.value.problems)


def test_narrowing_gives_a_plan_within_the_one_that_was_asked(database, means, people, patients):
    with database.transaction() as session:
        asked = [
            {"resource_type": "Observation", "elements": ["status", "code", "value", "effective", "subject"]},
            {"data_class": "clinical.diagnoses"},
        ]
        row = make.endorsed(session, means, people, 1, data=asked)
        whole = service.opinion(session, row, service.latest_assessment(session, row)).patients[0].plan
        less = Narrowing(data=(Item(resource_type="Observation", elements=("status", "code", "subject")),))
        service.narrow(session, means, people.manager, row.number, less, if_match=row.version, reason=WHY)
        part = service.opinion(session, row, service.latest_assessment(session, row)).patients[0].plan
        assert set(part["types"]) == {"Observation"} < set(whole["types"])
        assert set(part["types"]["Observation"]["elements"]) < set(whole["types"]["Observation"]["elements"])


def test_codes_that_no_policy_knows_are_named_at_submission(database, means, people, patients):
    with database.transaction() as session, pytest.raises(NotComplete) as caught:
        make.submitted(session, means, people, purpose="GOSSIP", lawful_basis="because", data=[{"data_class": "clinical.gossip"}])
    assert {problem.path for problem in caught.value.problems} == {"/purpose", "/lawful_basis", "/data/0/data_class"}


def test_a_sub_class_reaches_no_type_that_its_class_does_not():
    """Narrowing takes a sub-class for a part of its class; where the catalogue says otherwise, the rule looks at the types."""
    types_of = policy.catalogue().types_of
    for code, types in types_of.items():
        above, _, _ = code.rpartition(".")
        if above in types_of:
            assert set(types) <= set(types_of[above]), code


# --- What the rule calls narrower is narrower for policy -------------------------------------------------------------

TYPES = ["Observation", "DiagnosticReport", "Condition", "Patient"]
ELEMENTS = ["id", "status", "code", "subject", "effective", "value", "address", "name", "gender"]


def lines():
    some = st.lists(st.sampled_from(ELEMENTS), unique=True, max_size=4).map(tuple)
    named = st.lists(st.sampled_from(["http://loinc.org|2339-0", "http://loinc.org|4548-4"]), unique=True).map(tuple)
    codes = [code for code in policy.catalogue().codes if not code.startswith("management")]
    return st.builds(Item, data_class=st.sampled_from(sorted(codes))) | st.builds(
        Item, data_class=st.none(), resource_type=st.sampled_from(TYPES), elements=some, codes=named
    )


def planned(engine, data):
    """Type → what may leave of it, for a referral hospital that treats with consent."""
    day = date(2026, 11, 23)
    terms = Terms("TREAT", "consent", "shengli", data, day + timedelta(days=30), justified=True)
    at = clock.epoch(datetime(2026, 11, 23, tzinfo=UTC))
    facts = Facts(
        question="assess",
        at=at,
        request=terms.request_facts(),
        grant=GrantFacts("g", "a", "proposed", at, at + 86400),
        recipient=RecipientFacts("shengli", "hospital", "external", "active", "CN", at + 86400 * 30, key_registered=True),
        requester=RequesterFacts("p", ("applicant",)),
        patient=PatientFacts("00", "certain", age="adult"),
        consent=ConsentFacts("permit", givers=("patient",)),
    )
    decision = engine.decide(facts)
    return None if decision.plan is None else (decision.plan["types"], set(decision.plan["labels"]["deny"]))


def no_more(part, whole):
    """An empty list restricts nothing."""
    return not whole or (bool(part) and set(part) <= set(whole))


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_what_the_rule_calls_narrower_leaves_no_more(engine, data):
    asked = tuple(data.draw(st.lists(lines(), min_size=1, max_size=3, unique=True)))
    given_lines = []
    for item in data.draw(st.lists(st.sampled_from(asked), min_size=1, unique=True)):
        below = [code for code in policy.catalogue().codes if item.data_class and code.startswith(f"{item.data_class}.")]
        fewer = [replace(item, elements=item.elements[:1], codes=item.codes[:1])] if item.resource_type else []
        given_lines.append(data.draw(st.sampled_from([item, *fewer, *(Item(data_class=code) for code in sorted(below))])))
    first, second = (Terms("TREAT", "consent", "shengli", tuple(one), date(2026, 12, 1)) for one in (asked, given_lines))
    if not is_narrower(first, second, asked_patients={1, 2}, given_patients={1}, types_of=policy.catalogue().types_of):
        return
    part, whole = planned(engine, tuple(given_lines)), planned(engine, asked)
    if part is None or whole is None:
        return  # Denied as a whole; an approval asks again and fails.
    assert part[0].keys() <= whole[0].keys()
    assert part[1] >= whole[1]
    for name, less in part[0].items():
        more = whole[0][name]
        for field in ("elements", "codes", "categories"):
            assert no_more(less[field], more[field]), (name, field)
