"""The checker stops every way in which a minimiser, or the fetch before it, could be wrong (design §4, step 6)."""

import ast
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.fhir import checker as checker_module
from broker.fhir.checker import Checker, checker
from broker.fhir.checker_period import Period, _bounds
from broker.fhir.minimise import compiled
from broker.fhir.plan import ReleasePlan

SYSTEM = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
ACT = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
NORMAL = [{"system": SYSTEM, "code": "N"}]
TAG = [{"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "SUBSETTED"}]
META = {"versionId": "1", "lastUpdated": "2026-01-01T00:00:00.000Z", "security": NORMAL, "tag": TAG}
MASKED = {"extension": [{"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "masked"}]}
CODE = {"coding": [{"system": "http://loinc.org", "code": "2339-0"}]}
WHOLE = {
    "text": {"status": "generated", "div": "<div>x</div>"},
    "contained": [{"resourceType": "Patient", "id": "c"}],
    "extension": [{"url": "u", "valueString": "x"}],
    "identifier": [{"value": "x"}],
    "note": [{"text": "x"}],
}


def plan(resource_type, *elements, deny=(), ceiling="N", **more):
    return ReleasePlan.from_json({"types": {resource_type: {"elements": list(elements), **more}}, "labels": {"deny": list(deny), "ceiling": ceiling}})


def found(given_plan, resource, patient="p1"):
    """What is wrong with a resource: the same alone and among others, and however it is written."""
    resource = {"resourceType": next(iter(given_plan.types)), "id": "a1", "meta": META, **resource}
    alone = checker(given_plan).problems([json.dumps(resource).encode()], patient=patient)
    order = {**dict.fromkeys(("resourceType", "meta", "id")), **resource}
    good = as_written({"resourceType": "Basic", "meta": META, "id": "b", "code": MASKED})
    form = given_plan.to_json()
    form["types"].setdefault("Basic", {"elements": []})
    among = checker(ReleasePlan.from_json(form)).problems([good, as_written(order), good], patient=patient)
    own = [(problem.path.replace("[1]", "[0]"), problem.code, problem.message) for problem in among if problem.path.startswith("[1]")]
    assert own == [(problem.path, problem.code, problem.message) for problem in alone]
    return {(problem.path, problem.code) for problem in alone}


def as_written(resource):
    """As the minimiser writes: compact, ``meta`` before ``id``."""
    return json.dumps(resource, separators=(",", ":"), ensure_ascii=False).encode()


def codes(given_plan, resource, patient="p1"):
    return {code for _, code in found(given_plan, resource, patient)}


OBSERVATION = {"status": "final", "code": CODE, "subject": {"reference": "Patient/p1"}}
YEAR = {"start": "2025-01-01", "end": "2025-12-31"}
LAB = plan("Observation", "status", "code", "subject", "effective", "value", "component")


def test_what_the_plan_lets_leave_may_leave():
    resource = {**OBSERVATION, "effectiveDateTime": "2025-01-01", "valueQuantity": {"value": 13.2, "unit": "g"}, "component": [{"code": CODE}]}
    assert found(LAB, resource) == set()


def test_it_shares_no_code_with_the_minimiser():
    """Imports of the checker, followed: no file of the minimiser is among them."""
    minimiser = {"minimise", "keeplist", "fastpath", "slowpath", "filters", "transforms", "withheld", "references"}
    folder = Path(checker_module.__file__).parent
    seen, waiting = set(), ["checker"]
    while waiting:
        name = waiting.pop()
        if name in seen or not (folder / f"{name}.py").exists():
            continue
        seen.add(name)
        for node in ast.walk(ast.parse((folder / f"{name}.py").read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("broker.fhir"):
                waiting += [node.module.rpartition(".")[2], *(alias.name for alias in node.names)]
    assert "checker_schema" in seen
    assert seen & minimiser == set()


@pytest.mark.parametrize("name", WHOLE)
def test_what_the_plan_does_not_name_is_found(name):
    assert found(LAB, {**OBSERVATION, name: WHOLE[name]}) == {(f"[0].Observation.{name}", "not-in-plan")}


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"code": {**CODE, "text": "x"}}, "code.text"),
        ({"code": {"coding": [{"code": "x", "extension": [{"url": "u"}]}]}}, "code.coding.0.extension.0"),
        ({"code": {"id": "x", **CODE}}, "code.id"),
        ({"subject": {"reference": "Patient/p1", "display": "张三"}}, "subject.display"),
        ({"subject": {"reference": "Patient/p1", "identifier": {"value": "x"}}}, "subject.identifier"),
        ({"valueString": "x"}, "valueString"),
        ({"component": [{"code": CODE, "valueString": "x"}]}, "component.0.valueString"),
        ({"component": [{"code": CODE, "modifierExtension": [{"url": "u"}]}]}, "component.0.modifierExtension"),
        ({"modifierExtension": [{"url": "u"}]}, "modifierExtension"),
        ({"implicitRules": "http://x"}, "implicitRules"),
        ({"_effectiveDateTime": {"id": "x"}}, "_effectiveDateTime"),
        ({"_status": {"id": "x", **MASKED}}, "_status.id"),
        ({"_status": {"extension": [{"url": "u", "valueString": "x"}]}}, "_status.extension.0"),
        ({"subject": {**MASKED, "display": "x"}}, "subject.display"),
        ({"subject": {"extension": [*MASKED["extension"], {"url": "u"}]}}, "subject.extension"),
        ({"subject": {"extension": [{**MASKED["extension"][0], "valueString": "x"}]}}, "subject.extension.0"),
        ({"subject": {}}, "subject"),
        ({"component": []}, "component"),
        ({"status": {"text": "x"}}, "status"),
        ({"status": None}, "status"),
        ({"valueQuantity": {"value": "x"}}, "valueQuantity.value"),
        ({"valueBoolean": "x"}, "valueBoolean"),
        ({"subject": {"reference": "#p"}}, "subject.reference"),
        ({"subject": {"reference": "Patient?identifier=1"}}, "subject.reference"),
        ({"id": "张三"}, "id"),
        ({"id": "a" * 65}, "id"),
        ({"meta": {**META, "source": "x"}}, "meta.source"),
        ({"meta": {**META, "tag": [*TAG, {"code": "x"}]}}, "meta.tag"),
        ({"meta": {**META, "security": [{**NORMAL[0], "display": 1}]}}, "meta.security.0.display"),
        ({"meta": {**META, "security": []}}, "meta.security"),
        ({"meta": {**META, "lastUpdated": "yesterday"}}, "meta.lastUpdated"),
        ({"meta": {}}, "meta"),
        ({"张三": 1}, "?"),
    ],
)
def test_one_thing_too_much_is_found_at_its_place(change, path):
    problems = found(LAB, {**OBSERVATION, **change})
    assert f"[0].Observation.{path}" in {where for where, _ in problems}
    assert "张三" not in str(problems)


def test_stand_ins_are_no_problem():
    assert found(plan("Observation"), {"_status": MASKED, "code": MASKED}) == set()
    unknown = json.loads(json.dumps(MASKED).replace("masked", "unknown"))
    assert found(LAB, {**OBSERVATION, "_status": unknown, "subject": MASKED}) == set()
    insurance = [{**MASKED, "_sequence": MASKED, "_focal": MASKED, "coverage": MASKED}]
    assert found(plan("Claim"), {"insurance": insurance}) == set()
    assert codes(plan("Claim"), {"insurance": [{"sequence": 1}]}) == {"not-in-plan"}
    adjudication = {"adjudication": [{"category": CODE, "amount": {"value": 1.5, "currency": "CNY"}}]}
    assert codes(plan("ClaimResponse", "adjudication"), adjudication) == set()
    assert codes(plan("Claim"), {"insurance": [{"coverage": {"reference": "Coverage/1"}}]}) == {"not-in-plan"}


def test_what_is_no_resource_of_the_plan_is_found():
    for body in (
        b"",
        b"[]",
        b"{",
        b'"x"',
        b"{}",
        b'{"resourceType":"Patient"}',
        b'{"resourceType":["Observation"]}',
        b'{"a":"\xff"}',
        b'{"a":"\\ud800"}',
    ):
        assert [problem.path for problem in Checker(LAB).problems([body], patient="p1")] == ["[0]"]


def test_each_resource_is_judged_and_named_by_its_position():
    good = json.dumps({"resourceType": "Observation", "id": "a", "meta": META, **OBSERVATION}).encode()
    assert {problem.path for problem in Checker(LAB).problems([good, b"{}", good, b"[]"], patient="p1")} == {"[1]", "[3]"}
    assert Checker(LAB).problems([], patient="p1") == []


# Many at once


def lines(number, **more):
    return as_written({"resourceType": "Observation", "meta": META, "id": f"a{number}", **OBSERVATION, **more})


def test_nothing_is_doubtful_about_what_the_minimiser_writes():
    dated = plan("Observation", "status", "code", "subject", "effective", period=YEAR)
    many = [lines(number, effectiveDateTime="2025-06-01T10:00:00+08:00") for number in range(40)]
    assert Checker(dated)._doubtful(many, b'p1"') == []


@pytest.mark.parametrize("place", [0, 7, 15, 16, 39])
@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (lines(0, note=[{"text": "x"}]), "not-in-plan"),
        (lines(0, subject={"reference": "Patient/p2"}), "other-patient"),
        (lines(0, effectiveDateTime="2023-01-01"), "outside-period"),
        (lines(0).replace(b'"N"', b'"V"'), "above-ceiling"),
        (lines(0).replace(b'"N"', b'"HIV"'), "above-ceiling"),
        (lines(0)[:-1] + b',"meta":{}}', "missing"),
        (lines(0)[:-1] + b',"meta":' + as_written(META).replace(b'"N"', b'"V"') + b"}", "above-ceiling"),
        (lines(0)[:-1] + b',"resourceType":"Device"}', "not-in-plan"),
        (lines(0).replace(b'"meta"', b'"note":[],"meta"'), "not-in-plan"),
        (lines(0).replace(b'"meta"', b'"id":"x"},"id":"y","meta"'), "not-in-plan"),
        (lines(0)[:-1], "not-in-plan"),
        (lines(0) + b",{}", "not-in-plan"),
        (b"", "not-in-plan"),
        (b'},"id":"x"}', "not-in-plan"),
    ],
)
def test_one_bad_among_many_is_found(bad, code, place):
    dated = plan("Observation", "status", "code", "subject", "effective", period=YEAR, deny=["PSY"])
    many = [bad if number == place else lines(number, effectiveDateTime="2025-06-01") for number in range(40)]
    problems = Checker(dated).problems(many, patient="p1")
    assert {problem.path.partition(".")[0] for problem in problems} == {f"[{place}]"}
    assert code in {problem.code for problem in problems}
    assert problems == Checker(dated)._judge(bad, place, "p1", b'p1"')


def test_two_halves_do_not_make_a_whole():
    one, two = lines(1).split(b'"status"')
    problems = Checker(LAB).problems([lines(0), one + b'"status":"', b'","status"' + two, lines(2)], patient="p1")
    assert [problem.path for problem in problems] == ["[1]", "[2]"]


# The patient


@pytest.mark.parametrize(
    "reference", ["Patient/p1", "Patient/p1/_history/2", "https://hospital.example/fhir/Patient/p1", "urn:uuid:p1", "Group/g", "Device/Patient"]
)
def test_the_patient_of_the_release_may_be_referred_to(reference):
    assert found(LAB, {**OBSERVATION, "subject": {"reference": reference}}) == set()
    if "Patient/p1" in reference:
        assert found(LAB, {**OBSERVATION, "subject": {"reference": reference, "type": "Patient"}}) == set()


@pytest.mark.parametrize(
    "reference", ["Patient/p2", "Patient/p11", "Patient/p2/_history/1", "https://hospital.example/fhir/Patient/p2", "Patient/p1x", "x/Patient/p"]
)
def test_another_patient_is_found(reference):
    assert found(LAB, {**OBSERVATION, "subject": {"reference": reference}}) == {("[0].Observation.subject", "other-patient")}


def test_another_patient_is_found_however_it_is_written():
    assert codes(LAB, {**OBSERVATION, "subject": {"reference": "urn:uuid:p2", "type": "Patient"}}) == {"other-patient"}
    assert codes(LAB, {**OBSERVATION, "subject": {"type": "Patient"}}) == set()
    escaped = json.dumps({"resourceType": "Observation", "id": "a", "meta": META, **OBSERVATION}).replace("Patient/p1", "Patient\\/p2").encode()
    assert {problem.code for problem in Checker(LAB).problems([escaped], patient="p1")} == {"other-patient"}


def test_every_reference_of_the_compartment_counts_and_no_other():
    kept = plan("Observation", "status", "code", "subject", "performer", "focus")
    two = [{"reference": "Practitioner/d"}, {"reference": "Patient/p2"}]
    assert found(kept, {**OBSERVATION, "performer": two}) == {("[0].Observation.performer", "other-patient")}
    assert found(kept, {**OBSERVATION, "focus": two}) == set()
    appointment = plan("Appointment", "status", "participant")
    participants = [{"actor": {"reference": "Patient/p1"}, "status": "accepted"}, {"actor": {"reference": "Patient/p2"}, "status": "accepted"}]
    assert codes(appointment, {"status": "booked", "participant": participants}) == {"other-patient"}


def test_a_patient_is_the_patient():
    assert found(plan("Patient", "gender"), {"gender": "male"}, patient="a1") == set()
    assert found(plan("Patient", "gender"), {"gender": "male"}, patient="p1") == {("[0].Patient.id", "other-patient")}
    other = {"link": [{"other": {"reference": "Patient/p2"}, "type": "seealso"}]}
    assert codes(plan("Patient", "link"), other, patient="a1") == {"other-patient"}
    assert found(plan("Practitioner", "name"), {"name": [{"text": "x"}]}) == set()


# Labels


def labelled(given_plan, *labels):
    security = [{"system": SYSTEM if code in "ULMNRV" else ACT, "code": code} for code in labels]
    return codes(given_plan, {**OBSERVATION, "meta": {**META, "security": security}})


def lab(**more):
    return plan("Observation", "status", "code", "subject", **more)


def test_labels_must_be_within_the_plan():
    assert labelled(lab(), "N") == set()
    assert labelled(lab(), "N", "HIV") == set()
    assert labelled(lab(deny=["HIV"]), "N", "HIV") == {"denied-label"}
    assert labelled(lab(deny=["HIV"]), "HIV") == {"denied-label"}
    assert labelled(lab(deny=["N"]), "N") == {"denied-label"}
    assert labelled(lab(), "HIV") == {"no-confidentiality"}
    assert labelled(lab(), "unclassified") == {"no-confidentiality"}


def test_the_ceiling_is_ordered():
    for at, ceiling in enumerate("ULMNRV"):
        for rank, label in enumerate("ULMNRV"):
            assert labelled(lab(ceiling=ceiling), label) == (set() if rank <= at else {"above-ceiling"})
    assert labelled(lab(ceiling="N"), "N", "R") == {"above-ceiling"}


def test_a_code_counts_as_confidentiality_in_its_own_system_alone():
    security = [{"system": ACT, "code": "N"}]
    assert codes(lab(), {**OBSERVATION, "meta": {**META, "security": security}}) == {"no-confidentiality"}
    assert codes(lab(), {**OBSERVATION, "meta": {**META, "security": [{"system": SYSTEM, "code": "X"}]}}) == {"above-ceiling"}


def test_only_so_many_label_sets_are_remembered():
    many = Checker(lab())
    many._labels = dict.fromkeys(((str(number),) for number in range(4096)), None)
    body = json.dumps({"resourceType": "Observation", "id": "a", "meta": META, **OBSERVATION}).encode()
    assert many.problems([body], patient="p1") == []
    assert len(many._labels) == 4096


# The period


def inside(resource_type, period, resource, *elements):
    return found(plan(resource_type, *elements, period=period), resource) == set()


@pytest.mark.parametrize(
    ("resource", "expected"),
    [
        ({"effectiveDateTime": "2025-06-01"}, True),
        ({"effectiveDateTime": "2025"}, True),
        ({"effectiveDateTime": "2024-12"}, True),  # Its last day may still be 2025 in the west.
        ({"effectiveDateTime": "2024-11"}, False),
        ({"effectiveDateTime": "2023"}, False),
        ({"effectiveDateTime": "2026-02"}, False),
        ({"effectiveDateTime": "2026-06-01"}, False),
        ({"effectiveDateTime": "2025-01-01T00:00:00Z"}, True),
        ({"effectiveDateTime": "2025-01-01T07:59:59+08:00"}, False),
        ({"effectiveDateTime": "2025-12-31T23:59:59Z"}, True),
        ({"effectiveDateTime": "2026-01-01T00:00:00Z"}, False),
        ({"effectiveDateTime": "2026-06-01T00:00:00"}, True),  # Without an offset it can't be judged.
        ({"effectiveDateTime": "someday"}, True),
        ({"effectiveDateTime": "2026-15-01"}, True),
        ({"effectiveDateTime": "9999"}, True),
        ({"effectivePeriod": {"start": "2020-01-01", "end": "2030-01-01"}}, True),
        ({"effectivePeriod": {"start": "2020-01-01"}}, True),
        ({"effectivePeriod": {"end": "2024-01-01"}}, False),
        ({"effectivePeriod": {"start": "2026-06-01"}}, False),
        ({"effectiveInstant": "2026-06-01T00:00:00Z"}, False),
        ({"issued": "2026-06-01T00:00:00Z"}, False),
        ({"effectiveDateTime": "2025-06-01", "issued": "2026-06-01T00:00:00Z"}, True),
        ({}, True),
    ],
)
def test_dates_that_show_must_be_in_the_period(resource, expected):
    assert inside("Observation", YEAR, {**OBSERVATION, **resource}, "status", "code", "subject", "effective", "issued") is expected


def test_open_ends_of_the_period():
    late = {**OBSERVATION, "effectiveDateTime": "2030-06-01"}
    kept = ("status", "code", "subject", "effective")
    assert inside("Observation", {"start": "2025-01-01"}, late, *kept)
    assert not inside("Observation", {"end": "2025-01-01"}, late, *kept)


def test_a_day_may_be_another_day_elsewhere():
    kept = ("status", "code", "subject", "effective")
    for period in ({"start": "2025-01-01T05:00:00Z"}, {"end": "2024-12-30T19:00:00Z"}):
        assert inside("Observation", period, {**OBSERVATION, "effectiveDateTime": "2024-12-31"}, *kept)
    for period in ({"start": "2025-01-01T15:00:00Z"}, {"end": "2024-12-30T09:00:00Z"}):
        assert not inside("Observation", period, {**OBSERVATION, "effectiveDateTime": "2024-12-31"}, *kept)


MIDNIGHT = 1_750_000_000 // 86_400 * 86_400


@settings(max_examples=400)
@given(
    st.integers(-400, 400),
    st.sampled_from(["", "T00:00:00+14:00", "T23:59:59-12:00", "T00:00:00+23:59", "T12:00:00Z", "T25:00:00Z", "T10:00:00", "x"]),
    st.integers(-60, 60),
    st.sampled_from([1, 30, 47, 48, 49, 72, 100, 5000, 10_000]),
    st.booleans(),
    st.sampled_from([4, 7, 10, 40, 40]),
)
def test_what_its_digits_say_is_what_its_moment_says(days, time, edge, hours, ends, cut):
    """The short way agrees with the arithmetic, above all near both edges of the window."""
    text = (datetime.fromtimestamp(MIDNIGHT + days // 100 * 86_400, UTC).date().isoformat() + time)[:cut]
    low, high = _bounds(text)
    for first in (edge, edge - hours):
        start, until = MIDNIGHT + first * 3600, MIDNIGHT + (first + hours) * 3600
        period = Period("Observation", start, until, frozenset({"effectiveDateTime", "effectivePeriod"}))
        value = {"effectivePeriod": {"start": text, "end": text}} if ends else {"effectiveDateTime": text}
        assert period.holds(value) is (low <= until and high >= start)


@settings(max_examples=60)
@given(
    st.lists(
        st.one_of(
            st.dates(datetime(2023, 11, 1).date(), datetime(2026, 2, 1).date()).map(lambda day: {"effectiveDateTime": day.isoformat()}),  # noqa: DTZ001
            st.sampled_from([
                {}, {"effectiveDateTime": "2025"}, {"effectiveDateTime": "2024-12"}, {"effectiveDateTime": "someday"},
                {"effectivePeriod": {"start": "2024-06-01"}}, {"effectivePeriod": {"end": "2025-02-01"}},
                {"effectiveInstant": "2025-01-01T00:00:00Z"},
            ]),
        ),
        min_size=1, max_size=20,
    ),
    st.lists(st.booleans(), min_size=20, max_size=20),
)  # fmt: skip
def test_how_far_dates_reach_says_what_each_of_them_says(dates, written):
    """What was examined once tells whether a window that has moved holds it all, resource for resource (``release.prepared``)."""
    kept = ("status", "code", "subject", "effective", "issued")
    bodies = [
        as_written({"resourceType": "Observation", "meta": META, "id": "a", **OBSERVATION, **each})
        if quick else json.dumps({"id": "a", "resourceType": "Observation", "meta": META, **OBSERVATION, **each}).encode()
        for each, quick in zip(dates, written, strict=False)
    ]  # fmt: skip
    problems, reaches = Checker(plan("Observation", *kept, period={"start": "2000-01-01"})).examined(bodies, patient="p1")
    assert problems == []
    assert list(reaches) == ["Observation"]
    for period in ({"start": "2024-01-01"}, {"start": "2025-01-01"}, {"start": "2025-01-01", "end": "2025-06-30"}, {"end": "2024-12-31"}):
        moved = Checker(plan("Observation", *kept, period=period))
        assert moved.spans("Observation", reaches["Observation"]) is (moved.problems(bodies, patient="p1") == [])
    wrong = plan("Observation", "status", "code", "subject", period={"start": "2000-01-01"})
    if any(dates):
        problems, reaches = Checker(wrong).examined(bodies, patient="p1")
        assert problems == Checker(wrong).problems(bodies, patient="p1") != []
        assert reaches == {}


def test_a_week_is_no_day():
    period = Period("Observation", 1_740_000_000, None, frozenset({"effectiveDateTime"}))
    assert not period.holds({"effectiveDateTime": "2025-W01-1T00:00:00+00:00"})


def test_a_hidden_date_is_not_judged():
    """``issued`` is the second best; what the better one says is not to be seen."""
    assert inside("Observation", YEAR, {**OBSERVATION, "issued": "2026-06-01T00:00:00Z"}, "status", "code", "subject", "issued")
    kept = plan("Observation", "status", "code", "subject", "effective", "issued", period=YEAR, transforms=[{"path": "effective", "do": "year"}])
    assert found(kept, {**OBSERVATION, "_effectiveInstant": MASKED, "issued": "2026-06-01T00:00:00Z"}) == set()


def test_a_state_that_lasts_is_in_every_period_until_it_ends():
    condition = {"subject": {"reference": "Patient/p1"}, "onsetDateTime": "2010-01-01"}
    kept = ("subject", "onset", "abatement")
    assert inside("Condition", YEAR, condition, *kept)
    assert not inside("Condition", YEAR, {**condition, "abatementDateTime": "2011-01-01"}, *kept)
    assert not inside("Condition", YEAR, {**condition, "onsetDateTime": "2027-01-01"}, *kept)
    assert inside("Condition", YEAR, {**condition, "abatementDateTime": "2025-03-01"}, *kept)
    assert inside("AllergyIntolerance", YEAR, {"patient": {"reference": "Patient/p1"}, "onsetDateTime": "2010"}, "patient", "onset")
    assert inside("Patient", YEAR, {"birthDate": "1950-01-01"}, "birthDate") is False  # The id is another's; its dates are not looked at.
    assert found(plan("Patient", "birthDate", period=YEAR), {"birthDate": "1950-01-01"}, patient="a1") == set()


# Transforms


def transformed(resource_type, element, do, value, path=None, **options):
    name = element.split(".")[0]
    kept = plan(resource_type, element, transforms=[{"path": path or element, "do": do, "options": options}])
    return codes(kept, {name: value}, patient="a1") == set()


def test_dates_must_be_as_coarse_as_asked():
    assert transformed("Patient", "birthDate", "year", "1980")
    assert not transformed("Patient", "birthDate", "year", "1980-01")
    assert transformed("Patient", "birthDate", "month", "1980-01")
    assert transformed("Patient", "birthDate", "month", "1980")
    assert not transformed("Patient", "birthDate", "month", "1980-01-02")
    assert not transformed("Encounter", "period", "year", {"start": "2024-05-17"})
    assert not transformed("Encounter", "period", "year", {"start": "2024", "end": "2024-05-17T10:00:00Z"})
    assert transformed("Encounter", "period", "year", {"start": "2024", "end": "2024"})
    assert not transformed("Encounter", "location", "year", [{"period": {"start": "2024-05-17"}}])


def test_an_instant_must_be_gone_where_dates_are_coarse():
    kept = plan("Observation", "status", "code", "subject", "issued", transforms=[{"path": "issued", "do": "year"}])
    assert found(kept, {**OBSERVATION, "issued": "2024-05-17T10:00:00Z"}) == {("[0].Observation.issued", "not-in-plan")}
    assert found(kept, {**OBSERVATION, "_issued": MASKED}) == set()


def test_names_must_be_masked():
    assert transformed("Patient", "name", "mask", [{"text": "张**", "family": "张**", "given": ["**"], "use": "official"}])
    for name in ({"text": "张三丰"}, {"family": "张三"}, {"given": ["三丰"]}, {"prefix": ["Dr"]}, {"suffix": ["MD"]}, {"text": "张三丰**"}):
        assert not transformed("Patient", "name", "mask", [name])
    assert transformed("Patient", "telecom", "mask", [{"value": "138****1234"}, {"value": "****"}])
    for value in ("13812341234", "138***1234", "a@b.cn", "****1"):
        assert not transformed("Patient", "telecom", "mask", [{"value": value}])
    assert transformed("Organization", "name", "mask", "仁**")
    assert not transformed("Organization", "name", "mask", "仁和医院")


def test_what_is_removed_must_be_gone_and_no_more_than_the_first_may_stay():
    assert not transformed("Patient", "name", "remove", [{"text": "x"}])
    assert not transformed("Patient", "name", "remove", [{"text": "x", "family": "y"}], path="name.text")
    assert transformed("Patient", "name", "remove", [{"family": "y"}], path="name.text")
    assert transformed("Patient", "name", "keep_first", [{"text": "x"}])
    assert not transformed("Patient", "name", "keep_first", [{"text": "x"}, {"text": "y"}])
    assert transformed("Patient", "name", "keep_first", [{"text": "x"}, {"text": "y"}], count=2)


def test_pseudonymous_references_name_nothing_but_a_type_and_an_id():
    kept = plan("Observation", "status", "code", "subject", transforms=[{"path": "subject", "do": "pseudonym"}])
    assert found(kept, OBSERVATION) == set()
    for reference in ("https://x/Patient/p1", "urn:uuid:p1", "Patient/p1/_history/1"):
        assert codes(kept, {**OBSERVATION, "subject": {"reference": reference}}) == {"wrong-form"}


def test_dates_on_every_level_of_an_element_defined_by_itself():
    kept = plan("QuestionnaireResponse", "status", "item", transforms=[{"path": "item", "do": "year"}])
    deep = {"status": "completed", "item": [{"_linkId": MASKED, "item": [{"_linkId": MASKED, "answer": [{"valueDate": "2024"}]}]}]}
    assert found(kept, deep) == set()
    assert codes(kept, json.loads(json.dumps(deep).replace('"2024"', '"2024-05-17"'))) == {"wrong-form"}
    assert codes(kept, json.loads(json.dumps(deep).replace('"answer"', '"text": "x", "answer"'))) == {"not-in-plan"}


# The minimiser broken on purpose


@pytest.mark.parametrize(
    "transform",
    [
        {"path": "birthDate", "do": "year"},
        {"path": "name", "do": "mask"},
        {"path": "telecom", "do": "mask"},
        {"path": "name", "do": "keep_first"},
        {"path": "name.text", "do": "remove"},
    ],
)
def test_a_transform_that_was_not_carried_out_is_found(transform):
    patient = {"name": [{"text": "张三丰"}, {"text": "李四"}], "birthDate": "1980-01-02", "telecom": [{"value": "13812341234"}]}
    body = json.dumps({"resourceType": "Patient", "id": "a1", **patient}).encode()
    with_it, without = (plan("Patient", "name", "birthDate", "telecom", transforms=given) for given in ([transform], []))

    def reduced(given_plan):
        return compiled(given_plan).reduce("Patient", body, security=json.dumps(NORMAL).encode(), version=1, last_updated="2026-01-01T00:00:00Z")

    assert checker(with_it).problems([reduced(with_it)], patient="a1") == []
    assert checker(with_it).problems([reduced(without)], patient="a1") != []
