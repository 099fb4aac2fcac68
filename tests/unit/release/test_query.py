"""The query grammar: what isn't listed is refused, never ignored (attacks A01 to A28)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.fhir import definitions
from broker.release import filters, query
from broker.release.answers import Kind, Refusal
from broker.release.query import Wanted

ATTACKS = [
    ("_include", "Observation:performer"),
    ("_include", "*"),
    ("_include:iterate", "Patient:link"),
    ("_revinclude", "Provenance:target"),
    ("_revinclude:iterate", "List:item"),
    ("_has:Observation:patient:code-value-quantity", "X$gt3"),
    ("_has:Observation:patient:_has:AuditEvent:entity:agent", "x"),
    ("subject:Patient.name", "Zhang"),
    ("patient.identifier", "x|1"),
    ("subject", "p1"),
    ("_filter", "code eq 1"),
    ("code:contains", "2339"),
    ("code:exact", "2339-0"),
    ("code:not", "2339-0"),
    ("code:in", "http://vs"),
    ("code:above", "1"),
    ("code:of-type", "1"),
    ("patient:missing", "false"),
    ("value-quantity", "gt5"),
    ("_lastUpdated", "ap2020"),
    ("_lastUpdated:missing", "true"),
    ("_since", "2020"),
    ("_text", "HIV"),
    ("_content", "HIV"),
    ("_summary", "data"),
    ("_total", "all"),
    ("_sort", "value-quantity"),
    ("_elements", "telecom"),
    ("_elements", "code.coding"),
    ("_elements", "*"),
    ("_query", "x"),
    ("_contained", "both"),
    ("phone", "138"),
    ("coed", "2339-0"),
    ("access_token", "x"),
    ("", ""),
]


@pytest.mark.parametrize("attack", ATTACKS, ids=[name or "empty" for name, _ in ATTACKS])
def test_a_parameter_outside_the_grammar_is_refused(attack):
    answer = query.search("Observation", [("patient", "p1"), attack])
    assert isinstance(answer, Refusal)
    assert answer.kind is Kind.BAD_QUERY
    assert attack[1] == "" or attack[1] not in answer.detail  # values are not echoed


@pytest.mark.parametrize(
    ("kind", "name"), [("Patient", "phone"), ("Patient", "address"), ("Patient", "name"), ("Patient", "identifier"), ("Coverage", "code")]
)
def test_a_type_has_only_its_own_parameters(kind, name):
    assert isinstance(query.search(kind, [("patient" if kind != "Patient" else "_id", "p1"), (name, "x")]), Refusal)


def test_no_patient_is_never_everybody():
    assert isinstance(query.search("Observation", []), Refusal)
    assert isinstance(query.search("Patient", []), Refusal)
    assert isinstance(query.search("Observation", [("patient", "")]), Refusal)


@pytest.mark.parametrize(
    "value", ["p1,p2", "Patient/p1,Patient/p2", "Observation/p1", "../p1", "p1/x", "p1 ", "x" * 65, "http://evil.example/Patient/p1"]
)
def test_one_call_names_one_patient(value):
    assert isinstance(query.search("Observation", [("patient", value)]), Refusal)


def test_a_repeated_parameter_is_refused():
    assert isinstance(query.search("Observation", [("patient", "p1"), ("patient", "p2")]), Refusal)
    assert isinstance(query.search("Observation", [("patient", "p1"), ("code", "a"), ("code", "b")]), Refusal)


@pytest.mark.parametrize("value", ["0", "-1", "x", "1e3", "", "99999999"])
def test_count_is_a_whole_number_of_at_least_one(value):
    assert isinstance(query.search("Observation", [("patient", "p1"), ("_count", value)]), Refusal)


def test_a_good_search_is_understood():
    wanted = query.search("Observation", [("patient", "Patient/p1"), ("code", "http://loinc.org|2339-0,718-7"), ("_count", "1000")])
    assert isinstance(wanted, Wanted)
    assert (wanted.patient, wanted.types, wanted.count) == ("p1", ("Observation",), query.MAX_COUNT)


@given(st.lists(st.tuples(st.text(max_size=12), st.text(max_size=12)), max_size=4))
def test_whatever_comes_is_an_answer(pairs):
    answer = query.search("Observation", pairs)
    if isinstance(answer, Wanted):
        assert answer.patient
        assert {name for name, _ in pairs} <= {
            "patient",
            "_id",
            "_count",
            "_page",
            "_format",
            "code",
            "category",
            "date",
            "status",
            "_lastUpdated",
            "_elements",
            "_total",
        }


OBSERVATION = {
    "resourceType": "Observation",
    "status": "final",
    "category": [{"coding": [{"system": "http://cat", "code": "laboratory"}]}],
    "code": {"coding": [{"system": "http://loinc.org", "code": "2339-0"}]},
    "effectiveDateTime": "2024-05-06T10:00:00+08:00",
}


@pytest.mark.parametrize(
    ("name", "value", "fits"),
    [
        ("status", "final", True),
        ("status", "amended,final", True),
        ("status", "amended", False),
        ("code", "2339-0", True),
        ("code", "http://loinc.org|2339-0", True),
        ("code", "http://other|2339-0", False),
        ("code", "x,2339-0", True),
        ("code", "|2339-0", False),
        ("category", "laboratory", True),
        ("category", "vital-signs", False),
        ("date", "2024-05-06", True),
        ("date", "2024-05", True),
        ("date", "2024", True),
        ("date", "ge2024-05-06", True),
        ("date", "gt2024-05-06", False),
        ("date", "gt2024-05-05", True),
        ("date", "le2024-05-06", True),
        ("date", "lt2024-05-06", False),
        ("date", "lt2024-05-07", True),
        ("date", "2023", False),
    ],
)
def test_filters_look_at_what_is_shown(name, value, fits):
    assert isinstance(query.search("Observation", [("patient", "p1"), (name, value)]), Wanted)
    test = filters.matcher([(name, value)])
    assert test is not None
    assert test(OBSERVATION) is fits
    assert test({"resourceType": "Observation"}) is False


@pytest.mark.parametrize("value", ["2024-13", "2024-02-30", "yesterday", "ge", "2024-05-06T10:00", "ap2024", "2024-05-06,2024-05-07", "0000"])
def test_an_unreadable_date_is_refused(value):
    assert isinstance(query.search("Observation", [("patient", "p1"), ("date", value)]), Refusal)


def test_everything_takes_what_r4_names_and_nothing_else():
    wanted = query.everything("p1", [("_type", "Observation,Condition"), ("_count", "5")])
    assert isinstance(wanted, Wanted)
    assert wanted.types == ("Condition", "Observation")
    for good in [("_since", "2020-01-01T00:00:00Z"), ("start", "2020"), ("end", "2020-06-30")]:
        assert isinstance(query.everything("p1", [good]), Wanted)
    for bad in [
        ("_since", "2020"), ("_since", "gt2020-01-01T00:00:00Z"), ("_since", "2020-01-01T00:00:00"), ("start", "ge2020"), ("end", "2020-13"),
        ("start", "2020-01-01T00:00:00Z"), ("_type", "observation"), ("_type", "Observation,$x"), ("_include", "*"), ("_elements", "name"),
    ]:  # fmt: skip
        assert isinstance(query.everything("p1", [bad]), Refusal), bad


def test_a_read_takes_format_and_elements():
    assert isinstance(query.read("Observation", "o1", []), Wanted)
    assert isinstance(query.read("Observation", "o1", [("_format", "json")]), Wanted)
    assert isinstance(query.read("Observation", "o1", [("_elements", "code,value")]), Wanted)
    for bad in [("_elements", "telecom"), ("_summary", "true"), ("_count", "1")]:
        assert isinstance(query.read("Observation", "o1", [bad]), Refusal)
    xml = query.read("Observation", "o1", [("_format", "xml")])
    assert isinstance(xml, Refusal)
    assert xml.kind is Kind.NOT_ACCEPTABLE
    odd = query.read("Observation", "../../etc", [])
    assert isinstance(odd, Refusal)
    assert odd.kind is Kind.NOT_FOUND


@pytest.mark.parametrize("kind", sorted(filters.SEARCHABLE))
def test_every_parameter_looks_at_elements_that_the_type_has(kind):
    for name, parameter in filters.SEARCHABLE[kind].items():
        for element in parameter.elements:
            found = definitions.element(kind, element)
            assert element in definitions.json_names(kind, found.name), (name, element)
        assert parameter.shown_by([definitions.element(kind, parameter.elements[0]).name])
        assert not parameter.shown_by(["id", "subject"])


CONDITION = {"resourceType": "Condition", "meta": {"lastUpdated": "2026-02-03T04:05:06.789Z"}, "recordedDate": "2025-05-05", "clinicalStatus": {}}
GOAL = {"resourceType": "Goal", "meta": {"lastUpdated": "2026-02-03T04:05:06.789Z"}}


@pytest.mark.parametrize(
    ("name", "value", "fits", "dateless"),
    [
        ("_lastUpdated", "2026-02-03", True, True),
        ("_lastUpdated", "gt2026-02-03", False, False),
        ("_since", "2026-02-03T12:05:06+08:00", True, True),
        ("_since", "2026-02-03T04:05:08Z", False, False),
        ("start", "2025-05-05", True, True),
        ("start", "2025-05-06", False, True),
        ("end", "2025-05-05", True, True),
        ("end", "2025-05-04", False, True),
    ],
)
def test_changes_and_times_of_care_are_what_is_shown_of_them(name, value, fits, dateless):
    test = filters.matcher([(name, value)])
    assert test is not None
    assert test(CONDITION) is fits
    assert test(GOAL) is dateless


def test_a_granular_scope_narrows_its_own_type_alone():
    laboratory = (("category", "http://cat|laboratory"),)
    test = filters.matcher([], [("Observation", (laboratory,))])
    assert test is not None
    assert test(OBSERVATION)
    assert test(CONDITION)
    assert not test({**OBSERVATION, "category": [{"coding": [{"system": "http://other", "code": "laboratory"}]}]})
    assert not test({"resourceType": "Observation"})


def test_an_element_that_may_not_leave_is_not_searched():
    wanted = query.search("Observation", [("patient", "p1"), ("date", "2024"), ("status", "final")])
    assert isinstance(wanted, Wanted)
    assert query.hidden(wanted, {"Observation": ["status", "effective"]}) is None
    assert query.hidden(wanted, {"Observation": ["status", "effectiveDateTime"]}) is None
    refused = query.hidden(wanted, {"Observation": ["status", "code"]})
    assert refused is not None
    assert refused.kind is Kind.BAD_QUERY
