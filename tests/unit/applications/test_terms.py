"""The terms: there and back as JSON, what policy is told, and what an approval is bound to."""

from dataclasses import fields, replace
from datetime import UTC, date, datetime
from uuid import UUID
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from broker.applications.terms import Item, Terms, content_hash, day_end, day_start, patients_digest

TERMS = Terms(
    purpose="TREAT",
    lawful_basis="consent",
    recipient="shengli-cardiology",
    data=(Item(data_class="clinical.laboratory"), Item(resource_type="Observation", elements=("code", "value"), codes=("http://loinc.org|2339-0",))),
    valid_until=date(2026, 12, 31),
    period_start=date(2025, 1, 1),
    period_end=date(2026, 12, 31),
    retention_days=30,
    releases_limit=5,
    justified=True,
)
PATIENTS = patients_digest([UUID(int=1), UUID(int=2)])


def test_there_and_back():
    assert Terms.from_json(TERMS.to_json()) == TERMS
    bare = Terms("TREAT", "consent", "renhe", (Item(data_class="clinical"),), date(2026, 1, 1))
    assert Terms.from_json(bare.to_json()) == bare


def test_what_was_posted_is_what_policy_judges():
    assert [item.to_json() for item in TERMS.data] == [
        {"data_class": "clinical.laboratory"},
        {"resource_type": "Observation", "elements": ["code", "value"], "codes": ["http://loinc.org|2339-0"]},
    ]
    facts = TERMS.request_facts()
    assert facts.data == tuple(item.to_json() for item in TERMS.data)
    assert facts.period_from == int(datetime(2025, 1, 1, tzinfo=UTC).timestamp())
    assert facts.period_until == int(datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp())
    assert (facts.justification, facts.retention_days, facts.emergency) == (True, 30, False)


def test_days_are_whole():
    assert day_start(date(2026, 12, 31)) == datetime(2026, 12, 31, tzinfo=UTC)
    assert day_end(date(2026, 12, 31)) == datetime(2027, 1, 1, tzinfo=UTC)
    assert day_end(date(2026, 12, 31), ZoneInfo("Asia/Shanghai")) == datetime(2026, 12, 31, 16, tzinfo=UTC)


def test_an_approval_is_bound_to_every_field_and_every_patient():
    changed = {
        "purpose": "HRESCH",
        "lawful_basis": "statutory",
        "recipient": "renhe",
        "data": TERMS.data[:1],
        "valid_until": date(2027, 1, 1),
        "period_start": None,
        "period_end": None,
        "channel": "bulk",
        "urgency": "urgent",
        "retention_days": 31,
        "releases_limit": None,
        "justified": False,
        "frequency": (3, 3600),
        "emergency": True,
    }
    assert changed.keys() == {field.name for field in fields(Terms)}
    hashes = {content_hash(replace(TERMS, **{name: value}).to_json(), PATIENTS) for name, value in changed.items()}
    hashes |= {content_hash(TERMS.to_json(), PATIENTS), content_hash(TERMS.to_json(), patients_digest([UUID(int=1)]))}
    assert len(hashes) == len(changed) + 2


def test_the_order_of_json_and_of_patients_changes_nothing():
    backwards = dict(reversed(TERMS.to_json().items()))
    assert content_hash(backwards, PATIENTS) == content_hash(TERMS.to_json(), PATIENTS)
    assert patients_digest([UUID(int=2), UUID(int=1)]) == PATIENTS


@given(st.lists(st.uuids(), unique=True))
def test_no_two_sets_of_patients_share_a_digest(patients):
    assert (patients_digest(patients) == PATIENTS) is (set(patients) == {UUID(int=1), UUID(int=2)})
