"""What minimising (one by one, and together) and checking cost for each resource, beside reading and writing the same bytes with orjson.

    python benchmarks/minimise.py [--patients 10] [--rounds 9]

Real Synthea patients from ``../shared/data`` if they are there, else made-up observations. Rounds of all measures take turns, so that
a busy machine is busy for all of them; the middle of the rounds is printed, in processor time of the one thread. Trust the ratios more
than the microseconds. ``together``: the resources of a patient, each type in one call, as a
release does.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import orjson

from broker.fhir.checker import Checker
from broker.fhir.minimise import Item, Minimiser
from broker.fhir.plan import ReleasePlan

SYNTHEA = Path(__file__).resolve().parents[2] / "shared" / "data" / "synthea"
SECURITY = b'[{"system":"http://terminology.hl7.org/CodeSystem/v3-Confidentiality","code":"N"}]'
MOMENT = "2026-01-01T00:00:00.000Z"
ELEMENTS = {
    "Claim": "status type use patient billablePeriod created provider priority item total insurance",
    "Condition": "clinicalStatus verificationStatus code subject encounter onset abatement recordedDate",
    "DiagnosticReport": "status category code subject effective issued result",
    "Encounter": "status class type subject period participant reasonCode",
    "ExplanationOfBenefit": "status type use patient billablePeriod created insurer provider outcome item total payment insurance",
    "Immunization": "status vaccineCode patient occurrence primarySource",
    "MedicationRequest": "status intent medication subject authoredOn dosageInstruction",
    "Observation": "status category code subject encounter effective issued value component interpretation referenceRange",
    "Patient": "name gender birthDate deceased maritalStatus",
    "Procedure": "status code subject performed reasonReference",
}
DATES = {"Claim": "created", "Condition": "onset", "DiagnosticReport": "effective", "Encounter": "period", "Immunization": "occurrence"}
DATES |= {
    "ExplanationOfBenefit": "created",
    "MedicationRequest": "authoredOn",
    "Observation": "effective",
    "Patient": "birthDate",
    "Procedure": "performed",
}


def plan(*, transforms: bool) -> ReleasePlan:
    types = {
        name: {"elements": elements.split(), "transforms": [{"path": DATES[name], "do": "year"}] if transforms else []}
        for name, elements in ELEMENTS.items()
    }
    return ReleasePlan.from_json({"types": types, "labels": {"deny": ["PSY"], "ceiling": "N"}})


def resources(patients: int) -> list[tuple[str, str, bytes]]:
    """(patient, type, compact JSON as it is stored)."""
    found = []
    for file in sorted(SYNTHEA.glob("*.json"))[:patients]:
        given = [entry["resource"] for entry in json.loads(file.read_bytes())["entry"]]
        patient = next(each["id"] for each in given if each["resourceType"] == "Patient")
        # As ingest resolves them: a reference names the type.
        urls = {f'"urn:uuid:{each["id"]}"': f'"{each["resourceType"]}/{each["id"]}"' for each in given}
        for each in given:
            if each["resourceType"] in ELEMENTS:
                text = orjson.dumps(each).decode()
                for url in {url for url in urls if url in text}:
                    text = text.replace(url, urls[url])
                found.append((patient, each["resourceType"], text.encode()))
    return found or [("p1", "Observation", made_up(number)) for number in range(1000)]


def made_up(number: int) -> bytes:
    coding = {"coding": [{"system": "http://loinc.org", "code": "2339-0", "display": "Glucose [Mass/volume] in Blood"}], "text": "Glucose"}
    value = {"value": number / 10, "unit": "mg/dL", "system": "http://unitsofmeasure.org", "code": "mg/dL"}
    category = [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "laboratory", "display": "laboratory"}]}]
    times = {"effectiveDateTime": "2025-03-04T10:00:00+08:00", "issued": "2025-03-04T10:00:00.000+08:00"}
    references = {"subject": {"reference": "Patient/p1"}, "encounter": {"reference": f"Encounter/e{number}"}}
    head = {"resourceType": "Observation", "id": f"o{number}", "status": "final"}
    return orjson.dumps({**head, "category": category, "code": coding, **references, **times, "valueQuantity": value})


def measure(work: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Seconds of each piece of work: the middle of rounds in which they take turns."""
    times: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(rounds):
        for name, one in work.items():
            start = time.thread_time()
            one()
            times[name].append(time.thread_time() - start)
    return {name: statistics.median(each) for name, each in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--patients", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=9)
    given = parser.parse_args()
    found = resources(given.patients)
    start = time.perf_counter()
    minimiser, checker = Minimiser(plan(transforms=False)), Checker(plan(transforms=False))
    print(f"{len(found)} resources, {len(ELEMENTS)} types; minimiser and checker compiled in {(time.perf_counter() - start) * 1e3:.0f} ms")
    slow_minimiser = Minimiser(plan(transforms=True))

    def reduce(chosen: Minimiser, resource_type: str, body: bytes) -> bytes:
        out = chosen.reduce(resource_type, body, security=SECURITY, version=1, last_updated=MOMENT)
        assert out is not None  # noqa: S101  # The plan filters nothing.
        return out

    groups: dict[str, list[tuple[str, str, bytes]]] = defaultdict(list)
    for one in found:
        groups[one[1]].append(one)
    groups["of 500 to 700 bytes"] = [one for one in found if 500 <= len(one[2]) <= 700]
    groups["all"] = found
    columns = {"number": 7, "bytes in": 9, "out": 6, "minimise": 10, "together": 10, "check": 8, "orjson": 8, "together/orjson": 17, "with year": 11}
    print(f"{'µs for each resource':24}" + "".join(f"{name:>{width}}" for name, width in columns.items()))
    for name, group in groups.items():
        if not group:
            continue
        released = [(patient, reduce(minimiser, kind, body)) for patient, kind, body in group]
        by_patient: dict[str, list[bytes]] = defaultdict(list)
        for patient, body in released:
            by_patient[patient].append(body)
        batches: dict[tuple[str, str], list[Item]] = defaultdict(list)
        for patient, kind, body in group:
            batches[patient, kind].append((body, SECURITY, 1, MOMENT))
        wrong = [problem for patient, bodies in by_patient.items() for problem in checker.problems(bodies, patient=patient)]
        if wrong:
            raise SystemExit(f"the checker disagrees: {wrong[:3]}")
        times = measure(
            {
                "minimise": lambda group=group: [reduce(minimiser, kind, body) for _, kind, body in group],
                "together": lambda batches=batches: [minimiser.reduce_many(kind, batch) for (_, kind), batch in batches.items()],
                "check": lambda by_patient=by_patient: [checker.problems(bodies, patient=patient) for patient, bodies in by_patient.items()],
                "orjson": lambda group=group: [orjson.dumps(orjson.loads(body)) for _, _, body in group],
                "year": lambda group=group: [reduce(slow_minimiser, kind, body) for _, kind, body in group],
            },
            given.rounds,
        )
        micro = {measure: value / len(group) * 1e6 for measure, value in times.items()}
        size_in, size_out = (sum(map(len, each)) / len(group) for each in ([body for _, _, body in group], [body for _, body in released]))
        print(
            f"{name:24}{len(group):7}{size_in:9.0f}{size_out:6.0f}{micro['minimise']:10.1f}{micro['together']:10.1f}{micro['check']:8.1f}{micro['orjson']:8.1f}"
            f"{micro['together'] / micro['orjson']:17.2f}{micro['year']:11.1f}"
        )


if __name__ == "__main__":
    main()
