"""References to what the recipient may not fetch go, whole, and the checker finds one that stayed (docs/decisions/0020)."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.fhir import definitions
from broker.fhir.checker import checker
from broker.fhir.minimise import compiled
from broker.fhir.plan import NOBODYS_TYPES, ReleasePlan
from broker.fhir.references import mentioned, target_of, tells_nothing
from broker.fhir.slowpath import parsed
from broker.fhir.validate import problems
from broker.records.compartment import SHARED_TYPES

SECURITY = b'[{"system":"http://terminology.hl7.org/CodeSystem/v3-Confidentiality","code":"N"}]'
MASKED = {"extension": [{"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "masked"}]}
SUBJECT = {"reference": "Patient/p1"}


def plan(resource_type, *elements):
    return ReleasePlan.from_json({"types": {resource_type: {"elements": list(elements)}}, "labels": {"deny": [], "ceiling": "N"}})


def minimised(given_plan, resource):
    body = json.dumps({"id": "a1"} | resource, ensure_ascii=False).encode()
    made = compiled(given_plan).reduce(resource["resourceType"], body, security=SECURITY, version=1, last_updated="2026-01-01T00:00:00.000Z")
    assert made is not None
    return made


def out(given_plan, resource, *reachable):
    """The resource as it would leave where these may be fetched; the checker agrees with it, and not with what still refers elsewhere."""
    before = minimised(given_plan, resource)
    within = {"Patient/p1", *reachable}
    gone = {one for one in mentioned([before]) if not tells_nothing(one) and one.decode() not in within}
    after = compiled(given_plan).without(resource["resourceType"], before, gone)
    codes = {problem.code for problem in checker(given_plan).problems([before] * 3, patient="p1", reachable=within)}
    assert codes == ({"dangling-reference"} if before != after else set())
    assert checker(given_plan).problems([after] * 3, patient="p1", reachable=within) == []
    assert [one.code for one in problems(json.loads(after)) if one.code != "code-not-in-value-set"] == []
    kept = json.loads(after)
    return {name: value for name, value in kept.items() if name not in ("meta", "id", "resourceType")}


ENCOUNTER = {"resourceType": "Encounter", "status": "finished", "class": {"code": "AMB"}, "subject": SUBJECT}
SEEN = plan(
    "Encounter", "status", "class", "subject", "diagnosis.condition", "diagnosis.rank", "serviceProvider", "reasonReference", "partOf", "length"
)


def test_the_item_that_is_nothing_without_its_reference_goes_with_it():
    given_encounter = ENCOUNTER | {
        "diagnosis": [{"condition": {"reference": "Condition/hidden"}, "rank": 1}, {"condition": {"reference": "Condition/open"}, "rank": 2}],
        "reasonReference": [{"reference": "Condition/hidden", "type": "Condition"}],
        "length": {"value": 1.50, "unit": "h"},
    }
    left = out(SEEN, given_encounter, "Condition/open")
    assert left["diagnosis"] == [{"condition": {"reference": "Condition/open"}, "rank": 2}]
    assert "reasonReference" not in left
    assert left == out(SEEN, ENCOUNTER | {"diagnosis": given_encounter["diagnosis"][1:], "length": given_encounter["length"]}, "Condition/open")


def test_a_number_keeps_its_digits_beside_a_reference_that_goes():
    body = json.dumps({"id": "a1"} | ENCOUNTER | {"partOf": {"reference": "Encounter/x"}, "length": {"value": 1.5}}).encode()
    body = body.replace(b'"value": 1.5', b'"value": 1.500')
    made = compiled(SEEN).reduce("Encounter", body, security=SECURITY, version=1, last_updated="2026-01-01T00:00:00.000Z")
    assert b'"value":1.500' in compiled(SEEN).without("Encounter", made, {b"Encounter/x"})
    assert b"Encounter/x" not in compiled(SEEN).without("Encounter", made, {b"Encounter/x"})


@pytest.mark.parametrize(
    "reference",
    [
        "Condition/x", "Condition/x/_history/2", "https://other.example.org/fhir/Condition/x", "urn:uuid:0d4a9d8c-1f0e-4a6b-9d9a-2f7f5a3c1e11",
        "Patient/other", 'Condition/x"y', "Condition\\x", "anything", "Organization/../Condition/x/", "Practitioner",
    ],
)  # fmt: skip
def test_what_leads_elsewhere_goes_however_it_is_written(reference):
    assert "partOf" not in out(SEEN, ENCOUNTER | {"partOf": {"reference": reference}})


@pytest.mark.parametrize("reference", ["Organization/o1", "https://other.example.org/fhir/Organization/o1", "Organization/o1/_history/3"])
def test_staff_and_organisations_stay(reference):
    assert out(SEEN, ENCOUNTER | {"serviceProvider": {"reference": reference}})["serviceProvider"] == {"reference": reference}


def test_a_mandatory_reference_of_the_resource_itself_is_answered_by_masked():
    billed = plan("Claim", "insurance.coverage", "insurance.focal", "insurance.sequence", "patient", "status")
    claim = {
        "resourceType": "Claim", "status": "active", "type": {"coding": [{"code": "x"}]}, "use": "claim", "patient": SUBJECT, "created": "2026-01-01",
        "provider": {"reference": "Organization/o1"}, "priority": {"coding": [{"code": "x"}]},
        "insurance": [{"sequence": 1, "focal": True, "coverage": {"reference": "Coverage/hidden"}}],
    }  # fmt: skip
    left = out(billed, claim)
    assert "hidden" not in json.dumps(left)
    assert left["insurance"][0]["extension"] == MASKED["extension"]
    assert out(billed, claim, "Coverage/hidden")["insurance"] == claim["insurance"]


def test_a_link_to_a_document_is_no_reference():
    given_again = plan("Immunization", "education.reference", "patient", "status", "occurrence")
    leaflet = {"resourceType": "Immunization", "status": "completed", "patient": SUBJECT, "occurrenceDateTime": "2026-01-01",
               "vaccineCode": {"coding": [{"code": "x"}]}, "education": [{"reference": "https://example.org/leaflet.pdf"}]}  # fmt: skip
    before = minimised(given_again, leaflet)
    assert compiled(given_again).without("Immunization", before, mentioned([before]) - {b"Patient/p1"}) == before
    assert checker(given_again).problems([before], patient="p1", reachable={"Patient/p1"}) == []


def test_a_text_that_looks_like_a_reference_is_a_text():
    noted = plan("Observation", "status", "code", "subject", "valueString")
    text = 'see {"reference":"Condition/x"}'
    said = {"resourceType": "Observation", "status": "final", "code": {"coding": [{"code": "x"}]}, "subject": SUBJECT, "valueString": text}
    assert out(noted, said)["valueString"] == text


def test_what_is_nobodys_is_shared():
    assert NOBODYS_TYPES < SHARED_TYPES
    assert {"Device", "DeviceMetric", "Group"} == SHARED_TYPES - NOBODYS_TYPES  # They may be a patient's.


@given(st.text(max_size=40))
@settings(max_examples=200, deadline=None)
def test_a_reference_is_read_or_taken_for_elsewhere(text):
    found = target_of(text.encode())
    assert found is None or text.split("/_history/")[0] == "/".join(found)
    assert not tells_nothing(text.encode()) or any(kind in text for kind in NOBODYS_TYPES)


def test_every_type_with_references_can_lose_them():
    """From every place of every type that may hold a Reference, in every depth that R4 names."""
    tried = 0
    for kind, definition in definitions.table()["types"].items():
        if definition["kind"] != "resource" or kind in ("Consent", "AuditEvent", "Provenance", "Bundle", "Parameters", "OperationOutcome", "Binary"):
            continue
        for path, resource in _holders(kind):
            named = plan(kind, path)
            before = minimised(named, {"resourceType": kind} | resource)
            if b"Condition/hidden" not in before:
                continue
            after = compiled(named).without(kind, before, {b"Condition/hidden"})
            assert b"hidden" not in after, (kind, path)
            assert json.loads(after)["id"] == "a1"
            tried += 1
    assert tried > 500


def _holders(kind):
    """(path, resource) for each element of a type, however deep, that may be a Reference."""

    def below(elements, path, wrap):
        for base, raw in elements.items():
            if base in ("contained", "extension", "modifierExtension", "meta", "text"):
                continue
            given_types = raw.get("types", ())
            many = raw["max"] != "1"
            name = base + "Reference" if raw.get("choice") else base
            place = [*path, base]
            if "Reference" in given_types:
                value = {"reference": "Condition/hidden"}
                yield ".".join([*path, name]), wrap({name: [value] if many else value})
            own = raw.get("elements")
            if own and "same_as" not in raw:
                yield from below(own, place, lambda inner, name=base, many=many, wrap=wrap: wrap({name: [inner] if many else inner}))

    yield from below(definitions.raw_elements(kind), [], lambda inner: inner)


# -- the quick way and the plain one --


def plainly(keep, body, gone):
    """What ``references.cut`` gives, by reading all of the resource; written here a second time, as the oracle."""

    def stays(keep, value, *, root=False):
        if keep.type == "Reference":
            shown = value.get("reference")
            return not (isinstance(shown, str) and json.dumps(shown, ensure_ascii=False).encode()[1:].partition(b'"')[0] in gone)
        took = False
        for part in keep.parts:
            if part.inside is None or part.name not in value:
                continue
            found = value[part.name] if part.many else [value[part.name]]
            kept = [one for one in found if stays(part.inside, one)]
            took = took or len(kept) < len(found)
            if not kept:
                del value[part.name]
            elif part.many:
                value[part.name] = kept
        if not took:
            return True
        missing = [need for need in keep.needs if not any(name in value or f"_{name}" in value for name in (*need.names, need.key))]
        if missing and not root:
            return False
        value.update({need.key: need.value for need in missing})
        return bool(value)

    resource = parsed(body)
    stays(keep, resource, root=True)
    return msgspec.json.encode(resource)


_TARGETS = (
    "Condition/1",
    "Encounter/2",
    "Patient/p1",
    "Coverage/3",
    "Condition/1/_history/2",
    'Condition/a"b',
    "http://elsewhere.example/fhir/Condition/1",
    "Observation/é",
)
_refers = st.fixed_dictionaries({"reference": st.sampled_from(_TARGETS)}, optional={"type": st.just("Condition")})
_item = {"rank": st.integers(0, 3), "use": st.just({"coding": [{"system": "u", "code": "AD"}]})}
_RESOURCES = {
    "Encounter": (
        plan("Encounter", "status", "class", "subject", "diagnosis.condition", "diagnosis.rank", "reasonReference", "partOf", "length"),
        st.fixed_dictionaries(
            {"status": st.just("finished"), "class": st.just({"code": "AMB"})},
            optional={
                "subject": _refers, "partOf": _refers, "length": st.just({"value": 2, "unit": 'h "reference":"Condition/1"'}),
                "reasonReference": st.lists(_refers, min_size=1, max_size=3),
                "diagnosis": st.lists(st.fixed_dictionaries({"condition": _refers}, optional=_item), min_size=1, max_size=3),
            },
        ),
    ),
    "Coverage": (
        plan("Coverage", "status", "beneficiary", "payor", "policyHolder"),
        st.fixed_dictionaries({"status": st.just("active"), "beneficiary": _refers, "payor": st.lists(_refers, min_size=1, max_size=2)}),
    ),
    "Claim": (
        plan("Claim", "status", "type", "use", "patient", "created", "provider", "priority", "insurance", "item.encounter", "item.sequence"),
        st.fixed_dictionaries({
            "status": st.just("active"), "type": st.just({"coding": [{"system": "u", "code": "x"}]}), "use": st.just("claim"), "patient": _refers,
            "created": st.just("2026-01-01"), "provider": _refers, "priority": st.just({"coding": [{"system": "u", "code": "x"}]}),
            "insurance": st.lists(
                st.fixed_dictionaries({"sequence": st.just(1), "focal": st.just(True), "coverage": _refers}), min_size=1, max_size=2
            ),
            "item": st.lists(
                st.fixed_dictionaries({"sequence": st.just(1), "encounter": st.lists(_refers, min_size=1, max_size=2)}), min_size=1, max_size=2
            ),
        }),
    ),
}  # fmt: skip


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(sorted(_RESOURCES)).flatmap(lambda kind: st.tuples(st.just(kind), _RESOURCES[kind][1])), st.sets(st.sampled_from(range(9))))
def test_reading_only_what_refers_gives_what_reading_all_gives(given_resource, chosen):
    kind, content = given_resource
    given_plan = _RESOURCES[kind][0]
    before = minimised(given_plan, {"resourceType": kind, **content})
    everything = sorted(mentioned([before]))
    gone = {one for number, one in enumerate(everything) if number in chosen}
    keep = compiled(given_plan)._ways[kind].keep
    assert compiled(given_plan).without(kind, before, gone) == plainly(keep, before, gone)
