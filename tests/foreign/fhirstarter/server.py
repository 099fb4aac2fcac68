"""A FHIR server made with FHIRStarter, as somebody else would: `server.py PORT RECORDS`, where RECORDS is a Bundle of R4 resources.

Runs in a Python environment of its own (`make upstreampeers`), with FHIR_SEQUENCE=R4B. FHIRStarter looks at annotations as they are, so that
none may be put off.
"""

import json
import sys
from pathlib import Path

import uvicorn
from fhir.resources.R4B.bundle import Bundle
from fhir.resources.R4B.observation import Observation
from fhir.resources.R4B.patient import Patient
from fhirstarter import FHIRProvider, FHIRStarter, InteractionContext
from fhirstarter.exceptions import FHIRResourceNotFoundError

RECORDS = Path(sys.argv[2])
provider = FHIRProvider()


def held(kind: str) -> list[dict]:
    held_here = [entry["resource"] for entry in json.loads(RECORDS.read_text("utf-8"))["entry"]]
    return [one for one in held_here if one["resourceType"] == kind]


def page(kind: str, since: str | None) -> Bundle:
    found = [one for one in held(kind) if since is None or one["meta"]["lastUpdated"] >= since.removeprefix("ge")]
    return Bundle(type="searchset", total=len(found), entry=[{"resource": one, "search": {"mode": "match"}} for one in found] or None)


@provider.read(Patient)
async def patient(context: InteractionContext, id_: str) -> Patient:
    for one in held("Patient"):
        if one["id"] == id_:
            return Patient.model_validate(one)
    raise FHIRResourceNotFoundError


@provider.search_type(Patient)
async def patients(context: InteractionContext, _last_updated: str | None) -> Bundle:
    return page("Patient", _last_updated)


@provider.search_type(Observation)
async def observations(context: InteractionContext, _last_updated: str | None) -> Bundle:
    return page("Observation", _last_updated)


if __name__ == "__main__":
    app = FHIRStarter(title="FHIRStarter")
    app.add_providers(provider)
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
