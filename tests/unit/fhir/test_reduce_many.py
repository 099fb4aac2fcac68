"""Many resources reduced together give, byte for byte, what each gives alone; and none can reach into its neighbour (RS-5.2.3)."""

import json
import random
from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker import demo_data
from broker.fhir import definitions, fastpath, filters
from broker.fhir.minimise import NEIGHBOURS, Minimiser, Withheld, compiled
from broker.fhir.plan import ReleasePlan
from tests.conftest import SYNTHEA
from tests.factories.fhir import CLINICAL, RandomResources, as_bytes

NORMAL = b'[{"system":"http://terminology.hl7.org/CodeSystem/v3-Confidentiality","code":"N"}]'
RESTRICTED = NORMAL.replace(b'"N"', b'"R"')
BAD = (
    b"",
    b"{",
    b"[]",
    b"7",
    b"null",
    b'{"resourceType":"Patient","id":"a b"}',
    b'{"resourceType":"Patient","id":"a\\nb"}',
    b'{"resourceType":"Device","id":"a"}',
    b'{"resourceType":"Patient","id":"a","gender":7}',
    b'{"resourceType":"Patient","id":"a","gender":"\xff"}',
    b'{"resourceType":"Patient","id":"a","dropped":"\xff"}',
    b'{"resourceType":"Patient","id":"a","modifierExtension":[]}',
    b'{"resourceType":"Patient","id":"a","multipleBirthInteger":"1"}',
    b'{"resourceType":"Patient","id":"a","multipleBirthInteger":{"a":\n1}}',
    b'{"resourceType":"Patient","id":"a"},{"resourceType":"Patient","id":"b"}',
    b'{"resourceType":"Patient","id":"a"}}',
    b"[" * 100_000,
)


def plan(resource_type, *elements, **more):
    return ReleasePlan.from_json({"types": {resource_type: {"elements": list(elements), **more}}, "labels": {"deny": [], "ceiling": "N"}})


def item(body, security=NORMAL, version=1, last_updated="2026-01-01T00:00:00.000Z"):
    return body, security, version, last_updated


def alone(minimiser, resource_type, given_item, pseudonym=None):
    body, security, version, last_updated = given_item
    try:
        return minimiser.reduce(resource_type, body, security=security, version=version, last_updated=last_updated, pseudonym=pseudonym)
    except Withheld as reason:
        return reason.reason_code, reason.path


def together(minimiser, resource_type, items, pseudonym=None):
    answers = minimiser.reduce_many(resource_type, items, pseudonym=pseudonym)
    return [(each.reason_code, each.path) if isinstance(each, Withheld) else each for each in answers]


def hold(minimiser, resource_type, items, pseudonym=None):
    answers = together(minimiser, resource_type, items, pseudonym)
    assert answers == [alone(minimiser, resource_type, each, pseudonym) for each in items]
    return answers


def patient(number, **more):
    return json.dumps({"resourceType": "Patient", "id": f"a{number}", "gender": "male", **more}, ensure_ascii=False).encode()


KEPT = ("name", "gender", "birthDate", "multipleBirth", "link")


def test_each_has_its_own_version_moment_and_labels():
    later = "2026-02-02T00:00:00.000Z"
    given_items = [
        item(patient(0)),
        item(patient(1), RESTRICTED),
        item(patient(2), RESTRICTED, 7),
        item(patient(3), RESTRICTED, 7, later),
        item(patient(4)),
    ]
    read = [json.loads(answer) for answer in hold(compiled(plan("Patient", *KEPT)), "Patient", given_items)]
    assert [each["id"] for each in read] == ["a0", "a1", "a2", "a3", "a4"]
    assert [each["meta"]["versionId"] for each in read] == ["1", "1", "7", "7", "1"]
    assert [each["meta"]["security"][0]["code"] for each in read] == ["N", "R", "R", "R", "N"]
    assert [each["meta"]["lastUpdated"] == later for each in read] == [False, False, False, True, False]


def test_they_are_read_together(monkeypatch):
    """The way that this file is about is the way that is taken."""
    monkeypatch.setattr(fastpath.Fast, "__call__", None)
    monkeypatch.setattr("broker.fhir.minimise.reduced", None)
    answers = compiled(plan("Patient", *KEPT)).reduce_many("Patient", [item(patient(number, multipleBirthInteger=2)) for number in range(40)])
    assert len(answers) == 40
    assert all(b'"multipleBirthInteger":2' in answer for answer in answers)


