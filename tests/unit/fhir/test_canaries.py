"""Nothing outside the plan leaves: random resources with a token in every value, random plans, three readings of the rules (RS-5.2.3, D01 to D09)."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from fhir.resources.R4B import get_fhir_model_class
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.fhir import definitions, slowpath, validate
from broker.fhir.checker import Checker
from broker.fhir.minimise import Minimiser
from broker.fhir.plan import ReleasePlan
from tests.conftest import SYNTHEA
from tests.factories.fhir import CLINICAL, RandomResources, as_bytes
from tests.factories.naive_mask import naive_mask, read, without_stand_ins

SECURITY = b'[{"system":"http://terminology.hl7.org/CodeSystem/v3-Confidentiality","code":"N"}]'
UNNAMEABLE = {"id", "meta", "implicitRules", "contained", "extension", "modifierExtension"}


def release_plan(resource_type: str, elements: tuple[str, ...], **more: Any) -> ReleasePlan:
    return ReleasePlan.from_json({"types": {resource_type: {"elements": list(elements), **more}}, "labels": {"deny": [], "ceiling": "N"}})


def paths(elements: dict[str, Any], prefix: str = "", depth: int = 3) -> Iterator[str]:
    """Every path that a plan may name, to a depth."""
    for base, raw in elements.items():
        for given_type in raw.get("types", ["BackboneElement"]):
            if base in UNNAMEABLE or given_type in ("Narrative", "Resource", "Extension", "Meta"):
                continue
            name = base + given_type[0].upper() + given_type[1:] if raw.get("choice") else base
            yield from {f"{prefix}{base}", f"{prefix}{name}"}
            if depth > 1 and given_type not in definitions.primitives():
                own = definitions.resolved(raw)
                yield from paths(own or definitions.raw_elements(given_type), f"{prefix}{name}.", depth - 1)


NAMEABLE = {resource_type: sorted(set(paths(definitions.raw_elements(resource_type)))) for resource_type in CLINICAL}


def some_elements(rng: random.Random, resource_type: str) -> tuple[str, ...]:
    top = [path for path in NAMEABLE[resource_type] if "." not in path]
    deep = [path for path in NAMEABLE[resource_type] if "." in path]
    return tuple(rng.sample(top, rng.randint(0, min(6, len(top)))) + rng.sample(deep, rng.randint(0, min(4, len(deep)))))


def reduce(minimiser: Minimiser, resource_type: str, body: bytes) -> bytes:
    out = minimiser.reduce(resource_type, body, security=SECURITY, version=1, last_updated="2026-01-01T00:00:00Z")
    assert out is not None
    return out


def hold(resource_type: str, elements: tuple[str, ...], resource: dict[str, Any], tokens: dict[str, Any], made: Any = None) -> None:
    """Everything that must be true of one reduced resource; ``made``: minimiser and checker of the plan, if there are."""
    minimiser, checker = made or both(resource_type, elements)
    body = as_bytes(resource)
    out = reduce(minimiser, resource_type, body)
    expected, values = naive_mask(read(body), elements)
    assert without_stand_ins(read(out)) == without_stand_ins(expected)
    leaked = {token: path for token, path in tokens.items() if token.encode() in out and token not in values and f"number {token}" not in values}
    assert {token: path for token, path in leaked.items() if not any(token in value for value in values)} == {}
    assert checker.problems([out], patient="p1" if resource_type != "Patient" else resource["id"]) == []
    way = minimiser._ways[resource_type]
    slow = slowpath.reduced(resource_type, way.keep, body, pseudonymous=False, pseudonym=None)
    assert out.endswith(slow[way.skip :])
    # A plan may name the text alone of a concept that R4 wants coded; then it is the plan that makes it invalid.
    assert [each for each in validate.problems(decimals(out)) if not each.path.endswith(".coding")] == []


def both(resource_type: str, elements: tuple[str, ...]) -> tuple[Minimiser, Checker]:
    plan = release_plan(resource_type, elements)
    return Minimiser(plan), Checker(plan)


def decimals(data: bytes) -> Any:
    return json.loads(data, parse_float=Decimal)


@settings(max_examples=120, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(CLINICAL))
def test_nothing_outside_the_plan_leaves(seed, resource_type):
    rng = random.Random(seed)
    made = RandomResources(rng, density=rng.choice([0.2, 0.4, 0.7]))
    resource = made.resource(resource_type)
    hold(resource_type, some_elements(rng, resource_type), resource, made.tokens)


@pytest.mark.parametrize("resource_type", CLINICAL)
def test_a_canary_in_every_element_path(resource_type):
    """Resources that together fill every path to a depth of three, under a plan that names nothing and one that names every element."""
    everything = tuple(path for path in NAMEABLE[resource_type] if "." not in path)
    plans = {elements: both(resource_type, elements) for elements in ((), everything)}
    unfilled = set(json_paths(definitions.raw_elements(resource_type)))
    for turn in range(20):
        made = RandomResources(random.Random(turn), turn=turn)
        resource = made.resource(resource_type)
        filled = unfilled & set(walked(resource, ""))
        unfilled -= filled
        if filled:
            for elements, compiled in plans.items():
                hold(resource_type, elements, resource, made.tokens, compiled)
            for where in ("text", "contained", "extension", "id", "display"):
                assert any(where in path for path in made.tokens.values())
    assert unfilled == set()


def walked(value: Any, prefix: str) -> Iterator[str]:
    for each in value if isinstance(value, list) else [value]:
        if isinstance(each, dict):
            for name, below in each.items():
                yield f"{prefix}{name}"
                yield from walked(below, f"{prefix}{name}.")


def json_paths(elements: dict[str, Any], prefix: str = "", depth: int = 3, chosen: bool = False) -> Iterator[str]:
    """JSON paths that some resource must have filled. A choice inside a choice is left to the random tests."""
    for base, raw in elements.items():
        types = raw.get("types", ["BackboneElement"])
        for given_type in types if len(types) < 20 and not (chosen and raw.get("choice")) else ():
            if base in UNNAMEABLE or given_type in ("Narrative", "Resource", "Extension", "Meta"):
                continue
            name = base + given_type[0].upper() + given_type[1:] if raw.get("choice") else base
            yield f"{prefix}{name}"
            if depth > 1 and given_type not in definitions.primitives():
                below = definitions.resolved(raw) or definitions.raw_elements(given_type)
                yield from json_paths(below, f"{prefix}{name}.", depth - 1, chosen or raw.get("choice", False))


def test_the_generator_makes_valid_resources():
    for seed in range(60):
        rng = random.Random(seed)
        resource = RandomResources(rng, density=0.5).resource(rng.choice(CLINICAL))
        assert validate.problems(decimals(as_bytes(resource))) == []


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(CLINICAL))
def test_the_checker_sees_any_single_thing_put_back(seed, resource_type):
    """The minimiser broken in the smallest way: one property that it dropped is back in its place."""
    rng = random.Random(seed)
    made = RandomResources(rng, density=rng.choice([0.3, 0.6]))
    resource = made.resource(resource_type)
    plan = release_plan(resource_type, some_elements(rng, resource_type))
    out = json.loads(reduce(Minimiser(plan), resource_type, as_bytes(resource)))
    dropped = list(missing(json.loads(as_bytes(resource)), out))
    if not dropped:
        return
    holder, name, value = rng.choice(dropped)
    holder[name] = value
    assert Checker(plan).problems([json.dumps(out).encode()], patient="p1" if resource_type != "Patient" else resource["id"]) != []


def missing(source: Any, out: Any) -> Iterator[tuple[dict[str, Any], str, Any]]:
    """Each property of the source that is not in what was released, with the released object it would be put into."""
    if isinstance(source, list) and isinstance(out, list) and len(source) == len(out):
        for before, after in zip(source, out, strict=True):
            yield from missing(before, after)
    if isinstance(source, dict) and isinstance(out, dict):
        for name, value in source.items():
            if name not in out:
                yield out, name, value
            elif name not in ("extension", "meta"):
                yield from missing(value, out[name])


@pytest.mark.parametrize("resource_type", ["Observation", "Patient", "MedicationRequest", "Condition", "Claim", "ExplanationOfBenefit", "Coverage"])
def test_what_leaves_is_read_by_fhir_resources(resource_type):
    for seed in range(8):
        rng = random.Random(seed)
        resource = RandomResources(rng, density=0.4).resource(resource_type)
        out = reduce(Minimiser(release_plan(resource_type, some_elements(rng, resource_type))), resource_type, as_bytes(resource))
        get_fhir_model_class(resource_type).model_validate_json(out)


@pytest.mark.synthea
@pytest.mark.skipif(not SYNTHEA.exists(), reason="Synthea patients are not here")
def test_real_resources():
    wide = {
        "Patient": ("name", "gender", "birthDate", "address.city", "deceased"),
        "Observation": ("status", "category", "code", "subject", "encounter", "effective", "issued", "value", "component"),
        "Claim": ("status", "type", "use", "patient", "billablePeriod", "created", "provider", "priority", "insurance", "item", "total"),
        "ExplanationOfBenefit": ("status", "type", "use", "patient", "created", "insurer", "provider", "outcome", "insurance", "item", "payment"),
        "Encounter": ("status", "class", "type", "subject", "period", "participant"),
        "DiagnosticReport": ("status", "code", "subject", "effective", "issued", "result"),
    }
    seen = 0
    for entry in json.loads((SYNTHEA / "patient-01.json").read_bytes(), parse_float=Decimal)["entry"]:
        resource = entry["resource"]
        if resource["resourceType"] in wide:
            hold(resource["resourceType"], wide[resource["resourceType"]], resource, {})
            seen += 1
    assert seen > 20
