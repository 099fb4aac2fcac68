"""What may be referred to is the same however it is asked: as a whole, by type, page by page, one by one, under pseudonyms (decision 0020)."""

from __future__ import annotations

import json
from dataclasses import replace

import psycopg
import pytest

from broker.consent.residual import ResourceGate
from broker.crypto import Keys
from broker.database import Database
from broker.fhir.plan import ReleasePlan
from broker.records import service as records
from broker.release import collect
from broker.release.query import Wanted
from tests.factories.records import bundle, condition, observation, patient, raw, taken_in

ENCOUNTER = {"resourceType": "Encounter", "status": "finished", "class": {"code": "AMB"}, "subject": {"reference": "Patient/p1"}}
DEVICE = {"resourceType": "Device", "status": "active"}


def encounter(name: str, *conditions: str, begins: str = "2025-03-01T08:00:00Z") -> dict:
    named = [{"condition": {"reference": f"Condition/{one}"}, "rank": place} for place, one in enumerate(conditions, 1)]
    return ENCOUNTER | {"id": name, "period": {"start": begins, "end": begins}} | ({"diagnosis": named} if named else {})


@pytest.fixture
def filled(database: Database, keys: Keys) -> Database:
    """120 results of two visits, of which one is too old; a Condition that may leave and one that is too old; two devices."""
    results = [
        observation(f"o{number}", encounter={"reference": f"Encounter/{'new' if number % 2 else 'old'}"}, device={"reference": "Device/analyser"})
        for number in range(120)
    ]
    asthma = condition("asthma", onsetDateTime="2025-03-01", abatementDateTime="2025-03-02")
    measles = condition("measles", onsetDateTime="2001", abatementDateTime="2002")
    visits = encounter("new", "asthma", "measles"), encounter("old", begins="2001-03-01T08:00:00Z")
    devices = DEVICE | {"id": "analyser"}, DEVICE | {"id": "pump", "patient": {"reference": "Patient/p1"}}
    report = taken_in(database, keys, bundle(patient(), *results, asthma, measles, *visits, *devices))
    assert report.refused == 0, report
    return database


def plan(*, pseudonymous: bool = False, device: bool = False) -> ReleasePlan:
    period = {"period": {"start": "2024-01-01", "end": "2026-12-31"}}
    types = {
        "Patient": {"elements": ["gender"]},
        "Observation": {"elements": ["status", "code", "subject", "encounter", "device", "effective"]},
        "Encounter": {"elements": ["status", "class", "subject", "period", "diagnosis.condition", "diagnosis.rank"], **period},
        "Condition": {"elements": ["code", "subject", "onset"], **period},
    } | ({"Device": {"elements": ["status"]}} if device else {})
    if pseudonymous:
        types["Observation"]["transforms"] = [{"path": "subject", "do": "pseudonym"}]
    return ReleasePlan.from_json({"types": types, "labels": {"deny": [], "ceiling": "R"}})


def released(database: Database, keys: Keys, given: ReleasePlan, wanted: Wanted) -> dict[str, dict]:
    """What would be sent, as ``Type/id`` → resource."""

    async def found(cursor: psycopg.AsyncCursor) -> collect.Page | collect.Unsafe:
        vault = await records.vault(cursor, keys, keys.patient_key("p1"))
        assert vault is not None
        return await collect.page(cursor, keys, collect.Order(given, vault, ResourceGate(()), False, "r1", wanted, None))

    page = raw(database, found)
    assert isinstance(page, collect.Page), page
    return {f"{kind}/{name}": json.loads(body) for kind, name, body in page.resources}


EVERYTHING = Wanted(patient="p1", everything=True, path="x")


def test_a_resource_is_the_same_in_every_answer(filled, keys):
    whole = released(filled, keys, plan(), EVERYTHING)
    assert "Encounter/old" not in whole
    assert "Condition/measles" not in whole
    assert whole["Encounter/new"]["diagnosis"] == [{"condition": {"reference": "Condition/asthma"}, "rank": 1}]
    assert whole["Observation/o1"]["encounter"] == {"reference": "Encounter/new"}
    assert "encounter" not in whole["Observation/o2"]
    assert "device" not in whole["Observation/o1"]
    asked = (
        replace(EVERYTHING, types=("Encounter", "Observation")),
        replace(EVERYTHING, count=7),
        replace(EVERYTHING, filters=(("start", "2000-01-01"),)),
        Wanted(patient="p1", types=("Observation",), count=500, path="x"),
        Wanted(patient="p1", types=("Observation",), count=3, total=True, filters=(("status", "final"),), path="x"),
        Wanted(patient="p1", types=("Encounter",), path="x"),
    )
    for wanted in asked:
        some = released(filled, keys, plan(), wanted)
        assert some
        assert some.items() <= whole.items(), wanted


@pytest.mark.parametrize("number", [0, 1, 60, 118, 119])
def test_one_of_many_can_be_read(filled, keys, number):
    one = released(filled, keys, plan(), Wanted(types=("Observation",), id=f"o{number}", path="x"))
    assert list(one) == [f"Observation/o{number}"]
    assert ("encounter" in one[f"Observation/o{number}"]) == bool(number % 2)


def test_a_device_that_may_be_fetched_may_be_named(filled, keys):
    for wanted in (EVERYTHING, Wanted(patient="p1", types=("Observation",), count=2, path="x")):
        found = released(filled, keys, plan(device=True), wanted)
        assert {one["device"]["reference"] for name, one in found.items() if name.startswith("Observation")} == {"Device/analyser"}
    assert {"Device/pump", "Device/analyser"} <= released(filled, keys, plan(device=True), EVERYTHING).keys()


def test_pseudonyms_are_followed_to_what_they_stand_for(filled, keys):
    whole = released(filled, keys, plan(pseudonymous=True), EVERYTHING)
    some = released(filled, keys, plan(pseudonymous=True), Wanted(patient="p1", types=("Observation",), count=500, path="x"))
    assert len(some) == 120
    assert some.items() <= whole.items()
    named = {one["encounter"]["reference"] for one in some.values() if "encounter" in one}
    assert named == {name for name in whole if name.startswith("Encounter")}
    assert sum("encounter" in one for one in some.values()) == 60
