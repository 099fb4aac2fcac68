"""Resources of invented people, and the ways a hospital hands them over."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import psycopg

from broker.crypto import Keys
from broker.database import Database
from broker.records import service as records

LOINC, SNOMED, ICD10, RXNORM = (
    "http://loinc.org",
    "http://snomed.info/sct",
    "http://hl7.org/fhir/sid/icd-10",
    "http://www.nlm.nih.gov/research/umls/rxnorm",
)
MRN = "https://hospital.example/fhir/sid/mrn"

Resource = dict[str, Any]
Value = TypeVar("Value")


def concept(system: str, code: str, display: str = "", text: str = "") -> Resource:
    coding = {"system": system, "code": code} | ({"display": display} if display else {})
    return {"coding": [coding]} | ({"text": text} if text else {})


def patient(patient_id: str = "p1", **more: Any) -> Resource:
    return {
        "resourceType": "Patient",
        "id": patient_id,
        "identifier": [{"system": MRN, "value": f"MRN-{patient_id}"}],
        "name": [{"text": "王小明", "family": "王", "given": ["小明"]}],
        "birthDate": "1980-05-06",
    } | more


def observation(resource_id: str = "o1", patient_id: str = "p1", **more: Any) -> Resource:
    return {
        "resourceType": "Observation",
        "id": resource_id,
        "status": "final",
        "code": concept(LOINC, "2339-0", "Glucose [Mass/volume] in Blood"),
        "subject": {"reference": f"Patient/{patient_id}"},
        "effectiveDateTime": "2026-03-01T08:00:00+08:00",
        "valueQuantity": {"value": 5.6, "unit": "mmol/L"},
    } | more


def condition(resource_id: str = "c1", patient_id: str = "p1", code: Resource | None = None, **more: Any) -> Resource:
    return {
        "resourceType": "Condition",
        "id": resource_id,
        "code": code or concept(ICD10, "I10.x00", "高血压病"),
        "subject": {"reference": f"Patient/{patient_id}"},
        "onsetDateTime": "2020-01-01",
    } | more


def practitioner(resource_id: str = "d1", **more: Any) -> Resource:
    return {
        "resourceType": "Practitioner",
        "id": resource_id,
        "identifier": [{"system": "https://hospital.example/fhir/sid/staff", "value": f"staff-{resource_id}"}],
        "name": [{"text": "李医生"}],
    } | more


def entry(resource: Resource, **more: Any) -> Resource:
    name, resource_id = resource["resourceType"], resource.get("id", "none")
    return {"fullUrl": f"https://hospital.example/fhir/{name}/{resource_id}", "resource": resource, "request": {"method": "POST", "url": name}} | more


def bundle(*entries: Resource, kind: str = "transaction") -> bytes:
    """A Bundle; resources are put into entries."""
    listed = [one if "resource" in one or "request" in one else entry(one) for one in entries]
    return json.dumps({"resourceType": "Bundle", "type": kind, "entry": listed}, ensure_ascii=False).encode()


def ndjson(*resources: Resource) -> bytes:
    return b"\n".join(json.dumps(resource, ensure_ascii=False).encode() for resource in resources) + b"\n"


def taken_in(database: Database, keys: Keys, *files: Path | bytes, folder: Path | None = None) -> records.Report:
    """Ingest files, or bytes of a Bundle."""
    report = records.Report()
    for file in files:
        one = records.ingest_bundle(database, keys, file) if isinstance(file, bytes) else records.ingest(database, keys, [file])
        for name in ("files", "accepted", "unchanged", "refused"):
            setattr(report, name, getattr(report, name) + getattr(one, name))
        report.refusals += one.refusals
    return report


def codes(report: records.Report) -> list[str]:
    """The codes of everything that was refused."""
    return [problem.code for refused in report.refusals for problem in refused.problems]


def raw(database: Database, work: Callable[[psycopg.AsyncCursor[Any]], Awaitable[Value]]) -> Value:
    """Run something on a raw asynchronous cursor, as the release path does."""

    async def run() -> Value:
        async with await psycopg.AsyncConnection.connect(database.conninfo, autocommit=True) as connection, connection.cursor() as cursor:
            return await work(cursor)

    return asyncio.run(run())


def opened(database: Database, keys: Keys, patient_id: str = "p1", deny: Sequence[str] = (), **windows: records.Window) -> list[records.Opened]:
    """What a release would read of a patient: every type stored, or those named with their windows."""
    patient_key = keys.patient_key(patient_id)

    async def work(cursor: psycopg.AsyncCursor[Any]) -> list[records.Opened]:
        types: dict[str, records.Window] = windows
        if not types:
            await cursor.execute("SELECT DISTINCT type FROM resource WHERE patient_key = %s", (patient_key,))
            types = {row[0]: records.Window() for row in await cursor.fetchall()}
        vault = await records.vault(cursor, keys, patient_key)
        assert vault is not None
        tokens = records.label_tokens(keys, patient_key, deny)
        return [records.open_row(vault, row) for row in await records.read(cursor, patient_key=patient_key, types=types, deny_tokens=tokens)]

    return raw(database, work)