@pytest.mark.parametrize("large", [0, 1500], ids=["apart", "joined"])
@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("size", [2, 5, NEIGHBOURS * 2 + 3])
def test_the_bad_one_alone_is_withheld_and_for_its_own_reason(bad, size, large, monkeypatch):
    monkeypatch.setattr(fastpath, "LARGE", large)
    for place in {0, 1, size - 1}:
        items = [item(bad if number == place else patient(number)) for number in range(size)]
        answers = hold(compiled(plan("Patient", *KEPT)), "Patient", items)
        assert [number for number, answer in enumerate(answers) if not isinstance(answer, bytes)] == [place]


def test_the_unlabelled_one_alone_is_withheld():
    items = [item(patient(number), b"[]" if number == 5 else NORMAL) for number in range(9)]
    answers = hold(compiled(plan("Patient", *KEPT)), "Patient", items)
    assert [answer for answer in answers if not isinstance(answer, bytes)] == [("unlabelled", "Patient.meta.security")]


def test_a_withheld_one_holds_no_frame_and_no_cause():
    withheld = compiled(plan("Patient", *KEPT)).reduce_many("Patient", [item(patient(1)), item(b'{"secret":')])[1]
    assert withheld.__traceback__ is None
    assert withheld.__cause__ is withheld.__context__ is None


def test_a_type_outside_the_plan_and_no_items():
    minimiser = compiled(plan("Patient", *KEPT))
    assert hold(minimiser, "Device", [item(patient(1)), item(b"")]) == [("type-not-in-plan", "")] * 2
    assert minimiser.reduce_many("Patient", []) == []


@pytest.mark.parametrize("fence", [0, 7])
def test_what_would_fit_together_is_kept_apart(monkeypatch, fence):
    """A body that holds two resources, and two bodies that make one: three, as many as there should be, under the wrong labels."""
    two = patient(1) + b",%d," % fence + patient(2)
    halves = (b'{"resourceType":"Patient","id":"a3","name":[{"text":"', b'"}]}')
    monkeypatch.setattr(fastpath, "_random", lambda _bits: fence)
    # Even someone who knows the number gains nothing where it does not come out right …
    minimiser = compiled(plan("Patient", *KEPT))
    assert minimiser._ways["Patient"].fast.many([patient(1), two]) is None
    monkeypatch.undo()
    # … and nobody can know it.
    items = [item(two), item(halves[0]), item(halves[1]), item(patient(4))]
    assert [answer if isinstance(answer, tuple) else "" for answer in hold(minimiser, "Patient", items)] == [("unreadable", "Patient")] * 3 + [""]


def test_the_number_between_them_is_another_each_time(monkeypatch):
    asked = []
    for module in (fastpath, filters):
        monkeypatch.setattr(module, "_random", lambda bits, original=module._random: asked.append((bits, original(bits))) or asked[-1][1])
    minimiser = compiled(plan("Observation", "status", "code", codes=["a"]))
    body = b'{"resourceType":"Observation","id":"o","status":"final","code":{"coding":[{"code":"a"}]}}'
    for _ in range(3):
        minimiser.reduce_many("Observation", [item(body)] * 4)
    assert len({number for _, number in asked}) == len(asked) == 6
    assert {bits for bits, _ in asked} == {56}


def test_line_breaks_in_texts_and_between_tokens():
    body = json.dumps(json.loads(patient(1, multipleBirthInteger=3, name=[{"text": "one\ntwo\r\n\u2028 \\n"}])), indent=2).encode()
    bodies = [body, body.replace(b": ", b"\n:\r\n\t"), b"\n" + body + b"\n\n", patient(2)]
    answers = hold(compiled(plan("Patient", *KEPT)), "Patient", [item(each) for each in bodies])
    assert [json.loads(answer).get("multipleBirthInteger") for answer in answers] == [3, 3, 3, None]


@pytest.mark.parametrize(
    "fragment",
    [
        '"link":[{"other":{"reference":"#x"},"type":"seealso"}]',
        '"link":[{"other":{"reference":"Patient?name=x"},"type":"seealso"}]',
        '"name":[{}]',
        '"name":[{"text":"?"}]',
        '"name":[{"text":"{}"}]',
    ],
)
def test_what_needs_care_is_cared_for_alone(fragment, monkeypatch):
    minimiser = compiled(plan("Patient", *KEPT))
    body = b'{"resourceType":"Patient","id":"a",%s}' % fragment.encode()
    items = [item(patient(number) if number % 5 else body) for number in range(40)]
    hold(minimiser, "Patient", items)
    monkeypatch.setattr("broker.fhir.minimise.NEIGHBOURS", 0)  # It is not for them that the others would go one by one.
    assert minimiser._ways["Patient"].fast.many([each[0] for each in items]) is not None


