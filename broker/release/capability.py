"""The CapabilityStatement (R4 capabilitystatement.html): exactly what is served, so that clients ask for nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from fhir.resources.R4B.capabilitystatement import CapabilityStatement

from broker import __version__
from broker.release.query import SEARCHABLE

_KINDS = {"code": "token", "category": "token", "status": "token", "date": "date"}


def _resource(name: str) -> dict[str, Any]:
    own = [{"name": parameter, "type": _KINDS[parameter]} for parameter in SEARCHABLE.get(name, ())]
    named = [{"name": "_id", "type": "token"}, *([] if name == "Patient" else [{"name": "patient", "type": "reference"}])]
    resource: dict[str, Any] = {
        "type": name,
        "interaction": [{"code": "read"}, {"code": "search-type"}],
        "versioning": "no-version",
        "conditionalCreate": False,
        "conditionalUpdate": False,
        "conditionalDelete": "not-supported",
        "searchParam": named + own,
    }
    if name == "Patient":
        resource["operation"] = [{"name": "everything", "definition": "http://hl7.org/fhir/OperationDefinition/Patient-everything"}]
    return resource


@lru_cache(maxsize=4)
def statement(base_url: str, types: Iterable[str]) -> bytes:
    """The statement as JSON bytes, built and checked by fhir.resources (R4B; the same as R4 here)."""
    document = {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": "2026-11-23",
        "kind": "instance",
        "software": {"name": "Data-sharing broker", "version": __version__},
        "implementation": {
            "description": "Releases permitted resources under approved applications 按已批准的共享申请释放数据",
            "url": f"{base_url}/fhir",
        },
        "fhirVersion": "4.0.1",
        "format": ["application/fhir+json", "json"],
        "rest": [
            {
                "mode": "server",
                "security": {
                    "cors": False,
                    "service": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/restful-security-service", "code": "SMART-on-FHIR"}]}],
                    "extension": [
                        {
                            "url": "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris",
                            "extension": [{"url": "token", "valueUri": f"{base_url}/oauth2/token"}],
                        }
                    ],
                },
                "resource": [_resource(name) for name in types],
            }
        ],
    }
    return CapabilityStatement.model_validate(document).model_dump_json(exclude_none=True).encode()
