"""Transforms: what becomes of a value, that it stays valid R4, and that the checker sees when one was not carried out (RS-5.2.3, D18)."""

from __future__ import annotations

import json
from datetime import date, timedelta
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker import clock
from broker.fhir.checker import checker
from broker.fhir.minimise import Withheld, compiled
from broker.fhir.plan import PlanInvalid, ReleasePlan
from broker.fhir.transforms import FARTHEST, OLDEST, days_of, in_band, shifted
from broker.fhir.validate import problems

SECURITY = [{"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "N"}]


def plan(types, period=None):
    rows = {name: {"elements": sorted(elements), "transforms": transforms, "period": period or {}} for name, (elements, transforms) in types.items()}
    return ReleasePlan.from_json({"types": rows, "labels": {"deny": [], "ceiling": "N"}})


def pseudonym(kind, name):
    return sha256(f"{kind}/{name or 'patient-1'}".encode()).hexdigest()[:32]


def reduce(kept, resource, disguise=pseudonym):
    body = json.dumps(resource, ensure_ascii=False).encode()
    out = compiled(kept).reduce(
        resource["resourceType"], body, security=json.dumps(SECURITY).encode(), version=1, last_updated="2026-01-01T00:00:00Z", pseudonym=disguise
    )
    return json.loads(out, parse_float=str, parse_int=str), out


def one(resource, element, do, **options):
    """The resource reduced to an element under one transform; the checker agrees, and it is still R4."""
    transforms = [{"path": element, "do": do, "options": options}]
    kept = plan({resource["resourceType"]: ([element, *resource.keys() - {"resourceType", element}], transforms)})
    read, out = reduce(kept, resource)
    shown = read["id"] if resource["resourceType"] == "Patient" else pseudonym("Patient", "p1") if kept.pseudonymous else "p1"
    assert checker(kept).problems([out], patient=shown) == []
    assert problems(json.loads(out)) == []
    raw = plan({resource["resourceType"]: (kept.types[resource["resourceType"]].elements, [])})
    if not kept.pseudonymous:
        assert checker(kept).problems([reduce(raw, resource)[1]], patient=shown) != [], "the checker sees that it was not carried out"
    return read


PATIENT = {"resourceType": "Patient", "id": "p1"}
OBSERVATION = {
    "resourceType": "Observation",
    "id": "o1",
    "status": "final",
    "code": {"coding": [{"code": "x"}]},
    "subject": {"reference": "Patient/p1"},
}


@pytest.mark.parametrize(
    ("born", "years", "band"), [("1963-05-02", 5, "1960"), ("1967", 5, "1965"), ("1999-12", 10, "1990"), ("2019-01-31", 20, "2000")]
)
def test_a_date_of_birth_in_a_band(born, years, band):
    assert one({**PATIENT, "birthDate": born}, "birthDate", "age_band", years=years)["birthDate"] == band


def test_the_oldest_are_as_old_as_ninety():
    oldest = clock.now().year - OLDEST
    assert in_band("1901-01-01", 5) == in_band(str(oldest), 5) == str(oldest - oldest % 5)
    assert in_band("soon", 5) is None


def test_a_region_of_an_address():
    address = {
        "use": "home",
        "text": "解放路1号",
        "line": ["解放路1号"],
        "city": "示例市",
        "district": "东城",
        "state": "示例省",
        "postalCode": "100000",
        "country": "CN",
    }
    read = one({**PATIENT, "address": [address, {"line": ["x"]}]}, "address", "region")
    assert read["address"][0] == {"use": "home", "city": "示例市", "state": "示例省", "country": "CN"}
    assert read["address"][1]["extension"][0]["valueCode"] == "masked"


@pytest.mark.parametrize(
    ("value", "size", "bucket"), [("72.3", 5, "70"), ("69.99", 10, "60"), ("7", 7, "7"), ("-3.5", 5, "0"), ("0.0", 5, "0"), ("1e2", 30, "90")]
)
def test_a_number_in_a_bucket(value, size, bucket):
    body = json.dumps({**OBSERVATION, "valueQuantity": {"value": 0, "unit": "kg"}}).replace('"value": 0', f'"value": {value}').encode()
    kept = plan({"Observation": (["status", "code", "subject", "value"], [{"path": "value", "do": "bucket", "options": {"size": size}}])})
    out = compiled(kept).reduce("Observation", body, security=json.dumps(SECURITY).encode(), version=1, last_updated="2026-01-01T00:00:00Z")
    assert json.loads(out, parse_int=str, parse_float=str)["valueQuantity"] == {"value": bucket, "unit": "kg"}
    assert checker(kept).problems([out], patient="p1") == []
    given = plan({"Observation": (["status", "code", "subject", "value"], [])})
    raw = compiled(given).reduce("Observation", body, security=json.dumps(SECURITY).encode(), version=1, last_updated="2026-01-01T00:00:00Z")
    assert bool(checker(kept).problems([raw], patient="p1")) == (float(value) % size != 0)


def test_a_number_beyond_all_measure_is_withheld():
    body = json.dumps({**OBSERVATION, "valueQuantity": {"value": 0}}).replace('"value": 0', '"value": 1e99999').encode()
    kept = plan({"Observation": (["status", "code", "subject", "value"], [{"path": "value", "do": "bucket", "options": {"size": 5}}])})
    with pytest.raises(Withheld):
        compiled(kept).reduce("Observation", body, security=json.dumps(SECURITY).encode(), version=1, last_updated="2026-01-01T00:00:00Z")


def test_free_text_is_dropped_wherever_it_is_kept():
    coded = {"coding": [{"system": "http://loinc.org", "code": "1", "display": "张三的化验"}], "text": "张三"}
    resource = {**OBSERVATION, "code": coded, "valueString": "阴性", "referenceRange": [{"text": "张三", "low": {"value": 1, "unit": "mg"}}]}
    elements = ["status", "code", "code.text", "subject", "value", "valueString", "referenceRange", "referenceRange.text"]
    drops = [{"path": path, "do": "drop_text"} for path in ("code", "valueString", "referenceRange")]
    kept = plan({"Observation": (elements, drops)})
    read, out = reduce(kept, resource)
    assert read["code"] == {"coding": [{"system": "http://loinc.org", "code": "1"}]}
    assert "valueString" not in read
    assert read["referenceRange"] == [{"low": {"value": "1", "unit": "mg"}}]
    assert checker(kept).problems([out], patient="p1") == []
    assert problems(json.loads(out)) == []
    raw = reduce(plan({"Observation": (elements, [])}), resource)[1]
    assert {problem.code for problem in checker(kept).problems([raw], patient="p1")} == {"not-in-plan"}


@pytest.mark.parametrize(
    ("resource_type", "element", "transform"),
    [
        ("Patient", "gender", {"path": "gender", "do": "age_band"}),
        ("Patient", "birthDate", {"path": "birthDate", "do": "age_band", "options": {"years": 7}}),
        ("Patient", "birthDate", {"path": "birthDate", "do": "region"}),
        ("Patient", "gender", {"path": "gender", "do": "drop_text"}),
        ("Patient", "name", {"path": "name", "do": "bucket", "options": {"size": 5}}),
        ("Observation", "value", {"path": "value", "do": "bucket"}),
        ("Observation", "value", {"path": "value", "do": "bucket", "options": {"size": 0}}),
        ("Observation", "value", {"path": "value", "do": "bucket", "options": {"size": 5, "of": 3}}),
        ("Patient", "gender", {"path": "gender", "do": "shift"}),
    ],
)
def test_a_transform_that_does_not_apply_is_refused(resource_type, element, transform):
    with pytest.raises(PlanInvalid):
        compiled(plan({resource_type: ([element], [transform])}))


# Dates that move

SHIFT = [{"path": "effective", "do": "shift"}]
DAYS = days_of(pseudonym("date-shift", ""))


def moved(day):
    return (date.fromisoformat(day) + timedelta(days=DAYS)).isoformat()


def test_every_date_of_every_type_moves_by_the_same_days():
    kept = plan(
        {
            "Observation": (["status", "code", "subject", "effective", "issued"], SHIFT),
            "Encounter": (["status", "class", "subject", "period"], []),
            "Patient": (["birthDate"], []),
        }
    )
    assert kept.pseudonymous, "dates that move beside ids that stay would be moved back"
    observation, first = reduce(kept, {**OBSERVATION, "effectiveDateTime": "2024-05-17T08:30:00+08:00", "issued": "2024-05-17T09:00:00Z"})
    period = {"start": "2024-05-16", "end": "2024-05-20"}
    stay = {"resourceType": "Encounter", "id": "e1", "status": "finished", "class": {"code": "IMP"}, "subject": {"reference": "Patient/p1"}}
    encounter, second = reduce(kept, {**stay, "period": period})
    patient, third = reduce(kept, {**PATIENT, "birthDate": "1963-05-02"})
    assert observation["effectiveDateTime"] == f"{moved('2024-05-17')}T08:30:00+08:00"
    assert observation["issued"] == f"{moved('2024-05-17')}T09:00:00Z"
    assert encounter["period"] == {"start": moved("2024-05-16"), "end": moved("2024-05-20")}
    assert patient["birthDate"] == moved("1963-05-02")
    assert checker(kept).problems([first, second, third], patient=pseudonym("Patient", "p1")) == []


def test_a_release_whose_dates_move_past_its_window_is_still_sent():
    """The window is asked of the true date, before; what is seen afterwards may lie half a year beside it."""
    kept = plan({"Observation": (["status", "code", "subject", "effective"], SHIFT)}, {"start": "2024-05-17", "end": "2024-05-17"})
    _, out = reduce(kept, {**OBSERVATION, "effectiveDateTime": "2024-05-17"})
    assert checker(kept).problems([out], patient=pseudonym("Patient", "p1")) == []
    _, far = reduce(kept, {**OBSERVATION, "effectiveDateTime": "2021-05-17"})
    assert [problem.code for problem in checker(kept).problems([far], patient=pseudonym("Patient", "p1"))] == ["outside-period"]


def test_without_a_secret_nothing_moves_and_nothing_leaves():
    kept = plan({"Observation": (["status", "code", "subject", "effective"], SHIFT)})
    with pytest.raises(Withheld):
        reduce(kept, {**OBSERVATION, "effectiveDateTime": "2024-05-17"}, disguise=None)


@given(st.dates(date(1900, 1, 1), date(2100, 1, 1)), st.dates(date(1900, 1, 1), date(2100, 1, 1)), st.text(min_size=1))
def test_intervals_stay_and_no_date_does(first, second, secret):
    days = days_of(secret)
    assert days != 0
    assert -FARTHEST <= days <= FARTHEST
    assert date.fromisoformat(shifted(second.isoformat(), days)) - date.fromisoformat(shifted(first.isoformat(), days)) == second - first
    assert len(shifted(first.isoformat()[:7], days)) == 7
    assert len(shifted(first.isoformat()[:4], days)) == 4


def test_a_date_that_is_none_does_not_move():
    assert shifted("soon", 3) is None
    assert shifted("2024-02-31", 3) is None
    assert shifted("0001-01-01", -3) is None