def test_codes_are_read_together(monkeypatch):
    kept = compiled(plan("Observation", "status", codes=["s|a"], categories=["c"]))
    start = b'{"resourceType":"Observation","id":"o%d","status":"final",'
    body = start + b'"code":{"coding":[{"system":"s","code":"%s"}]},"category":[{"coding":[{"code":"%s"}]}]}'
    items = [item(body % (number, b"ab"[number % 2 :][:1], b"cd"[number % 3 > 0 :][:1])) for number in range(24)]
    answers = hold(kept, "Observation", items)
    assert [number for number, answer in enumerate(answers) if answer is not None] == [0, 6, 12, 18]
    assert hold(kept, "Observation", items[1:4]) == [None, None, None]
    broken = [*items, item(b'{"resourceType":"Observation","id":"x","code":7}'), item(b"7"), item(b'{"resourceType":"Observation","code":{}}')]
    assert hold(kept, "Observation", broken)[-3:] == [("wrong-shape", "Observation"), ("wrong-shape", "Observation"), None]
    monkeypatch.setattr(filters.CodeFilter, "__call__", None)
    assert together(kept, "Observation", items) == answers


def test_codes_of_what_would_fit_together_are_kept_apart():
    wanted = compiled(plan("Observation", "status", "code", codes=["a"]))._ways["Observation"].matches
    body = b'{"code":{"coding":[{"code":"a"}]}}'
    one, two = body.split(b"coding")
    assert wanted.many([body, b"{}", body]) == [True, False, True]
    assert wanted.many([body + b",7," + body, one, two]) is None
    assert wanted.many([body + b"," + body, one, two]) is None
    assert wanted.many([body, b"7"]) is None


def test_transforms_and_pseudonyms_take_their_own_way():
    items = [item(patient(number, birthDate="1980-01-02")) for number in range(3)]
    for change in ({"path": "birthDate", "do": "year"}, {"path": "id", "do": "pseudonym"}):
        hold(compiled(plan("Patient", *KEPT, transforms=[change])), "Patient", items, lambda kind, own: f"{kind}-{own}-x")


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(CLINICAL))
def test_random_resources_under_random_plans(seed, resource_type):
    rng = random.Random(seed)
    elements = list(definitions.raw_elements(resource_type))
    elements = [each for each in elements if each not in {"id", "meta", "implicitRules", "text", "contained", "extension", "modifierExtension"}]
    minimiser = Minimiser(plan(resource_type, *rng.sample(elements, rng.randint(0, min(8, len(elements))))))
    items = []
    for _ in range(rng.randint(3, 7)):
        body = as_bytes(RandomResources(rng, density=rng.choice([0.2, 0.5])).resource(resource_type))
        if rng.random() < 0.15:
            cut = rng.randrange(len(body))
            body = rng.choice([body[:cut], body[cut:], body.replace(b'"', b"", 1), body + b"," + body])
        items.append(item(body, rng.choice([NORMAL, RESTRICTED]), rng.randint(1, 3)))
    hold(minimiser, resource_type, items)


def corpus(resources):
    """Bodies by type, written compact and over many lines."""
    found = defaultdict(list)
    for number, resource in enumerate(resources):
        text = json.dumps(resource, ensure_ascii=False, indent=2 if number % 3 == 0 else None)
        found[resource["resourceType"]].append(item(text.encode(), version=number % 2 + 1))
    return found


def hold_corpus(found, monkeypatch):
    monkeypatch.setattr(fastpath, "LARGE", 1_000_000)  # All of them joined, as large as they may be.
    seen = 0
    for resource_type, items in found.items():
        elements = [
            name for name in definitions.raw_elements(resource_type) if name not in ("id", "meta", "implicitRules", "text", "contained", "extension")
        ]
        elements = [name for name in elements if name != "modifierExtension"]
        for kept in (elements, elements[: len(elements) // 2], elements[-3:]):
            seen += sum(isinstance(answer, bytes) for answer in hold(Minimiser(plan(resource_type, *kept)), resource_type, items))
    return seen


def test_the_demo_hospital(monkeypatch):
    folder = Path(demo_data.__file__).parent / "patients"
    given_files = [json.loads(file.read_bytes()) for file in sorted(folder.glob("*.json"))]
    resources = [
        entry["resource"] for bundle in given_files for entry in bundle["entry"] if entry["resource"]["resourceType"] not in ("Consent", "Provenance")
    ]
    assert hold_corpus(corpus(resources), monkeypatch) > len(resources)


@pytest.mark.synthea
@pytest.mark.skipif(not SYNTHEA.exists(), reason="Synthea patients are not here")
def test_real_resources(monkeypatch):
    bundles = [json.loads(file.read_bytes()) for file in sorted(SYNTHEA.glob("*.json"))[:4]]
    assert hold_corpus(corpus([entry["resource"] for bundle in bundles for entry in bundle["entry"]]), monkeypatch) > 500
